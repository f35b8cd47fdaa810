"""The past: what was cleared is found when a bank gets its hash later; once, and not where too much would move."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from PIL import ImageOps
from sqlalchemy import func, select, text, update

from bank_sync import locks
from bank_sync.bank import BankRecord, Feedback, upsert
from bank_sync.epoch import read_pointer
from bank_sync.signals import Frame, pack_frames
from tests.integration.test_own_videos import clip
from worker.cli import cli
from worker.domain import EventKind, Lane, ObjectRef, State, UploadEvent
from worker.events import arrivals
from worker.fetch import Fetched
from worker.media.media import memfd_from
from worker.operate.alarms.alarm import AlarmCode
from worker.operate.health import alarms
from worker.pipeline import conclude
from worker.retro.hunter import Hunter, Round
from worker.review.desk.listing import list_reviews
from worker.store import hunts, leases, ledger
from worker.store.hunts import HuntError, RetroHit, RetroHunt
from worker.store.ledger import LedgerRow
from worker.store.models import Content, History, MatchRow, Review, Upload, WebhookMessage

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


RETRO_ENVIRONMENT = {
    "HASHWARDEN_LEDGER__ENABLED": "true",
    "HASHWARDEN_BANKS__STOPNCII__EXCHANGE": "stopncii",
}


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """The rig with a ledger, an empty index and a hunter that has looked once."""
    rig.settings = rig.settings.model_copy(
        update={"ledger": rig.settings.ledger.model_copy(update={"enabled": True})}
    )
    rig.with_policy()
    rig.publish()
    assert hunt(rig) is Round.DONE
    return rig


def hunt(rig: Rig) -> Round:
    """A round that reads the ledger in small blocks."""
    hunter = Hunter(rig.settings, rig.sessions, rows=3)
    # The server ends the lock of the round before a moment after that has gone.
    while (ended := hunter.round()) is Round.BUSY:
        pass
    return ended


def states(rig: Rig) -> list[str]:
    with rig.sessions() as session:
        return [each.state for each in reversed(hunts.list_hunts(session))]


def ledger_rows(rig: Rig) -> int:
    with rig.sessions() as session:
        return session.scalars(select(func.count()).select_from(LedgerRow)).one()


def cleared(rig: Rig, bucket: str, *seeds: int) -> list[int]:
    found = [rig.scan(bucket, f"user{seed}/{seed}.jpg", rig.jpeg(rig.picture(seed))) for seed in seeds]
    assert {state for _, state in found} == {State.CLEAR}
    return [upload_id for upload_id, _ in found]


def test_what_was_cleared_is_withheld_when_a_bank_gets_its_hash(rig: Rig, versioned_bucket: str) -> None:
    upload, other = cleared(rig, versioned_bucket, 1, 2)
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1).resize((500, 375)), 60)))
    assert hunt(rig) is Round.DONE
    assert rig.process(upload) is State.HELD
    assert rig.get(versioned_bucket, "user1/1.jpg") is None
    assert rig.process(other) is State.CLEAR
    with rig.sessions() as session:
        step = session.scalars(select(History).order_by(History.id.desc())).first()
        (line,) = list_reviews(session)
        message = session.scalars(select(WebhookMessage)).one()
        feedback = session.scalars(select(Feedback.value)).all()
        content = session.scalars(select(Content).join(Review)).one()
    assert step is not None
    assert (step.to_state, step.actor, step.reason) == ("held", "retro", "retro_match")
    assert (line.cause, line.retro) == ("match", True)
    assert (message.type, message.payload["retro"]) == ("item.held", True)
    assert feedback == ["PendingReview"]
    assert content.fingerprint, "a decision can put it into the own bank"
    assert states(rig) == ["done"]


def test_it_happens_once(rig: Rig, versioned_bucket: str) -> None:
    (upload,) = cleared(rig, versioned_bucket, 1)
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    for _ in range(3):
        assert hunt(rig) is Round.DONE
    assert rig.history(upload).count("held") == 1
    with rig.sessions() as session:
        assert session.scalar(select(func.count()).select_from(WebhookMessage)) == 1
        assert session.scalar(select(func.count()).select_from(RetroHit)) == 0
        assert session.scalars(select(RetroHunt.moved)).all() == [1]


def test_all_clear_uploads_of_the_bytes_move_and_no_others(rig: Rig, versioned_bucket: str) -> None:
    body = rig.jpeg(rig.picture(1))
    ids = [rig.scan(versioned_bucket, f"u{n}/a.jpg", body)[0] for n in range(3)]
    with rig.sessions.begin() as session:
        session.execute(update(Upload).where(Upload.id == ids[1]).values(state=State.RELEASED))
    rig.bank_pdq(rig.hash_of(body))
    hunt(rig)
    assert [State(rig.row(each).state) for each in ids] == [State.HELD, State.RELEASED, State.HELD]
    assert ledger_rows(rig) == 1, "the same bytes are in the ledger once"


@pytest.mark.parametrize("turn", [ImageOps.mirror, ImageOps.flip, ImageOps.invert])
def test_a_turned_or_inverted_upload_is_found_by_its_hash_alone(
    rig: Rig, versioned_bucket: str, turn: object
) -> None:
    assert callable(turn)
    upload, state = rig.scan(versioned_bucket, "u/a.jpg", rig.jpeg(turn(rig.picture(1))))
    assert state is State.CLEAR
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    hunt(rig)
    assert rig.process(upload) in {State.HELD, State.FLAGGED}
    with rig.sessions() as session:
        assert session.scalars(select(MatchRow.view)).one() in {
            "flip_horizontal",
            "flip_vertical",
            "complement",
        }


def test_beyond_the_radius_it_is_flagged_and_served(rig: Rig, versioned_bucket: str) -> None:
    body = rig.jpeg(rig.picture(1))
    upload, _ = rig.scan(versioned_bucket, "u/a.jpg", body)
    rig.bank_pdq(_away(rig.hash_of(body), 36))
    hunt(rig)
    assert rig.process(upload) is State.FLAGGED
    assert rig.get(versioned_bucket, "u/a.jpg") == body


def test_shadow_mode_records_and_moves_nothing(rig: Rig, versioned_bucket: str) -> None:
    rig.with_policy(mode="shadow")
    (upload,) = cleared(rig, versioned_bucket, 1)
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    hunt(rig)
    row = rig.row(upload)
    assert (row.state, row.reason) == (State.CLEAR, "retro_shadow_held")
    with rig.sessions() as session:
        assert session.scalars(select(MatchRow.effect)).all() == ["shadow"]
        assert session.scalar(select(func.count()).select_from(Review)) == 0


def test_a_video_is_found_by_its_frames(rig: Rig, versioned_bucket: str) -> None:
    upload = rig.put(versioned_bucket, "u/a.mp4", clip(size=(240, 180), crf=30), Lane.VIDEO)
    assert rig.process(upload) is State.CLEAR
    assert 4 <= ledger_rows(rig) <= 7, "one frame a second"
    with memfd_from([clip()]) as media:
        selected = rig.stages.sandbox.hash(media).vpdq
    film = pack_frames(Frame(each.hash, each.quality, each.frame_time or 0.0) for each in selected)
    rig.bank_records([BankRecord("vpdq", film)])
    hunt(rig)
    assert rig.process(upload) in {State.HELD, State.FLAGGED}
    with rig.sessions() as session:
        content = session.scalars(select(Content)).one()
    assert {each["signal_type"] for each in content.fingerprint or []} == {"vpdq"}


def test_a_video_is_found_by_its_md5_also_without_the_ledger(rig: Rig, versioned_bucket: str) -> None:
    body = clip()
    upload = rig.put(versioned_bucket, "u/a.mp4", body, Lane.VIDEO)
    assert rig.process(upload) is State.CLEAR
    ledger.forget_all(rig.sessions)
    rig.bank_records([BankRecord("video_md5", hashlib.md5(body, usedforsecurity=False).digest())])
    hunt(rig)
    assert rig.process(upload) is State.HELD


def test_an_entry_that_is_withdrawn_before_the_hunt_moves_nothing(rig: Rig, versioned_bucket: str) -> None:
    (upload,) = cleared(rig, versioned_bucket, 1)
    value = rig.hash_of(rig.jpeg(rig.picture(1)))
    rig.bank_pdq(value)
    with rig.sessions.begin() as session:
        upsert(session, "stopncii", [BankRecord("pdq", value, raw_status="Withdrawn")])
    hunt(rig)
    assert rig.row(upload).state == State.CLEAR
    rig.bank_pdq(value)
    hunt(rig)
    assert rig.row(upload).state == State.HELD, "it came back to life"


def _away(value: bytes, bits: int) -> bytes:
    """A hash so many bits from this one, spread over it."""
    number = int.from_bytes(value, "big")
    for bit in range(bits):
        number ^= 1 << (bit * 7 % 256)
    return number.to_bytes(32, "big")


class Limited:
    """Says stop when it was asked so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_hunt_that_is_ended_again_and_again_comes_to_the_same(rig: Rig, versioned_bucket: str) -> None:
    ids = cleared(rig, versioned_bucket, *range(1, 9))
    rig.bank_pdq(*(rig.hash_of(rig.jpeg(rig.picture(seed))) for seed in (1, 4, 8)))
    rounds = 0
    # A block, a judgement or an effect further each time.
    while Hunter(rig.settings, rig.sessions, rows=3).round(Limited(1)) is not Round.DONE:
        rounds += 1
        assert rounds < 1000
    assert rounds >= 4
    held = [at for at, upload in enumerate(ids, start=1) if rig.row(upload).state == State.HELD]
    assert held == [1, 4, 8]
    with rig.sessions() as session:
        done = session.scalars(select(RetroHunt)).one()
    assert (done.state, done.contents, done.moved, done.entries) == ("done", 8, 3, 3)
    assert all(rig.history(upload).count("held") <= 1 for upload in ids)


def test_a_hunt_killed_while_it_acts_goes_on_where_it_stood(
    rig: Rig, versioned_bucket: str, environment: dict[str, str], wait_until: Callable[..., object]
) -> None:
    ids = cleared(rig, versioned_bucket, 1, 2, 3)
    rig.bank_pdq(*(rig.hash_of(rig.jpeg(rig.picture(seed))) for seed in (1, 2, 3)))
    with rig.sessions.begin() as blocking:
        # The second content is locked, so the hunter stands in the middle of its work when it is killed.
        blocking.execute(
            select(Content)
            .where(Content.id == select(Upload.content_id).where(Upload.id == ids[1]).scalar_subquery())
            .with_for_update()
        )
        child = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", "retro", "run"],
            env={**os.environ, **environment, **RETRO_ENVIRONMENT},
        )
        try:
            wait_until(lambda: rig.row(ids[0]).state == State.HELD, timeout=30)
        finally:
            child.kill()
            child.wait()
    assert states(rig) == ["acting"]
    assert rig.row(ids[1]).state == State.CLEAR
    assert hunt(rig) is Round.DONE
    assert [rig.history(upload).count("held") for upload in ids] == [1, 1, 1]


@pytest.fixture
def sweeping(rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Four cleared uploads, three of which a bank suddenly has: more than may move without a person."""
    monkeypatch.setattr("worker.retro.hunter.FLOOR", 2)
    ids = cleared(rig, versioned_bucket, 1, 2, 3, 4)
    rig.bank_pdq(*(rig.hash_of(rig.jpeg(rig.picture(seed))) for seed in (1, 2, 3)))
    assert hunt(rig) is Round.DONE
    return ids


def test_what_would_move_too_much_waits_for_a_person(rig: Rig, sweeping: list[int]) -> None:
    assert states(rig) == ["stopped"]
    assert {rig.row(upload).state for upload in sweeping} == {State.CLEAR}
    with rig.sessions() as session:
        raised = alarms(session, rig.settings, lambda: read_pointer(rig.settings.epochs_dir))
        (stopped,) = hunts.list_hunts(session)
    assert AlarmCode.HUNT_STOPPED in [alarm.code for alarm in raised]
    assert stopped.counts == {"stopncii": 3}
    assert hunt(rig) is Round.DONE
    assert {rig.row(upload).state for upload in sweeping} == {State.CLEAR}, "it waits"


def test_an_approved_hunt_acts(rig: Rig, sweeping: list[int]) -> None:
    with rig.sessions.begin() as session:
        hunts.approve(session, hunts.list_hunts(session)[0].id, actor="ann")
    assert hunt(rig) is Round.DONE
    assert [rig.row(upload).state for upload in sweeping] == ["held", "held", "held", "clear"]
    assert states(rig) == ["done"]
    with rig.sessions.begin() as session, pytest.raises(HuntError, match="does not wait"):
        hunts.approve(session, hunts.list_hunts(session)[0].id, actor="ann")


def test_a_rejected_hunt_moves_nothing_and_later_ones_go_on(rig: Rig, sweeping: list[int]) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(4))))
    assert hunt(rig) is Round.DONE
    assert rig.row(sweeping[3]).state == State.HELD, "a stopped hunt does not keep others from being done"
    with rig.sessions.begin() as session:
        hunts.reject(session, hunts.list_hunts(session)[1].id, actor="ann")
    assert hunt(rig) is Round.DONE
    assert {rig.row(upload).state for upload in sweeping[:3]} == {State.CLEAR}
    assert states(rig) == ["rejected", "done"]
    with rig.sessions.begin() as session, pytest.raises(HuntError, match="There is no hunt 99"):
        hunts.reject(session, 99, actor="ann")


def test_what_only_shadows_stops_nothing(
    rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.retro.hunter.FLOOR", 0)
    rig.with_policy(rules={"stopncii": {"pdq": {"effect": "shadow"}}})
    (upload,) = cleared(rig, versioned_bucket, 1)
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    assert hunt(rig) is Round.DONE
    assert states(rig) == ["done"]
    assert rig.row(upload).state == State.CLEAR


def test_a_scan_that_ends_behind_a_hunt_is_judged_again(rig: Rig, versioned_bucket: str) -> None:
    """The scan compares with the old epoch; the new hash is published and hunted; then the scan is written down."""
    body = rig.jpeg(rig.picture(1))
    upload = rig.put(versioned_bucket, "u/a.jpg", body)
    with rig.sessions.begin() as session:
        lease = leases.claim(session, upload, rig.settings.queue, actor="slow")
    assert lease is not None
    old = rig.stages.index()
    with memfd_from([body]) as media:
        hashed = rig.stages.sandbox.hash(media)
    rig.bank_pdq(rig.hash_of(body))
    assert hunt(rig) is Round.DONE
    assert states(rig) == ["done"]
    digests = hashlib.md5(body, usedforsecurity=False).digest(), hashlib.sha256(body).digest()
    fetched = Fetched(media=None, size=len(body), md5=digests[0], sha256=digests[1])
    conclude(rig.stages, lease, fetched, hashed, (), old.number)
    assert rig.row(upload).state == State.CLEAR
    assert hunt(rig) is Round.DONE
    assert rig.row(upload).state == State.HELD
    assert hunt(rig) is Round.DONE
    assert rig.history(upload).count("held") == 1


def test_a_row_that_commits_while_the_round_looks_is_seen_by_the_next(
    rig: Rig, versioned_bucket: str
) -> None:
    """Two connections: the writer's transaction is open over a whole hunt, and commits after it."""
    body = rig.jpeg(rig.picture(1))
    upload, state = rig.scan(versioned_bucket, "u/a.jpg", body)
    assert state is State.CLEAR
    with rig.sessions.begin() as session:
        days = [each.day for each in ledger.partitions(session)]
    ledger.forget_all(rig.sessions)
    with rig.sessions.begin() as session:
        ledger.make_partitions(session, days)
    with memfd_from([body]) as media:
        hashed = rig.stages.sandbox.hash(media)
    old = rig.stages.index().number
    with rig.sessions.begin() as writing:
        content = writing.scalars(
            select(Content).join(Upload).where(Upload.id == upload).with_for_update()
        ).one()
        ledger.keep(writing, content, hashed, old)
        writing.flush()
        rig.bank_pdq(rig.hash_of(body))
        assert hunt(rig) is Round.DONE
        assert hunt(rig) is Round.DONE
        assert rig.row(upload).state == State.CLEAR
    assert hunt(rig) is Round.DONE
    assert rig.row(upload).state == State.HELD


def test_two_hunters_do_not_work_at_once(rig: Rig) -> None:
    mine = False
    while not mine:
        with locks.held(rig.parts.engine, "retro") as mine:
            if mine:
                assert Hunter(rig.settings, rig.sessions).round() is Round.BUSY


def test_what_was_there_before_the_hunter_s_first_look_is_hunted(rig: Rig, versioned_bucket: str) -> None:
    cleared(rig, versioned_bucket, 1)
    (upload,) = cleared(rig, versioned_bucket, 2)
    with rig.sessions.begin() as session:
        session.execute(text("DELETE FROM retro_mark"))
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(2))))
    assert hunt(rig) is Round.DONE
    assert hunt(rig) is Round.DONE
    assert rig.row(upload).state == State.HELD


def test_forgotten_uploads_are_not_found(
    rig: Rig, versioned_bucket: str, environment: dict[str, str]
) -> None:
    first, second = cleared(rig, versioned_bucket, 1, 2)
    done = CliRunner().invoke(cli, ["ledger", "forget", str(first), "999999"], env=environment)
    assert done.exit_code == 0, done.output
    assert "1 uploads are deleted" in done.output
    rig.bank_pdq(*(rig.hash_of(rig.jpeg(rig.picture(seed))) for seed in (1, 2)))
    hunt(rig)
    assert [rig.row(each).state for each in (first, second)] == ["clear", "held"]
    assert CliRunner().invoke(cli, ["ledger", "forget", "--all"], env=environment).exit_code == 0
    assert ledger_rows(rig) == 0


def test_a_deleted_upload_leaves_the_ledger_when_it_was_the_last_of_its_bytes(
    rig: Rig, versioned_bucket: str
) -> None:
    body = rig.jpeg(rig.picture(1))
    ids = [rig.scan(versioned_bucket, key, body)[0] for key in ("u/a.jpg", "v/a.jpg")]
    for upload, left in zip(ids, (1, 0), strict=True):
        ref = rig.row(upload).ref
        event = UploadEvent(EventKind.REMOVED, ObjectRef(ref.bucket, ref.key, ref.version_id))
        with rig.sessions.begin() as session:
            arrivals.remove(session, event, arrivals.Batch())
        assert ledger_rows(rig) == left


def test_days_are_made_ahead_and_dropped_by_age(rig: Rig, versioned_bucket: str) -> None:
    (upload,) = cleared(rig, versioned_bucket, 1)
    with rig.sessions.begin() as session:
        today = ledger.partitions(session)[0].day
        past = [today - timedelta(days=age) for age in (90, 91, 200)]
        ledger.make_partitions(session, past)
    for _ in range(2):
        ledger.maintain(rig.sessions, 90, enabled=True)
    with rig.sessions() as session:
        days = [each.day for each in ledger.partitions(session)]
    assert days == [past[0], today, today + timedelta(days=1), today + timedelta(days=2)]
    with rig.sessions.begin() as session:
        session.execute(text(f"DROP TABLE ledger_{today:%Y%m%d}"))
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    assert hunt(rig) is Round.DONE
    assert rig.row(upload).state == State.CLEAR, "what is older than the ledger is not found"


def test_the_same_bytes_again_move_to_the_newer_day(rig: Rig, versioned_bucket: str) -> None:
    body = rig.jpeg(rig.picture(1))
    rig.scan(versioned_bucket, "u/a.jpg", body)
    with rig.sessions.begin() as session:
        yesterday = ledger.partitions(session)[0].day - timedelta(days=1)
        ledger.make_partitions(session, [yesterday])
        session.execute(update(LedgerRow).values(day=yesterday))
        session.execute(update(Content).values(ledger_day=yesterday))
    rig.scan(versioned_bucket, "v/a.jpg", body)
    with rig.sessions() as session:
        assert session.scalars(select(LedgerRow.day)).all() == [yesterday + timedelta(days=1)]


def test_without_the_ledger_nothing_is_kept(rig: Rig, versioned_bucket: str) -> None:
    rig.settings = rig.settings.model_copy(
        update={"ledger": rig.settings.ledger.model_copy(update={"enabled": False})}
    )
    rig.with_policy()
    (upload,) = cleared(rig, versioned_bucket, 1)
    assert ledger_rows(rig) == 0
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    assert Hunter(rig.settings, rig.sessions).round() is Round.OFF
    assert rig.row(upload).state == State.CLEAR
