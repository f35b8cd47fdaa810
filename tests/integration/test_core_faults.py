"""Faults of the core that a look at its code suggested, each forced on real parts: open, lost, twice, or stuck."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select, text, update

from bank_sync.bank import BankEntry, BankRecord, Feedback
from worker.act import _sole_run, ensure
from worker.domain import (
    Effect,
    EventKind,
    HashedMedia,
    Kind,
    Lane,
    Match,
    ObjectRef,
    State,
    UploadEvent,
    Verdict,
    ViewHash,
)
from worker.errors import StorageError, StorageRefused
from worker.events.inbox import Inbox
from worker.fetch import Fetched
from worker.pipeline import conclude
from worker.queue.dispatch import due
from worker.review.desk.reviews import decide_review
from worker.storage.protocol import Receipt, Served
from worker.storage.s3 import S3Store
from worker.store import leases
from worker.store.contents import lock_content
from worker.store.models import Content, MatchRow, Review, Upload
from worker.store.transitions import transition
from worker.withdrawals import release_withdrawn

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


class Held:
    """One upload withheld by one entry of a bank, with its review open."""

    def __init__(self, rig: Rig, bucket: str) -> None:
        self.rig, self.bucket = rig, bucket
        self.body = rig.jpeg(rig.picture(1))
        self.entry = rig.hash_of(self.body)
        rig.bank_pdq(self.entry)
        self.id, state = rig.scan(bucket, "u/a.jpg", self.body)
        assert state is State.HELD
        with rig.sessions() as session:
            self.review = session.scalars(select(Review.id)).one()

    def decide(self, verdict: Verdict, request_id: str = "one") -> int:
        decided = decide_review(
            self.rig.sessions,
            self.rig.settings.policy,
            self.review,
            verdict,
            actor="maria",
            request_id=request_id,
        )
        return decided.kept

    def is_due(self) -> bool:
        row = self.rig.row(self.id)
        with self.rig.sessions() as session:
            return self.id in {found.id for found in session.scalars(due(row.lane, 0.0))}


def raising(error: Exception) -> Callable[..., Any]:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


@pytest.fixture(params=["versioned", "plain"])
def bucket(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_bucket"))


@pytest.fixture
def held(rig: Rig, bucket: str) -> Held:
    return Held(rig, bucket)


@pytest.fixture
def held_by_marker(rig: Rig, versioned_bucket: str) -> Held:
    return Held(rig, versioned_bucket)


def test_a_release_leaves_the_users_own_deletion_alone(rig: Rig, versioned_bucket: str) -> None:
    """Deleted by its owner in the very second of our denial: that marker is not ours to take away."""
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    upload_id = rig.put(versioned_bucket, "u/a.jpg", body)
    rig.s3.delete_object(Bucket=versioned_bucket, Key="u/a.jpg")
    assert rig.process(upload_id) is State.HELD
    with rig.sessions() as session:
        review = session.scalars(select(Review.id)).one()
    decide_review(
        rig.sessions, rig.settings.policy, review, Verdict.NOT_A_MATCH, actor="maria", request_id="one"
    )
    rig.process(upload_id)
    assert rig.get(versioned_bucket, "u/a.jpg") is None


def test_a_scan_in_shadow_does_not_weaken_what_was_held_before(held: Held) -> None:
    held.rig.with_policy(mode="shadow")
    _, state = held.rig.scan(held.bucket, "v/b.jpg", held.body)
    assert state is State.CLEAR
    assert release_withdrawn(held.rig.sessions) == 0
    assert held.rig.row(held.id).state == State.HELD
    with held.rig.sessions() as session:
        assert session.scalars(select(MatchRow.effect)).one() == "hold"


def test_what_was_withheld_before_shadow_mode_is_served_again_when_released(held: Held) -> None:
    held.rig.with_policy(mode="shadow")
    held.decide(Verdict.NOT_A_MATCH)
    assert held.rig.process(held.id) is State.RELEASED
    assert held.rig.get(held.bucket, "u/a.jpg") == held.body


def test_a_removal_waits_out_shadow_mode_without_being_announced_all_the_time(held: Held) -> None:
    held.decide(Verdict.CONFIRMED)
    held.rig.with_policy(mode="shadow")
    held.rig.make_due(held.id)
    held.rig.process(held.id)
    assert held.rig.row(held.id).access_applied != "purged"
    assert not held.is_due()
    held.rig.with_policy(mode="enforce")
    held.rig.make_due(held.id)
    held.rig.process(held.id)
    assert held.rig.row(held.id).access_applied == "purged"


def test_a_refused_deletion_is_not_announced_all_the_time(
    held_by_marker: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = held_by_marker
    held.decide(Verdict.CONFIRMED)
    held.rig.process(held.id)
    held.rig.make_due(held.id)

    refuse = raising(StorageRefused("No."))

    monkeypatch.setattr(S3Store, "purge", refuse)
    held.rig.process(held.id)
    assert not held.is_due()
    monkeypatch.undo()
    held.rig.make_due(held.id)
    held.rig.process(held.id)
    assert held.rig.row(held.id).access_applied == "purged"


def test_an_undo_in_the_moment_of_deletion_says_that_it_came_too_late(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.decide(Verdict.CONFIRMED, "one")
    held.rig.process(held.id)
    held.rig.make_due(held.id)
    purge = S3Store.purge
    kept: list[int] = []

    def undone_meanwhile(self: S3Store, ref: ObjectRef, receipt: Receipt | None) -> None:
        purge(self, ref, receipt)
        kept.append(held.decide(Verdict.NOT_A_MATCH, "two"))

    monkeypatch.setattr(S3Store, "purge", undone_meanwhile)
    held.rig.process(held.id)
    row = held.rig.row(held.id)
    assert (kept, row.state, row.access_applied) == ([1], State.REMOVED, "purged")
    assert not held.is_due()


def test_a_deletion_that_broke_off_is_finished(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.decide(Verdict.CONFIRMED)
    held.rig.process(held.id)
    held.rig.make_due(held.id)

    break_off = raising(StorageError("Away."))

    monkeypatch.setattr(S3Store, "purge", break_off)
    held.rig.process(held.id)
    monkeypatch.undo()
    held.rig.make_due(held.id)
    held.rig.process(held.id)
    assert (held.rig.row(held.id).access_applied, held.rig.row(held.id).purge_at) == ("purged", None)
    assert held.rig.s3.list_object_versions(Bucket=held.bucket).get("Versions", []) == []


def test_a_withdrawal_does_not_overtake_a_scan_of_the_same_bytes(held: Held) -> None:
    """The scan has found another entry and not yet committed: its hold must not be released by what it can't see."""
    with held.rig.sessions.begin() as session:
        session.execute(update(BankEntry).values(live=False))
    with held.rig.sessions() as scan:
        sha256 = scan.scalars(select(Content.sha256)).one()
        lock_content(scan, sha256, None, 0, Kind.IMAGE)
        assert release_withdrawn(held.rig.sessions) == 0
    assert release_withdrawn(held.rig.sessions) == 1


def test_a_scan_that_failed_does_not_serve_bytes_that_are_withheld(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes again, while the sandbox runs into its time limit."""
    late = HashedMedia(kind=Kind.UNSCANNABLE, reason="wall_clock_limit")
    monkeypatch.setattr(held.rig.stages.sandbox, "hash", lambda *_: late)
    again, state = held.rig.scan(held.bucket, "v/b.jpg", held.body)
    assert state is State.HELD
    assert held.rig.get(held.bucket, "v/b.jpg") is None
    monkeypatch.undo()
    held.decide(Verdict.CONFIRMED)
    with held.rig.sessions() as session:
        own = session.scalars(select(BankEntry.signal).where(BankEntry.bank == "own")).all()
    assert own == [held.entry], "the failed scan did not take the fingerprint away"
    assert held.rig.row(again).state == State.REMOVED


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.CONFIRMED, State.REMOVED),
        (Verdict.SUSPECTED_MINOR, State.HELD),
        (Verdict.NOT_A_MATCH, State.UNSCANNABLE),
    ],
)
def test_an_upload_out_of_attempts_keeps_to_what_was_decided_of_its_content(
    rig: Rig, versioned_bucket: str, verdict: Verdict, expected: State
) -> None:
    rig.publish()
    upload_id, state = rig.scan(versioned_bucket, "u/a.jpg", rig.jpeg(rig.picture(1))[:300])
    assert state is State.UNSCANNABLE
    with rig.sessions.begin() as session:
        review = session.scalars(select(Review.id)).one()
        upload = session.get_one(Upload, upload_id)
        transition(session, upload, State.PENDING, actor="test", reason="replay")
        upload.attempts = rig.settings.queue.max_attempts
    decide_review(rig.sessions, rig.settings.policy, review, verdict, actor="maria", request_id="one")
    assert rig.process(upload_id) is expected
    with rig.sessions() as session:
        opened = session.get_one(Review, review).state
    assert (opened == "open") is (verdict is Verdict.NOT_A_MATCH)


def test_two_scans_that_meet_the_same_entries_in_another_order_both_conclude(
    rig: Rig, versioned_bucket: str
) -> None:
    pictures = [rig.jpeg(rig.picture(n)) for n in range(4)]
    rig.bank_pdq(rig.hash_of(pictures[0]), rig.hash_of(pictures[1]))
    with rig.sessions() as session:
        first, second = session.scalars(select(BankEntry.id).order_by(BankEntry.id)).all()
    meeting = threading.Barrier(2)
    waited = threading.local()

    def meet(*args: Any) -> None:  # noqa: ANN401 (SQLAlchemy's event)
        if "feedback_outbox" in args[2] and not getattr(waited, "once", False):
            waited.once = True
            try:
                meeting.wait(1.0)
            except threading.BrokenBarrierError:
                return

    def run(number: int, order: tuple[int, int]) -> None:
        upload_id = rig.put(versioned_bucket, f"u/{number}.jpg", pictures[2 + number])
        with rig.sessions.begin() as session:
            lease = leases.claim(session, upload_id, rig.settings.queue, actor="test")
        assert lease is not None
        matches = tuple(
            Match(entry_id, "stopncii", "pdq", distance, effect=Effect.HOLD)
            for distance, entry_id in enumerate(order)
        )
        media = HashedMedia(Kind.IMAGE, hashes=(ViewHash(bytes(32), 100),))
        conclude(
            rig.stages, lease, Fetched(None, 1, bytes([number]) * 16, bytes([number]) * 32), media, matches, 1
        )
        concluded.append(number)

    concluded: list[int] = []
    event.listen(rig.parts.engine, "after_cursor_execute", meet)
    threads = [
        threading.Thread(target=run, args=(0, (first, second))),
        threading.Thread(target=run, args=(1, (second, first))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    event.remove(rig.parts.engine, "after_cursor_execute", meet)
    assert sorted(concluded) == [0, 1]


def test_a_failing_tag_does_not_lose_the_receipt(
    rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is written down although the tag is not there yet."""

    fail = raising(StorageError("Slow down."))

    monkeypatch.setattr(S3Store, "tag", fail)
    held = Held(rig, versioned_bucket)
    row = rig.row(held.id)
    assert row.receipt is not None
    assert (row.receipt["method"], row.tagged) == ("delete_marker", "")
    assert row.access_due_at is not None
    monkeypatch.undo()
    rig.make_due(held.id)
    rig.process(held.id)
    assert rig.row(held.id).tagged == "HELD"


def test_where_the_platform_serves_by_tag_a_refused_tag_is_tried_again(
    rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = raising(StorageRefused("No."))

    rig.with_policy(publish="after_scan")
    rig.publish()
    monkeypatch.setattr(S3Store, "tag", refuse)
    upload_id, _ = rig.scan(versioned_bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    assert rig.row(upload_id).access_due_at is not None
    monkeypatch.undo()
    rig.make_due(upload_id)
    rig.process(upload_id)
    assert (rig.row(upload_id).tagged, rig.row(upload_id).access_due_at) == ("CLEAR", None)


def test_a_copy_put_back_is_tagged_where_the_platform_serves_by_tag(rig: Rig, plain_bucket: str) -> None:
    rig.with_policy(publish="after_scan")
    held = Held(rig, plain_bucket)
    held.decide(Verdict.NOT_A_MATCH)
    assert rig.process(held.id) is State.RELEASED
    tags = rig.s3.get_object_tagging(Bucket=plain_bucket, Key="u/a.jpg")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags}["content-scan-status"] == "RELEASED"


@pytest.mark.parametrize("failures", [2000, 32767])
def test_an_effect_that_failed_for_months_is_still_put_off(
    held_by_marker: Held, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    held = held_by_marker
    with held.rig.sessions.begin() as session:
        session.execute(update(Upload).values(access_attempts=failures))
    held.rig.make_due(held.id)

    fail = raising(StorageError("Away."))

    monkeypatch.setattr(S3Store, "deny", fail)
    assert not ensure(held.rig.sessions, held.rig.stages.store, held.rig.settings.policy, held.id)
    assert not held.is_due()


ODD_KEYS = [
    "per%cent%2F+plus &?#.jpg",
    "ünï/😀.jpg",
    " leading and trailing ",
    "a" * 1024,
    "\u202egpj.exe",
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_is_withheld_and_served_again(rig: Rig, bucket: str, key: str) -> None:
    body = rig.jpeg(rig.picture(1))
    value = rig.hash_of(body)
    rig.bank_pdq(value)
    upload_id, state = rig.scan(bucket, key, body)
    assert (state, rig.get(bucket, key)) == (State.HELD, None)
    rig.bank_records([BankRecord("pdq", value, raw_status="Withdrawn")])
    assert release_withdrawn(rig.sessions) == 1
    assert rig.process(upload_id) is State.RELEASED
    assert rig.get(bucket, key) == body


def test_an_empty_object_is_visible_and_not_clear(rig: Rig, bucket: str) -> None:
    rig.publish()
    upload_id, state = rig.scan(bucket, "u/empty.jpg", b"")
    assert state in {State.UNSCANNABLE, State.UNSUPPORTED}
    assert rig.row(upload_id).reason


def test_what_is_due_is_found_by_an_index(rig: Rig) -> None:
    """Among a hundred thousand uploads that are done, the few that are due are not searched for row by row."""
    with rig.sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO uploads (bucket, key, version_id, state, access_wanted, access_applied) "
                "SELECT 'b', 'k' || n, 'v', 'clear', 'served', 'served' FROM generate_series(1, 100000) n"
            )
        )
        session.execute(
            text("UPDATE uploads SET state = 'held', access_due_at = clock_timestamp() WHERE key < 'k1001'")
        )
    with rig.parts.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE uploads"))
        statement = due(Lane.IMAGE, 5.0).limit(500)
        compiled = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = "\n".join(connection.execute(text(f"EXPLAIN {compiled}".replace(":", r"\:"))).scalars())
    assert "ix_uploads_due" in plan, plan
    assert "Seq Scan" not in plan, plan


def test_uploads_that_end_and_come_again_have_all_their_attempts(rig: Rig, versioned_bucket: str) -> None:
    """Gone and back again several times is no poison."""
    rig.publish()
    body = rig.jpeg(rig.picture(1))
    upload_id = rig.put(versioned_bucket, "u/a.jpg", body)
    with rig.sessions.begin() as session:
        upload = session.get_one(Upload, upload_id)
        transition(session, upload, State.GONE, actor="test")
        upload.attempts = rig.settings.queue.max_attempts
    inbox = Inbox(rig.sessions, rig.stages.store, lambda _: None, rig.settings.storage)
    inbox.take([UploadEvent(EventKind.CREATED, rig.row(upload_id).ref)], "event")
    assert rig.process(upload_id) is State.CLEAR


def test_an_entry_that_comes_later_hears_of_the_decision_before_it(held: Held) -> None:
    """Removed at once, without a review: its bank would never be told."""
    held.decide(Verdict.CONFIRMED)
    held.rig.bank_records([BankRecord("pdq", bytes([held.entry[0] ^ 1]) + held.entry[1:])])
    for number in range(2):
        _, state = held.rig.scan(held.bucket, f"v/{number}.jpg", held.body)
        assert state is State.REMOVED
    with held.rig.sessions() as session:
        first, later = session.scalars(
            select(BankEntry.id).where(BankEntry.bank == "stopncii").order_by(BankEntry.id)
        )
        told = [(row.entry_id, row.value) for row in session.scalars(select(Feedback).order_by(Feedback.id))]
    assert told == [(first, "PendingReview"), (first, "Blocked"), (later, "Blocked")]


def test_a_decision_while_a_copy_is_put_back_is_not_forgotten(
    rig: Rig, plain_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event of the object put back was first, and a person decides again at the same moment."""
    held = Held(rig, plain_bucket)
    held.decide(Verdict.NOT_A_MATCH, "one")
    serve = S3Store.serve

    def decided_meanwhile(self: S3Store, *args: Any, **kwargs: Any) -> Served:  # noqa: ANN401
        served = serve(self, *args, **kwargs)
        rig.row_for(plain_bucket, "u/a.jpg")
        held.decide(Verdict.SUSPECTED_MINOR, "two")
        return served

    monkeypatch.setattr(S3Store, "serve", decided_meanwhile)
    # The object put back differs from the row by its time, which S3 tells in seconds.
    with rig.sessions.begin() as session:
        session.execute(update(Upload).values(last_modified=Upload.last_modified - timedelta(seconds=5)))
    assert rig.process(held.id) is State.HELD
    assert held.is_due()
    rig.process(held.id)
    assert rig.get(plain_bucket, "u/a.jpg") is None


def test_a_broken_video_is_still_held_by_its_md5(rig: Rig, bucket: str) -> None:
    body = b"\x00\x00\x00\x18ftypmp42" + bytes(64)
    rig.bank_records([BankRecord("video_md5", hashlib.md5(body, usedforsecurity=False).digest())])
    upload_id = rig.put(bucket, "u/a.mp4", body, Lane.VIDEO)
    assert rig.process(upload_id) is State.HELD
    assert rig.get(bucket, "u/a.mp4") is None


@pytest.mark.parametrize("verdict", [Verdict.NOT_A_MATCH, Verdict.CONFIRMED])
def test_a_bucket_may_be_given_versions_after_the_hold(rig: Rig, plain_bucket: str, verdict: Verdict) -> None:
    held = Held(rig, plain_bucket)
    rig.s3.put_bucket_versioning(Bucket=plain_bucket, VersioningConfiguration={"Status": "Enabled"})
    held.decide(verdict)
    rig.process(held.id)
    rig.make_due(held.id)
    rig.process(held.id)
    if verdict is Verdict.NOT_A_MATCH:
        assert rig.get(held.bucket, "u/a.jpg") == held.body
        held.decide(Verdict.CONFIRMED, "two")
        rig.process(held.id)
        rig.make_due(held.id)
        rig.process(held.id)
    assert rig.row(held.id).access_applied == "purged"
    assert rig.get(held.bucket, "u/a.jpg") is None
    assert rig.s3.list_object_versions(Bucket=held.bucket).get("Versions", []) == []
    assert rig.s3.list_objects_v2(Bucket=rig.settings.storage.quarantine_bucket)["KeyCount"] == 0


def test_two_versions_of_a_key_are_withheld_one_after_the_other(rig: Rig, versioned_bucket: str) -> None:
    """While one run holds the key the other leaves it, and its row stays due."""
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    upload_id = rig.put(versioned_bucket, "u/a.jpg", body)
    with rig.sessions() as other, _sole_run(other, upload_id) as alone:
        assert alone
        assert rig.process(upload_id) is State.HELD
        assert rig.get(versioned_bucket, "u/a.jpg") == body
        with rig.sessions() as session:
            assert [row.id for row in session.scalars(due(Lane.IMAGE, 0.0))] == [upload_id]
    rig.process(upload_id)
    assert rig.get(versioned_bucket, "u/a.jpg") is None


def test_a_bucket_that_is_missing_ends_nothing(rig: Rig, versioned_bucket: str) -> None:
    rig.publish()
    upload_id = rig.put(versioned_bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    with rig.sessions.begin() as session:
        session.execute(update(Upload).values(bucket="no-such-bucket"))
    assert rig.process(upload_id) is State.PENDING
    assert rig.row(upload_id).attempts == 0
