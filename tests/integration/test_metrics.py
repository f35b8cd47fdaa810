"""Coverage, alarms, metrics and probes on a real database and broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select, update

from bank_sync.bank import BankCheckpoint, BankEntry, Feedback
from bank_sync.epoch import EpochError, Pointer, read_pointer
from config.policy import BankSettings
from config.settings import Settings
from worker.domain import State
from worker.media.isolation import Wall
from worker.operate.alarms.alarm import Alarm, AlarmCode
from worker.operate.health import Coverage, alarms, coverage
from worker.operate.metrics import KEPT_SECONDS, Metrics
from worker.store.migrate import own_schema
from worker.store.models import Demotion, Heartbeat, InboxReject, Upload, WebhookMessage

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


def fresh() -> Pointer:
    return Pointer(7, "0" * 64, datetime.now(UTC), "1:1:")


def ago(**time: float) -> Any:  # noqa: ANN401 (an SQL expression)
    return func.clock_timestamp() - timedelta(**time)


class Ward:
    """A database in which a deployment stands well, to be made unwell."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.settings: Settings = rig.settings.model_copy(
            update={"webhook": rig.settings.webhook.model_copy(update={"url": "http://127.0.0.1:1/"})}
        )
        self.add(
            Heartbeat(service="dispatch", host="a", pid=1),
            BankCheckpoint(bank="stopncii", next_start=0, drained_at=ago(seconds=1)),
        )

    def add(self, *rows: object) -> None:
        with self.rig.sessions.begin() as session:
            session.add_all(rows)

    def raised(self, pointer: Callable[[], Pointer] = fresh) -> list[Alarm]:
        with self.rig.sessions() as session:
            return alarms(session, self.settings, pointer)

    def codes(self, pointer: Callable[[], Pointer] = fresh) -> list[AlarmCode]:
        found = self.raised(pointer)
        assert all(alarm.message.endswith((".", ").")) and alarm.next_step for alarm in found)
        return [alarm.code for alarm in found]

    def coverage(self) -> Coverage:
        with self.rig.sessions() as session:
            return coverage(session)

    def upload(self, key: str, **fields: Any) -> Upload:  # noqa: ANN401
        return Upload(bucket="photos", key=key, version_id="1", **fields)

    def metrics(self, pointer: Callable[[], Pointer] = fresh, **more: Any) -> dict[tuple[str, ...], float]:  # noqa: ANN401
        text = Metrics(self.settings, self.rig.sessions, pointer, **more).text().decode()
        return {
            (
                sample.name.removeprefix("hashwarden_"),
                *(value for _, value in sorted(sample.labels.items())),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def ward(rig: Rig) -> Ward:
    return Ward(rig)


def test_a_sound_deployment_raises_no_alarm(ward: Ward) -> None:
    assert ward.codes() == []
    covered = ward.coverage()
    assert (covered.seen, covered.pending, covered.oldest_pending, covered.lag) == (0, 0, None, None)


def test_coverage_counts_by_state_and_measures_ages(ward: Ward, versioned_bucket: str) -> None:
    ward.rig.bank_pdq(bytes(32))
    ward.rig.scan(versioned_bucket, "a.jpg", ward.rig.jpeg(ward.rig.picture(1)))
    ward.rig.scan(versioned_bucket, "b.txt", b"words")
    ward.add(
        ward.upload("new", first_seen_at=ago(seconds=100)),
        ward.upload("old stock", priority=10, first_seen_at=ago(days=9)),
        ward.upload("broken", state=State.UNSCANNABLE),
    )
    covered = ward.coverage()
    assert (covered.seen, covered.scanned, covered.unsupported, covered.unscannable) == (5, 1, 1, 1)
    assert (covered.pending, covered.backfill) == (2, 1)
    assert covered.oldest_pending is not None
    assert 100 <= covered.oldest_pending < 200
    assert covered.lag is not None
    assert 0 <= covered.lag < 100
    assert sum(covered.states.values()) == 5


def test_an_old_pending_upload_is_an_alarm_and_old_stock_is_not(ward: Ward) -> None:
    ward.add(
        ward.upload("new", first_seen_at=ago(seconds=100)),
        ward.upload("old stock", priority=10, first_seen_at=ago(days=9)),
    )
    assert ward.codes() == []
    ward.add(ward.upload("late", first_seen_at=ago(hours=3)))
    (alarm,) = ward.raised()
    assert alarm.code == AlarmCode.PENDING_OLD
    assert "1 upload " in alarm.message
    assert "3 hours" in alarm.message


def test_a_bank_that_is_not_read_is_an_alarm(ward: Ward) -> None:
    with ward.rig.sessions.begin() as session:
        session.execute(update(BankCheckpoint).values(drained_at=ago(hours=5), last_error="unreachable"))
    banks = {
        **ward.settings.banks,
        "never": BankSettings(exchange="stopncii"),
        "off": BankSettings(exchange="stopncii", enabled=False),
    }
    ward.settings = ward.settings.model_copy(update={"banks": banks})
    found = {alarm.subject: alarm.message for alarm in ward.raised()}
    assert found == {
        "stopncii": "Bank stopncii was last read to its end 5 hours ago. Last error: unreachable.",
        "never": "Bank never was never read to its end.",
    }


def test_an_index_that_is_missing_or_old_is_an_alarm(ward: Ward) -> None:
    def missing() -> Pointer:
        return read_pointer(ward.settings.epochs_dir)

    assert ward.codes(missing) == [AlarmCode.INDEX_MISSING]
    old = Pointer(7, "0" * 64, datetime.now(UTC) - timedelta(hours=5), "1:1:")
    assert ward.codes(lambda: old) == [AlarmCode.INDEX_STALE]


def test_a_worker_that_can_not_use_the_index_in_force_is_an_alarm(ward: Ward) -> None:
    def worker(host: str, pid: int, **fields: Any) -> Heartbeat:  # noqa: ANN401
        return Heartbeat(service="worker", host=host, pid=pid, index_epoch=7, **fields)

    ward.add(
        worker("well", 1, index_confirmed_at=ago(seconds=5)),
        worker("ill", 1, index_confirmed_at=ago(seconds=700), index_fault="corrupt"),
        worker("ill", 2, index_confirmed_at=ago(hours=2), index_fault="corrupt"),
        worker("stuck", 1, index_confirmed_at=ago(hours=9)),
        worker("bare", 1, index_fault="unreadable"),
        worker("gone", 1, at=ago(minutes=5), index_fault="corrupt"),
    )
    assert [alarm.message for alarm in ward.raised() if alarm.code == AlarmCode.INDEX_REFUSED] == [
        "On bare 1 worker process had no index. The newest one is refused (unreadable).",
        (
            "On ill 2 worker processes had an index that was up to date 2 hours ago. The newest one is refused "
            "(corrupt)."
        ),
        "On stuck 1 worker process had an index that was up to date 9 hours ago.",
    ]
    told = ward.metrics()
    assert told["workers", "none"] == 2
    assert told["workers", "corrupt"] == 2
    assert told["workers", "unreadable"] == 1
    assert told["alarm", "", "index_refused"] == 1


def test_workers_of_an_older_version_are_an_alarm(ward: Ward) -> None:
    def worker(host: str, schema: str, **fields: Any) -> Heartbeat:  # noqa: ANN401
        told = {"pid": 1, "index_epoch": 7, "index_confirmed_at": ago(seconds=5), **fields}
        return Heartbeat(service="worker", host=host, schema=schema, **told)

    ward.add(
        worker("new", own_schema()),
        worker("old", "0014"),
        worker("gone", "0014", at=ago(minutes=5)),
        worker("older", ""),
    )
    assert [alarm.message for alarm in ward.raised() if alarm.code == AlarmCode.OLD_VERSION] == [
        "On old 1 worker process is of an older version.",
        "On older 1 worker process is of an older version.",
    ]


def test_a_silent_dispatcher_is_an_alarm(ward: Ward) -> None:
    with ward.rig.sessions.begin() as session:
        session.execute(update(Heartbeat).values(at=ago(minutes=5)))
    assert ward.codes() == [AlarmCode.DISPATCH_SILENT]


def test_an_effect_that_does_not_hold_is_an_alarm(ward: Ward) -> None:
    due = {"state": State.HELD, "access_wanted": "denied", "access_due_at": ago(seconds=1)}
    ward.add(ward.upload("first tries", access_attempts=2, **due))
    assert ward.codes() == []
    ward.add(ward.upload("failing", access_attempts=9, **due))
    assert ward.codes() == [AlarmCode.EFFECT_FAILING]
    ward.add(ward.upload("refused", access_attempts=9, access_applied="refused", **due))
    assert ward.codes() == [AlarmCode.EFFECT_REFUSED, AlarmCode.EFFECT_FAILING]


def test_a_flood_is_an_alarm_until_it_is_lifted(ward: Ward) -> None:
    ward.add(Demotion(entry_id=1, bank="stopncii", uploaders=30))
    assert ward.codes() == [AlarmCode.FLOOD]
    with ward.rig.sessions.begin() as session:
        session.execute(update(Demotion).values(lifted_at=ago(seconds=1)))
    assert ward.codes() == []


def test_outboxes_that_do_not_empty_are_alarms(ward: Ward) -> None:
    ward.add(WebhookMessage(type="item.held", payload={}))
    assert ward.codes() == []
    ward.add(WebhookMessage(type="item.held", payload={}, created_at=ago(hours=1)))
    assert ward.codes() == [AlarmCode.WEBHOOK_BACKLOG]
    with ward.rig.sessions.begin() as session:
        session.execute(update(WebhookMessage).values(delivered_at=ago(seconds=1)))
    ward.rig.bank_pdq(bytes(32))
    with ward.rig.sessions() as session:
        entry = session.scalars(select(BankEntry.id)).one()
    waiting = {"bank": "stopncii", "entry_id": entry, "value": "Blocked"}
    ward.add(Feedback(idempotency_key="a", attempts=3, last_error="unreachable", **waiting))
    assert ward.codes() == []
    ward.add(Feedback(idempotency_key="b", attempts=3, created_at=ago(hours=5), **waiting))
    (alarm,) = ward.raised()
    assert (alarm.code, alarm.subject) == (AlarmCode.FEEDBACK_BACKLOG, "stopncii")


def test_lost_and_unreadable_events_are_alarms(ward: Ward) -> None:
    swept = {"source": "sweep", "state": State.CLEAR}
    ward.add(ward.upload("just faster than its event", last_modified=ago(seconds=5), **swept))
    assert ward.codes() == []
    ward.add(ward.upload("lost", last_modified=ago(minutes=20), **swept))
    assert ward.codes() == [AlarmCode.EVENTS_LOST]
    ward.add(InboxReject(source="event", reason="shape", body="{}", digest=b"1"))
    assert ward.codes() == [AlarmCode.INBOX_REJECTS, AlarmCode.EVENTS_LOST]
    no_queue = ward.settings.events.model_copy(update={"sqs_queue_url": ""})
    ward.settings = ward.settings.model_copy(update={"events": no_queue})
    assert ward.codes() == [AlarmCode.INBOX_REJECTS]


def test_metrics_tell_the_same(ward: Ward) -> None:
    ward.rig.bank_pdq(bytes(32))
    ward.add(
        ward.upload("a", first_seen_at=ago(seconds=100), attempts=2),
        ward.upload("b", state=State.UNSCANNABLE, reason="truncated"),
        Demotion(entry_id=1, bank="stopncii", uploaders=30),
        WebhookMessage(type="item.held", payload={}),
        WebhookMessage(type="item.held", payload={}, dead=True),
    )
    found = ward.metrics(walls=lambda: Wall.NO_NETWORK)
    assert found["database_up",] == found["broker_up",] == 1
    assert found["uploads", "pending"] == 1
    assert found["uploads", "held"] == 0
    assert found["uploads_not_compared", "truncated", "unscannable"] == 1
    assert 100 <= found["oldest_pending_seconds",] < 200
    assert found["pending_attempts", "2", "image"] == 1
    assert found["index_epoch",] == 7
    assert 0 <= found["index_age_seconds",] < 60
    assert 0 <= found["bank_age_seconds", "stopncii"] < 60
    assert found["bank_entries", "stopncii"] == 1
    assert (found["webhooks_waiting",], found["webhooks_dead",]) == (1, 1)
    assert found["alarm", "", "flood"] == 1
    assert (found["sandbox_wall", "no_network"], found["sandbox_wall", "other_user"]) == (1, 0)


def test_metrics_without_an_epoch_or_a_broker(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWARDEN_BROKER__URL", "redis://127.0.0.1:1/0")
    from config.settings import load_settings

    ward.settings = ward.settings.model_copy(update={"broker": load_settings().broker})

    def missing() -> Pointer:
        raise EpochError("No epoch.", next_step="Publish one.", fault="none")

    found = ward.metrics(missing)
    assert found["index_epoch",] == 0
    assert ("index_age_seconds",) not in found
    assert found["broker_up",] == 0
    assert found["alarm", "", "index_missing"] == 1


def test_scrapes_close_together_ask_the_database_once(ward: Ward) -> None:
    now = [0.0]
    metrics = Metrics(ward.settings, ward.rig.sessions, fresh, clock=lambda: now[0])
    first = metrics.text()
    ward.add(ward.upload("a"))
    now[0] += KEPT_SECONDS - 1
    assert metrics.text() == first
    now[0] += 2
    assert metrics.text() != first
