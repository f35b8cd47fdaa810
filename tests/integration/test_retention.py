"""Retention: what goes, what never goes, and what happens when everything comes at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from worker import retention
from worker.domain import EventKind, ObjectRef, State, UploadEvent, Verdict
from worker.events.inbox import Inbox
from worker.events.sweep import FULL, Sweeper
from worker.retention import Retention
from worker.review.desk.reviews import decide_review
from worker.store import contents
from worker.store.hunts import HuntState, RetroHit, RetroHunt
from worker.store.ledger import LedgerRow
from worker.store.models import Content, History, InboxReject, MatchRow, Review, Sweep, Upload, WebhookMessage
from worker.store.retention_mark import RetentionMark

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tests.integration.conftest import Rig

OLD = timedelta(days=91)


class Past:
    """Uploads of long ago, and the job that forgets them."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.seed = 100

    def job(self) -> Retention:
        return Retention(self.rig.sessions, 90, self.rig.settings.storage.buckets)

    def round(self) -> int:
        with self.rig.sessions.begin() as session:
            session.execute(update(RetentionMark).values(finished_at=None))
        return self.job().round()

    def scanned(self, bucket: str, key: str, body: bytes | None = None, *, old: bool = True) -> int:
        if body is None:
            self.seed += 1
            body = self.rig.jpeg(self.rig.picture(self.seed))
        upload_id, _ = self.rig.scan(bucket, key, body)
        if old:
            self.age(upload_id)
        return upload_id

    def age(self, *upload_ids: int, by: timedelta = OLD) -> None:
        with self.rig.sessions.begin() as session:
            session.execute(
                update(Upload)
                .where(Upload.id.in_(upload_ids))
                .values(last_seen_at=func.clock_timestamp() - by)
            )

    def left(self) -> list[int]:
        with self.rig.sessions() as session:
            return list(session.scalars(select(Upload.id).order_by(Upload.id)))

    def count(self, table: type[object]) -> int:
        with self.rig.sessions() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def inbox(self) -> Inbox:
        return Inbox(self.rig.sessions, self.rig.stages.store, self.rig._announce, self.rig.settings.storage)

    def delete(self, bucket: str, upload_id: int) -> None:
        """Somebody deletes exactly that version, and the event says so."""
        ref = self.rig.row(upload_id).ref
        self.rig.s3.delete_object(Bucket=bucket, Key=ref.key, VersionId=ref.version_id)
        self.inbox().take([UploadEvent(EventKind.REMOVED, ref)], "event")

    def decide(self, upload_id: int, verdict: Verdict) -> None:
        with self.rig.sessions() as session:
            content = session.get_one(Upload, upload_id).content_id
            review = session.scalars(select(Review.id).where(Review.content_id == content)).one()
        policy = self.rig.settings.policy
        decide_review(self.rig.sessions, policy, review, verdict, actor="ann", request_id=f"{upload_id}")
        self.rig.process(upload_id)


@pytest.fixture
def past(rig: Rig) -> Past:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    return Past(rig)


def bad(rig: Rig) -> bytes:
    return rig.jpeg(rig.picture(1))


def test_an_old_clear_upload_goes_with_its_history_and_content(past: Past, versioned_bucket: str) -> None:
    old = past.scanned(versioned_bucket, "u/old.jpg")
    new = past.scanned(versioned_bucket, "u/new.jpg", old=False)
    assert past.round() == 1
    assert past.left() == [new]
    assert past.rig.history(old) == []
    assert past.rig.history(new) != []
    assert past.count(Content) == 1
    with past.rig.sessions() as session:
        mark = session.get_one(RetentionMark, 1)
        seen = session.get_one(Upload, new).last_seen_at
    assert mark.deleted == 1
    assert mark.oldest_left == seen


def test_the_content_stays_while_another_upload_has_it(past: Past, versioned_bucket: str) -> None:
    body = past.rig.jpeg(past.rig.picture(5))
    past.scanned(versioned_bucket, "u/a.jpg", body)
    second = past.scanned(versioned_bucket, "u/b.jpg", body, old=False)
    assert past.round() == 1
    assert past.rig.row(second).content_id is not None
    assert past.count(Content) == 1
    past.age(second)
    assert past.round() == 1
    assert past.count(Content) == 0


def test_what_was_matched_or_decided_is_never_deleted(past: Past, versioned_bucket: str) -> None:
    rig = past.rig
    states = {
        "held": past.scanned(versioned_bucket, "u/held.jpg", bad(rig)),
        "unsupported": past.scanned(versioned_bucket, "u/a.pdf", b"%PDF-1.7 no picture"),
        "unscannable": past.scanned(versioned_bucket, "u/broken.jpg", bad(rig)[:200]),
    }
    assert {rig.row(each).state for each in states.values()} >= {"held", "unsupported", "unscannable"}
    assert past.round() == 0
    past.decide(states["held"], Verdict.NOT_A_MATCH)
    again = past.scanned(versioned_bucket, "u/again.jpg", bad(rig))
    assert rig.row(again).state == State.CLEAR
    past.age(*states.values(), again)
    past.delete(versioned_bucket, again)
    assert past.round() == 0, "decided bytes keep their uploads, deleted or not"
    assert set(past.left()) == {*states.values(), again}
    for doomed in past.left():
        with rig.sessions() as session, pytest.raises(DBAPIError, match="is kept"):
            session.execute(delete(Upload).where(Upload.id == doomed))


def test_a_match_in_shadow_and_an_open_hunt_keep_an_upload(past: Past, versioned_bucket: str) -> None:
    rig = past.rig
    rig.with_policy(mode="shadow")
    shadowed = past.scanned(versioned_bucket, "u/shadow.jpg", bad(rig))
    hunted = past.scanned(versioned_bucket, "u/hunted.jpg")
    with rig.sessions.begin() as session:
        hunt = RetroHunt(
            state=HuntState.STOPPED, epoch=1, from_snapshot="1:1:", to_snapshot="2:2:", entries=1
        )
        session.add(hunt)
        session.flush()
        content_id = session.get_one(Upload, hunted).content_id
        session.execute(insert(RetroHit).values(hunt_id=hunt.id, content_id=content_id, entry_id=1))
    assert past.count(MatchRow) == 1
    assert past.round() == 0
    with rig.sessions.begin() as session:
        session.execute(delete(RetroHit))
    assert past.round() == 1
    assert past.left() == [shadowed]


def test_what_still_has_to_be_done_keeps_an_upload(past: Past, versioned_bucket: str) -> None:
    upload = past.scanned(versioned_bucket, "u/a.jpg")
    with past.rig.sessions.begin() as session:
        session.execute(update(Upload).values(access_due_at=func.clock_timestamp()))
    assert past.round() == 0
    past.rig.process(upload)
    assert past.round() == 1


@pytest.mark.parametrize("kind", ["versioned", "plain"])
def test_a_deletion_that_is_told_deletes_at_once(
    past: Past, kind: str, request: pytest.FixtureRequest
) -> None:
    bucket = str(request.getfixturevalue(f"{kind}_bucket"))
    upload = past.scanned(bucket, "u/a.jpg", old=False)
    ref = past.rig.row(upload).ref
    if kind == "plain":
        # Without versions the event may be an old one: it counts when the object is not there.
        event = UploadEvent(EventKind.REMOVED, ObjectRef(bucket, ref.key))
        past.inbox().take([event], "event")
        assert past.round() == 0
        past.rig.s3.delete_object(Bucket=bucket, Key=ref.key)
        past.inbox().take([event], "event")
    else:
        past.delete(bucket, upload)
    assert past.round() == 1
    assert past.left() == []
    assert past.count(Content) == 0


def test_a_late_event_of_a_forgotten_object_ends_as_gone_and_is_forgotten_again(
    past: Past, versioned_bucket: str
) -> None:
    upload = past.scanned(versioned_bucket, "u/a.jpg", old=False)
    ref = past.rig.row(upload).ref
    past.delete(versioned_bucket, upload)
    assert past.round() == 1
    for _ in range(2):
        past.inbox().take([UploadEvent(EventKind.CREATED, ref)], "event")
    (late,) = past.left()
    assert past.rig.process(late) is State.GONE
    assert past.rig.process(late) is State.GONE
    assert past.rig.row(late).attempts == 1
    assert past.round() == 0
    past.age(late)
    assert past.round() == 1


def test_an_object_that_is_still_there_is_seen_by_the_sweep_and_stays(
    past: Past, versioned_bucket: str
) -> None:
    """Nothing is scanned for ever: while sweeps come to their end a row goes only where the object went."""
    rig = past.rig
    upload = past.scanned(versioned_bucket, "u/a.jpg")
    sweeper = Sweeper(rig.sessions, rig.stages.store, past.inbox(), rig.settings)
    assert sweeper.full(versioned_bucket)
    assert past.round() == 0
    assert past.left() == [upload]


def test_a_sweep_that_stalls_keeps_the_rows_it_may_still_see(past: Past, versioned_bucket: str) -> None:
    rig = past.rig
    upload = past.scanned(versioned_bucket, "u/a.jpg")
    long_ago = func.clock_timestamp() - timedelta(days=95)
    with rig.sessions.begin() as session:
        session.add(
            Sweep(
                bucket=versioned_bucket,
                kind=FULL,
                started_at=func.clock_timestamp(),
                first_finished_at=long_ago,
                whole_from=long_ago,
            )
        )
    assert past.round() == 0
    ref = rig.row(upload).ref
    rig.s3.delete_object(Bucket=versioned_bucket, Key=ref.key, VersionId=ref.version_id)
    sweeper = Sweeper(rig.sessions, rig.stages.store, past.inbox(), rig.settings)
    assert sweeper.full(versioned_bucket)
    assert past.round() == 1


def test_a_decision_and_a_sighting_that_come_first_keep_the_upload(past: Past, versioned_bucket: str) -> None:
    """Both are looked at again under the locks: here they come between the look and the locks."""
    rig = past.rig
    first, second = (past.scanned(versioned_bucket, f"u/{name}.jpg") for name in "ab")
    content_id = rig.row(first).content_id

    def meanwhile(session: Session) -> None:
        with rig.sessions.begin() as other:
            content = other.get_one(Content, content_id, with_for_update=True)
            contents.open_review(other, content, cause="match", priority=0, hours=1)
            other.execute(
                update(Upload).where(Upload.id == second).values(last_seen_at=func.clock_timestamp())
            )
        assert session.is_active

    with rig.sessions.begin() as session:
        ids = session.scalars(select(Upload.id)).all()
        meanwhile(session)
        assert retention._forget(session, ids, past.job()._old()) == 0
    assert past.left() == [first, second]


def test_what_somebody_works_on_is_left_to_the_next_round(past: Past, versioned_bucket: str) -> None:
    rig = past.rig
    locked_content, locked_row, free = (past.scanned(versioned_bucket, f"u/{name}.jpg") for name in "abc")
    with rig.sessions.begin() as session:
        session.get_one(Content, rig.row(locked_content).content_id, with_for_update=True)
        session.get_one(Upload, locked_row, with_for_update=True)
        assert past.round() == 1
    assert past.left() == [locked_content, locked_row]
    assert free not in past.left()
    assert past.round() == 2


def test_a_scan_of_bytes_whose_content_goes_meanwhile_makes_it_anew(
    past: Past, versioned_bucket: str, wait_until: Callable[..., object]
) -> None:
    """The scan waits for the content's lock; when it has it, the content is deleted."""
    rig = past.rig
    body = rig.jpeg(rig.picture(7))
    past.scanned(versioned_bucket, "u/old.jpg", body)
    again = rig.put(versioned_bucket, "u/new.jpg", body)
    states: list[State] = []
    scan = threading.Thread(target=lambda: states.append(rig.process(again)))
    with rig.sessions.begin() as session:
        ids = session.scalars(select(Upload.id).where(Upload.id != again)).all()
        assert retention._forget(session, ids, past.job()._old()) == 1
        scan.start()
        wait_until(lambda: _waits_for_lock(rig))
    scan.join()
    assert states == [State.CLEAR]
    assert past.count(Content) == 1
    assert past.rig.row(again).attempts == 1


def _waits_for_lock(rig: Rig) -> bool:
    with rig.sessions() as session:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(session.scalar(waiting))


def test_an_object_seen_while_its_row_goes_gets_a_new_one(
    past: Past, versioned_bucket: str, wait_until: Callable[..., object]
) -> None:
    rig = past.rig
    old = past.scanned(versioned_bucket, "u/a.jpg")
    page = rig.stages.store.list_versions(versioned_bucket, "", "", 10)
    taken: list[int] = []
    seeing = threading.Thread(
        target=lambda: taken.append(past.inbox().take_listed(page.refs, "sweep", 10).inserted)
    )
    with rig.sessions.begin() as session:
        assert retention._forget(session, [old], past.job()._old()) == 1
        seeing.start()
        wait_until(lambda: _waits_for_lock(rig))
    seeing.join()
    assert taken == [1]
    (new,) = past.left()
    assert new != old
    assert rig.process(new) is State.CLEAR


def test_killed_in_the_middle_it_goes_on_where_it_was(
    past: Past, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    for number in range(5):
        past.scanned(versioned_bucket, f"u/{number}.jpg")
    stops = iter([False, False, True])
    # Stopped after the look at deletions and one slice; the next transaction dies on the way.
    assert past.job().round(lambda: next(stops)) == 2
    broken = past.job()
    with monkeypatch.context() as patched:
        patched.setattr("worker.store.ledger.forget_contents", _dies)
        with pytest.raises(ConnectionError):
            broken.round()
    assert len(past.left()) == 3, "the slice that died is as it was"
    with past.rig.sessions() as session:
        orphans = select(History.upload_id).where(History.upload_id.not_in(select(Upload.id)))
        assert session.scalars(orphans).all() == []
    assert past.job().round() == 3
    assert past.left() == []


def _dies(*_: object) -> None:
    raise ConnectionError


def test_two_at_once_delete_each_row_once(past: Past, versioned_bucket: str) -> None:
    past.scanned(versioned_bucket, "u/a.jpg")
    with past.rig.sessions.begin() as session:
        session.get_one(RetentionMark, 1, with_for_update=True)
        assert past.job().round() == 0, "the other walks"
    assert past.job().round() == 1
    with past.rig.sessions() as session:
        assert session.get_one(RetentionMark, 1).deleted == 1


def test_the_ledger_forgets_with_the_content(past: Past, versioned_bucket: str) -> None:
    rig = past.rig
    rig.settings = rig.settings.model_copy(
        update={"ledger": rig.settings.ledger.model_copy(update={"enabled": True})}
    )
    rig.with_policy()
    past.scanned(versioned_bucket, "u/a.jpg")
    assert past.count(LedgerRow) == 1
    assert past.round() == 1
    assert past.count(LedgerRow) == 0


def test_history_of_an_upload_that_is_there_can_not_be_deleted(past: Past, versioned_bucket: str) -> None:
    past.scanned(versioned_bucket, "u/a.jpg")
    with past.rig.sessions() as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(delete(History))


def test_delivered_messages_of_clear_uploads_go_with_time(past: Past) -> None:
    def message(kind: str, delivered: timedelta | None) -> WebhookMessage:
        at: datetime | None = func.clock_timestamp() - delivered if delivered else None  # type: ignore[assignment]
        return WebhookMessage(type=kind, payload={"key": kind}, delivered_at=at)

    with past.rig.sessions.begin() as session:
        session.add_all(
            [
                message("scan.completed", OLD),
                message("scan.completed", timedelta(days=1)),
                message("scan.completed", None),
                message("item.held", OLD),
            ]
        )
    past.round()
    with past.rig.sessions() as session:
        left = session.scalars(select(WebhookMessage).order_by(WebhookMessage.id)).all()
    assert [(each.type, each.delivered_at is None) for each in left] == [
        ("scan.completed", False),
        ("scan.completed", True),
        ("item.held", False),
    ]


def test_what_was_not_understood_goes_as_well(past: Past) -> None:
    with past.rig.sessions.begin() as session:
        for number, age in enumerate((OLD, timedelta(days=89))):
            session.add(
                InboxReject(
                    source="event",
                    reason="shape",
                    body="{}",
                    digest=bytes([number]),
                    at=func.clock_timestamp() - age,
                )
            )
    past.round()
    with past.rig.sessions() as session:
        assert session.scalars(select(InboxReject.digest)).all() == [b"\x01"]
