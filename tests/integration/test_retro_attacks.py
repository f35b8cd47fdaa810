"""Hunts under attack and under faults: popular pictures, small steps, roll-backs, restored databases."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, text, update

from bank_sync import delta
from bank_sync import epoch as epochs
from bank_sync.bank import BankRecord, upsert
from bank_sync.epoch import read_pointer
from bank_sync.signals import Frame, pack_frames
from config.policy import FloodSettings
from worker.cli import cli
from worker.domain import EventKind, HashedMedia, Kind, ObjectRef, State, UploadEvent, ViewHash
from worker.events import arrivals
from worker.fetch import Fetched
from worker.pipeline import conclude
from worker.retro import hunter as hunting
from worker.retro import judge, late
from worker.retro.entries import Span, next_sought
from worker.retro.hunter import Hunter, Round
from worker.store import hunts, leases, ledger
from worker.store.hunts import HuntError, RetroHit, RetroHunt, RetroMark
from worker.store.ledger import LedgerRow
from worker.store.models import Content, Demotion, EntryHit, Upload
from worker.withdrawals import release_withdrawn

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


class Past:
    """The rig with a ledger, and uploads in it that are rows alone."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.sessions = rig.sessions
        self._rng = np.random.default_rng(3)

    def value(self) -> bytes:
        return self._rng.integers(0, 256, 32, dtype=np.uint8).tobytes()

    def content(self, value: bytes, users: int = 1, *, epoch: int = 1, name: str = "a") -> int:
        """A content with this hash, cleared once by each user; its id."""
        with self.sessions.begin() as session:
            content = Content(sha256=os.urandom(32), md5=os.urandom(16), size=1, kind=Kind.IMAGE)
            session.add(content)
            session.flush()
            session.add_all(
                Upload(
                    bucket="b",
                    key=f"user{user}/{name}-{content.id}.jpg",
                    version_id=os.urandom(8).hex(),
                    state=State.CLEAR,
                    content_id=content.id,
                    index_epoch=epoch,
                )
                for user in range(users)
            )
            session.flush()
            ledger.keep(session, content, HashedMedia(kind=Kind.IMAGE, hashes=(ViewHash(value, 100),)), epoch)
            return content.id

    def bank(self, *values: bytes) -> None:
        """Bank entries, published."""
        self.add(*values)
        self.publish()

    def add(self, *values: bytes, status: str = "Active") -> None:
        with self.sessions.begin() as session:
            upsert(session, "stopncii", [BankRecord("pdq", value, raw_status=status) for value in values])

    def publish(self) -> int:
        with self.sessions.begin() as session:
            return epochs.publish_if_changed(session, self.rig.settings.epochs_dir, keep=9).number

    @property
    def epoch(self) -> int:
        return read_pointer(self.rig.settings.epochs_dir).number

    def hunt(self, hunter: Hunter | None = None) -> Round:
        hunter = hunter or Hunter(self.rig.settings, self.sessions, rows=500)
        # The server ends the lock of the round before a moment after that has gone.
        while (ended := hunter.round()) is Round.BUSY:
            pass
        return ended

    def states(self) -> Counter[str]:
        with self.sessions() as session:
            return Counter(session.scalars(select(Upload.state)))

    def hunts(self) -> list[RetroHunt]:
        with self.sessions() as session:
            return hunts.list_hunts(session)[::-1]

    def hunt_states(self) -> list[str]:
        return [each.state for each in self.hunts()]


@pytest.fixture
def past(rig: Rig) -> Past:
    rig.settings = rig.settings.model_copy(
        update={"ledger": rig.settings.ledger.model_copy(update={"enabled": True})}
    )
    rig.with_policy()
    made = Past(rig)
    made.publish()
    assert made.hunt() is Round.DONE
    return made


def test_a_popular_picture_counts_by_its_uploads(past: Past) -> None:
    value = past.value()
    past.content(value, 51)
    past.bank(value)
    past.hunt()
    assert past.hunt_states() == ["stopped"]
    assert past.hunts()[0].would_move == 51
    assert past.states() == {"clear": 51}


def test_the_flood_breaker_is_heard_while_one_content_moves(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "AT_ONCE", 10)
    monkeypatch.setattr(judge.act, "__defaults__", (10,))
    past.rig.with_policy(flood=FloodSettings(uploaders=15).model_dump())
    value = past.value()
    past.content(value, 40)
    past.bank(value)
    past.hunt()
    assert past.states() == {"held": 20, "flagged": 20}
    assert [(each.state, each.moved) for each in past.hunts()] == [("done", 40)]
    with past.sessions() as session:
        assert session.scalars(select(Demotion.uploaders)).all() == [15]


def test_what_a_hunt_holds_counts_for_the_breaker_when_it_was_uploaded(past: Past) -> None:
    value = past.value()
    past.content(value, 30)
    with past.sessions.begin() as session:
        session.execute(text("UPDATE uploads SET first_seen_at = first_seen_at - interval '60 days'"))
    past.bank(value)
    past.hunt()
    assert past.states() == {"held": 30}
    with past.sessions() as session:
        assert session.scalars(select(Demotion.id)).all() == []
        recent = EntryHit.at > func.now() - text("interval '1 day'")
        assert session.scalar(select(func.count()).select_from(EntryHit).where(recent)) == 0


def test_many_small_hunts_are_one_large_one(past: Past) -> None:
    for _ in range(3):
        value = past.value()
        past.content(value, 20, epoch=past.epoch)
        past.bank(value)
        past.hunt()
    assert past.hunt_states() == ["done", "done", "stopped"]
    assert past.states() == {"held": 40, "clear": 20}
    with past.sessions.begin() as session:
        hunts.approve(session, past.hunts()[2].id, actor="ann")
    past.hunt()
    assert past.states() == {"held": 60}
    with past.sessions.begin() as session:
        assert hunts.moved_lately(session) == 40, "what a person let through is nobody's small step"
        session.execute(text("UPDATE retro_moved SET hour = hour - interval '26 hours'"))
    value = past.value()
    past.content(value, 20, epoch=past.epoch)
    past.bank(value)
    past.hunt()
    assert past.hunt_states()[3] == "done"


def test_a_late_row_is_judged_by_the_epoch_in_force_whatever_has_to_be_read(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bank_sync.epoch_reader.AT_ONCE", 0)
    hunter = Hunter(past.rig.settings, past.sessions)
    past.bank(past.value())
    past.hunt(hunter)
    past.content(past.value())
    past.hunt(hunter)
    value = past.value()
    with past.sessions.begin() as session:
        upsert(session, "stopncii", [BankRecord("pdq", value)])
    past.rig.publish()
    past.hunt(hunter)
    past.content(value)
    past.hunt(hunter)
    assert past.states() == {"clear": 1, "held": 1}


def test_a_late_row_waits_for_an_epoch_that_has_what_was_hunted(past: Past) -> None:
    old = past.epoch
    value = past.value()
    past.bank(value)
    past.hunt()
    epochs.rollback(past.rig.settings.epochs_dir, old, keep=9)
    past.content(value)
    past.hunt()
    assert past.states() == {"clear": 1}
    past.bank(past.value())
    past.hunt()
    assert past.states() == {"held": 1}


def test_late_rows_have_a_blast_radius_and_a_person_s_word(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hunting, "FLOOR", 2)
    value = past.value()
    past.bank(value)
    past.hunt()
    for number in range(4):
        past.content(value, name=f"late{number}")
    past.hunt()
    (_, found) = past.hunts()
    assert (found.late, found.state, found.would_move) == (True, "stopped", 3)
    assert past.states() == {"clear": 4}
    # One more waits with it.
    past.content(value, name="later")
    past.hunt()
    assert past.hunt_states() == ["done", "stopped"]
    with past.sessions.begin() as session:
        hunts.approve(session, found.id, actor="ann")
    past.hunt()
    assert past.states() == {"held": 5}


def test_late_rows_do_not_carry_out_what_a_person_rejected(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hunting, "FLOOR", 2)
    value = past.value()
    for number in range(4):
        past.content(value, name=f"early{number}")
    past.bank(value)
    past.hunt()
    with past.sessions.begin() as session:
        hunts.reject(session, past.hunts()[0].id, actor="ann")
    past.content(value, name="late")
    past.hunt()
    assert past.states() == {"clear": 5}
    assert past.hunt_states() == ["rejected"]


def test_late_rows_are_read_in_pages_and_go_on_where_they_stood(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "_PAGE", 2)
    value = past.value()
    past.bank(value)
    past.hunt()
    for number in range(5):
        past.content(value, name=f"late{number}")
    rounds = 0
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    while Hunter(past.rig.settings, past.sessions).round(stopping) is not Round.DONE:
        rounds, asked = rounds + 1, 0
        assert rounds < 100
    assert rounds >= 3
    assert past.states() == {"held": 5}
    assert [(each.late, each.state, each.moved) for each in past.hunts()[1:]] == [(True, "done", 5)]


def test_a_roll_back_hunts_nothing_again_and_loses_nothing(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hunting, "FLOOR", 2)
    folder = past.rig.settings.epochs_dir
    old = past.epoch
    popular, rare = past.value(), past.value()
    for number in range(4):
        past.content(popular, name=f"{number}")
    past.bank(popular)
    past.hunt()
    with past.sessions.begin() as session:
        hunts.reject(session, past.hunts()[0].id, actor="ann")
    past.bank(rare)
    past.hunt()
    number = epochs.rollback(folder, epochs.rollback(folder, old, keep=9), keep=9)
    loaded = past.rig.stages.index()
    assert (number, loaded.holds) == (past.epoch, old)
    # Scanned while no round looked, against what was rolled back to.
    past.content(rare, epoch=loaded.holds)
    past.bank(past.value())
    monkeypatch.setattr(hunting, "FLOOR", 50)
    past.hunt()
    past.hunt()
    assert past.states() == {"clear": 4, "held": 1}
    assert past.hunt_states().count("rejected") == 1


def test_a_host_behind_hunts_nothing_again(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hunting, "FLOOR", 2)
    folder = past.rig.settings.epochs_dir
    behind = (folder / "CURRENT").read_bytes()
    value = past.value()
    for number in range(4):
        past.content(value, name=f"{number}")
    past.bank(value)
    past.hunt()
    with past.sessions.begin() as session:
        hunts.reject(session, past.hunts()[0].id, actor="ann")
    current = (folder / "CURRENT").read_bytes()
    for pointer in (behind, current):
        (folder / "CURRENT").write_bytes(pointer)
        past.hunt()
    assert past.hunt_states() == ["rejected"]


def test_what_is_committed_while_an_epoch_is_built_is_hunted(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = past.value()
    past.content(value)
    past.add(past.value())
    changes_since = delta.changes_since

    def late_change(*asked: object) -> object:
        monkeypatch.setattr(epochs, "changes_since", changes_since)
        past.add(value)
        return changes_since(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(epochs, "changes_since", late_change)
    past.publish()
    past.hunt()
    past.publish()
    past.hunt()
    assert past.states() == {"held": 1}


def test_a_restored_database_is_hunted_once_and_not_for_ever(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, other = past.value(), past.value()
    past.content(value)
    past.content(other, name="kept")
    with past.sessions.begin() as session:
        # What a dump brings from a server with more transactions behind it.
        session.execute(text("UPDATE ledger SET added_in = '4900000'"))
        session.execute(
            update(RetroMark).values(snapshot="4900000:4900000:", ledger_snapshot="4900000:4900000:", epoch=9)
        )
    judged: list[int] = []
    real = late.LateRows._judge

    def judge_late(self: late.LateRows, content_id: int, *rest: object) -> None:
        judged.append(content_id)
        real(self, content_id, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(late.LateRows, "_judge", judge_late)
    past.bank(value)
    for _ in range(4):
        past.hunt()
        past.publish()
    assert past.states() == {"held": 1, "clear": 1}
    assert len(judged) <= 2
    past.bank(other)
    past.hunt()
    assert past.states() == {"held": 2}


def test_what_a_withdrawal_cleared_or_released_is_found_by_a_later_hash(
    past: Past, versioned_bucket: str
) -> None:
    rig = past.rig
    body = rig.jpeg(rig.picture(1))
    value = rig.hash_of(body)
    past.bank(value)
    first, state = rig.scan(versioned_bucket, "u/a.jpg", body)
    assert state is State.HELD
    past.hunt()
    past.add(value, status="Withdrawn")
    past.publish()
    past.hunt()
    assert release_withdrawn(past.sessions, keep=True) == 1
    assert rig.row(first).state == State.RELEASED
    past.hunt()
    near = bytes([value[0] ^ 1]) + value[1:]
    past.bank(near)
    past.hunt()
    assert rig.row(first).state == State.HELD


def test_a_hash_that_came_while_an_upload_was_held_for_another_is_not_lost(
    past: Past, versioned_bucket: str
) -> None:
    rig = past.rig
    body = rig.jpeg(rig.picture(1))
    value = rig.hash_of(body)
    past.bank(value)
    upload, _ = rig.scan(versioned_bucket, "u/a.jpg", body)
    past.bank(bytes([value[0] ^ 1]) + value[1:])
    past.hunt()
    past.add(value, status="Withdrawn")
    past.publish()
    assert release_withdrawn(past.sessions, keep=True) == 1
    past.hunt()
    assert rig.row(upload).state == State.HELD


def test_a_person_ends_a_hunt_that_acts_or_collects(past: Past) -> None:
    values = [past.value() for _ in range(3)]
    for value in values:
        past.content(value)
    past.bank(*values)
    rejected = False

    def stopping() -> bool:
        nonlocal rejected
        found = next(iter(past.hunts()), None)
        if found is not None and found.state == "acting" and found.moved == 1 and not rejected:
            rejected = True
            with past.sessions.begin() as session:
                hunts.reject(session, found.id, actor="ann")
        return False

    Hunter(past.rig.settings, past.sessions).round(stopping)
    assert past.states() == {"held": 1, "clear": 2}
    assert past.hunt_states() == ["rejected"]

    another = past.value()
    past.content(another, epoch=past.epoch)
    past.bank(another)
    hunter = Hunter(past.rig.settings, past.sessions, rows=1)

    def stop_collecting() -> bool:
        found = past.hunts()[-1]
        if found.state == "collecting":
            with past.sessions.begin() as session:
                hunts.reject(session, found.id, actor="ann")
        return False

    hunter.round(stop_collecting)
    assert past.hunt_states() == ["rejected", "rejected"]
    assert past.states() == {"held": 1, "clear": 3}


def test_nothing_is_approved_while_the_ledger_is_off(past: Past, environment: dict[str, str]) -> None:
    value = past.value()
    past.content(value, 60)
    past.bank(value)
    past.hunt()
    told = CliRunner().invoke(
        cli, ["retro", "approve", "1"], env={**environment, "HASHWARDEN_LEDGER__ENABLED": "false"}
    )
    assert told.exit_code != 0
    assert "the ledger is off" in told.output
    assert past.hunt_states() == ["stopped"]
    with past.sessions.begin() as session, pytest.raises(HuntError, match="ledger is off"):
        hunts.approve(session, 1, actor="ann", ledger_enabled=False)


def test_an_upload_deleted_while_it_is_scanned_leaves_no_hash(past: Past, versioned_bucket: str) -> None:
    rig = past.rig
    upload = rig.put(versioned_bucket, "u/a.jpg", b"any")
    with past.sessions.begin() as session:
        lease = leases.claim(session, upload, rig.settings.queue, actor="slow")
    assert lease is not None
    ref = rig.row(upload).ref
    event = UploadEvent(EventKind.REMOVED, ObjectRef(ref.bucket, ref.key, ref.version_id))
    with past.sessions.begin() as session:
        arrivals.remove(session, event, arrivals.Batch())
    fetched = Fetched(media=None, size=3, md5=os.urandom(16), sha256=os.urandom(32))
    media = HashedMedia(kind=Kind.IMAGE, hashes=(ViewHash(past.value(), 100),))
    conclude(rig.stages, lease, fetched, media, (), past.epoch)
    with past.sessions() as session:
        assert session.scalars(select(LedgerRow.part)).all() == []


def test_a_purge_forgets(past: Past) -> None:
    content = past.content(past.value())
    with past.sessions.begin() as session:
        session.execute(update(Upload).values(access_applied="purged", state=State.REMOVED))
    with past.sessions.begin() as session:
        ledger.forget_deleted(session, content)
    with past.sessions() as session:
        assert session.scalars(select(LedgerRow.part)).all() == []


def test_emptying_the_ledger_waits_for_nobody_long(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_LOCK_WAIT", "50ms")
    past.content(past.value())
    with past.sessions() as session:
        tables = [each.table for each in ledger.partitions(session)]
    real = ledger._drop
    tried: list[str] = []
    with past.sessions() as reading:
        reading.execute(text(f'LOCK TABLE "{tables[0]}" IN ACCESS SHARE MODE'))

        def drop(sessions: object, partition: ledger.Partition) -> None:
            tried.append(partition.table)
            if len(tried) == 3:
                reading.rollback()
            real(sessions, partition)  # type: ignore[arg-type]

        monkeypatch.setattr(ledger, "_drop", drop)
        ledger.forget_all(past.sessions)
    assert tried == [tables[0]] * 3 + tables[1:]


def test_a_content_that_raises_is_passed_over(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [past.value() for _ in range(3)]
    ids = [past.content(value) for value in values]
    past.bank(*values)
    real = judge.act

    def act(session: object, settings: object, content_id: int, index_of: object) -> object:
        if content_id == ids[1]:
            raise ValueError("broken")
        return real(session, settings, content_id, index_of)  # type: ignore[arg-type]

    monkeypatch.setattr(hunting, "act", act)
    assert past.hunt() is Round.DONE
    assert past.states() == {"held": 2, "clear": 1}
    assert [(each.state, each.moved, each.failed) for each in past.hunts()] == [("done", 2, 1)]


def test_a_hunt_that_is_sure_to_be_stopped_collects_no_further_until_it_is_approved(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hunting, "FLOOR", 2)
    monkeypatch.setattr(hunting, "_EARLY", 4)
    value = past.value()
    for number in range(12):
        past.content(value, name=f"{number}")
    past.bank(value)
    past.hunt(Hunter(past.rig.settings, past.sessions, rows=2))
    (found,) = past.hunts()
    with past.sessions() as session:
        hits = session.scalar(select(func.count()).select_from(RetroHit))
    assert (found.state, found.whole) == ("stopped", False)
    assert hits is not None
    assert hits < 12
    with past.sessions.begin() as session:
        assert hunts.approve(session, found.id, actor="ann") == "collecting"
    past.hunt()
    assert past.states() == {"held": 12}
    assert past.hunt_states() == ["done"]


def test_a_huge_video_is_searched_in_several_passes(past: Past) -> None:
    film = pack_frames(Frame(past.value(), 100, float(second)) for second in range(10))
    with past.sessions.begin() as session:
        upsert(session, "stopncii", [BankRecord("vpdq", film), BankRecord("pdq", past.value())])
    past.publish()
    with past.sessions() as session:
        now = session.scalars(text("SELECT pg_current_snapshot()::text")).one()
        taken, after, frame = [], 0, 0
        while (
            part := next_sought(session, Span("3:3:", now), ["stopncii"], after, frame, most=4)
        ) is not None:
            taken.append(part.hashes)
            after, frame = part.last, part.last_frame
    assert all(0 < len(each) <= 4 for each in taken)
    assert len({each.tobytes() for each in np.concatenate(taken)}) == sum(map(len, taken)) == 11


def test_a_poor_picture_is_no_hit_beyond_what_its_quality_allows(past: Past) -> None:
    value = past.value()
    content = past.content(value)
    with past.sessions.begin() as session:
        session.execute(update(LedgerRow).where(LedgerRow.content_id == content).values(quality=10))
    low = past.rig.settings.policy.default.low_quality_radius
    number = int.from_bytes(value, "big") ^ ((1 << (low + 2)) - 1)
    past.bank(number.to_bytes(32, "big"))
    past.hunt()
    assert past.hunts()[0].counts == {}
    past.bank(value)
    past.hunt()
    assert past.hunts()[1].counts == {"stopncii": 1}
