"""Whatever happens in whatever order, states follow the table and the storage agrees with them.

Uploads, overwrites, deletions, scans, verdicts, withdrawals, restored hashes, replays, passing time and people who
meddle with the bucket come in any order that hypothesis likes; the database is real, the store is its twin in memory.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, assume
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import create_engine, func, select, text, update

from bank_sync.bank import BankEntry, BankRecord, upsert
from bank_sync.loaded import Hit
from config.database import Sessions, make_sessions
from config.policy import BankSettings
from config.settings import Settings
from worker.domain import PURGED, CloserLook, HashedMedia, Kind, Lane, Profile, State, Verdict, ViewHash
from worker.media.media import Media
from worker.operate.replay import replay
from worker.pipeline import Stages, process
from worker.review.desk.checks import ReviewError
from worker.review.desk.reviews import decide_review
from worker.storage.memory import MemoryStore
from worker.storage.protocol import Versioning
from worker.store.models import Content, History, MatchRow, Review, Upload
from worker.store.transitions import ALLOWED
from worker.withdrawals import release_withdrawn

HASHES = {b"bad-1": b"\x0f" * 32, b"bad-2": b"\xf0" * 32, b"good": b"\x33" * 32}
"""What the three pictures hash to; the bank holds the first two."""

KEYS = ["a", "b"]


class KnownPictures:
    """Stands for the sandbox: the pictures are told apart by their bytes."""

    def hash(
        self,
        media: Media,
        profile: Profile = Profile.PLAIN,  # noqa: ARG002
        closer: CloserLook | None = None,  # noqa: ARG002
    ) -> HashedMedia:
        body = os.pread(media.fd, media.size, 0)
        if body == b"broken":
            return HashedMedia(kind=Kind.UNSCANNABLE, reason="broken")
        return HashedMedia(kind=Kind.IMAGE, hashes=(ViewHash(HASHES[body], 100),))

    def close(self) -> None:
        return


class BankIndex:
    """Stands for an epoch that is always up to date: the hits come from the bank's rows."""

    number = holds = 1
    size = 0

    def __init__(self, sessions: Sessions) -> None:
        with sessions() as session:
            self._rows = session.execute(select(BankEntry.id, BankEntry.signal)).all()

    def search_pdq(self, queries: npt.NDArray[np.uint8], radius: int, met: int = 0) -> list[Hit]:  # noqa: ARG002
        return [
            Hit(place, entry_id, 0, None)
            for place, query in enumerate(queries)
            for entry_id, signal in self._rows
            if query.tobytes() == signal
        ]

    def frames_of(self, entry_id: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        raise AssertionError(f"entry {entry_id} is a picture")

    def search_md5(self, md5: bytes) -> list[int]:  # noqa: ARG002
        return []


class AnyOrder(RuleBasedStateMachine):
    """One run on a database that is emptied first."""

    settings: Settings
    sessions: Sessions

    def __init__(self) -> None:
        super().__init__()
        with self.sessions.begin() as session:
            tables = (
                "uploads, contents, matches, reviews, decisions, bank_entries, upload_history, webhook_outbox"
            )
            # They are in the way of the cascade, as they are meant to be.
            for kept in ("views", "minor_cases", "minor_files"):
                session.execute(text(f"ALTER TABLE {kept} DISABLE TRIGGER USER"))
            session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        self.store = MemoryStore("quarantine")
        self.requests = 0
        self.stages = Stages(
            settings=self.settings,
            sessions=self.sessions,
            store=self.store,
            sandbox=KnownPictures(),
            index=lambda: BankIndex(self.sessions),
            announce=self._nobody_listens,
        )
        self.status("bad-1", "Active")
        self.status("bad-2", "Active")

    def _nobody_listens(self, _: Collection[tuple[int, Lane]]) -> None:
        return

    @initialize(versioning=st.sampled_from([Versioning.ENABLED, Versioning.OFF]))
    def bucket(self, versioning: Versioning) -> None:
        self.versioning = versioning
        self.store.create_bucket("uploads", versioning)
        # From the start somebody has something to decide.
        self.put_and_processed("a", b"bad-1")

    def uploads(self) -> list[Upload]:
        with self.sessions() as session:
            return list(session.scalars(select(Upload).order_by(Upload.id)))

    def status(self, picture: str, status: str) -> None:
        with self.sessions.begin() as session:
            upsert(session, "stopncii", [BankRecord("pdq", HASHES[picture.encode()], raw_status=status)])

    @rule(key=st.sampled_from(KEYS), body=st.sampled_from([*HASHES, b"broken"]))
    def put(self, key: str, body: bytes) -> None:
        ref = self.store.put_object("uploads", key, body)
        with self.sessions.begin() as session:
            known = session.scalar(
                select(Upload.id).where(
                    Upload.key == key,
                    Upload.version_id == ref.version_id,
                    Upload.etag == ref.etag,
                    Upload.last_modified == ref.last_modified,
                )
            )
            if known is None:
                session.add(
                    Upload(
                        bucket=ref.bucket,
                        key=key,
                        version_id=ref.version_id,
                        etag=ref.etag,
                        size=ref.size,
                        last_modified=ref.last_modified,
                    )
                )

    @rule(key=st.sampled_from(KEYS), body=st.sampled_from([*HASHES, b"broken"]))
    def put_and_processed(self, key: str, body: bytes) -> None:
        self.put(key, body)
        process(self.stages, self.uploads()[-1].id)

    @rule(key=st.sampled_from(KEYS))
    def user_deletes(self, key: str) -> None:
        self.store.delete_object("uploads", key)

    @rule(key=st.sampled_from(KEYS))
    def somebody_takes_the_top_marker_away(self, key: str) -> None:
        stack = self.store.stack("uploads", key)
        assume(stack and stack[0].is_marker)
        self.store.delete("uploads", key, stack[0].version_id)

    @rule(
        picture=st.sampled_from(["bad-1", "bad-2"]),
        status=st.sampled_from(["Active", "Withdrawn", "Deleted"]),
    )
    def bank_changes(self, picture: str, status: str) -> None:
        self.status(picture, status)
        release_withdrawn(self.sessions)

    @rule(
        verdict=st.sampled_from([Verdict.CONFIRMED, Verdict.NOT_A_MATCH, *Verdict]), place=st.integers(0, 5)
    )
    def person_decides(self, verdict: Verdict, place: int) -> None:
        with self.sessions() as session:
            reviews = session.execute(
                select(Review.id, Review.state, Review.verdict).order_by(Review.id)
            ).all()
        assume(reviews)
        self.requests += 1
        review_id, state, before = reviews[place % len(reviews)]
        minors = state == "decided" and before == Verdict.SUSPECTED_MINOR and verdict != before
        # A suspected minor is overturned by two persons alone.
        with pytest.raises(ReviewError) if minors else nullcontext():
            decide_review(
                self.sessions,
                self.settings.policy,
                review_id,
                verdict,
                actor="ann",
                request_id=str(self.requests),
            )

    @rule(place=st.integers(0, 5))
    def one_is_processed(self, place: int) -> None:
        uploads = self.uploads()
        assume(uploads)
        process(self.stages, uploads[place % len(uploads)].id)

    @rule()
    def somebody_replays(self) -> None:
        ids = [upload.id for upload in self.uploads() if upload.state in {State.UNSCANNABLE, State.GONE}]
        assume(ids)
        replay(self.sessions, ids, actor="ann")

    @rule()
    def removal_delay_passes(self) -> None:
        with self.sessions.begin() as session:
            session.execute(
                update(Upload).where(Upload.purge_at.is_not(None)).values(purge_at=func.clock_timestamp())
            )

    @invariant()
    def history_is_a_chain_by_the_table(self) -> None:
        with self.sessions() as session:
            steps = session.execute(
                select(History.upload_id, History.from_state, History.to_state).order_by(History.id)
            ).all()
        last: dict[int, str] = {}
        for upload_id, came_from, went_to in steps:
            assert came_from == last.get(upload_id, "pending")
            assert State(went_to) in ALLOWED[State(came_from)]
            last[upload_id] = went_to
        for upload in self.uploads():
            assert upload.state == last.get(upload.id, "pending")

    def teardown(self) -> None:
        """Everything settles: each row is processed with its effect due, and then the storage is looked at."""
        if not hasattr(self, "versioning"):
            return
        for _ in range(2):
            for upload in self.uploads():
                with self.sessions.begin() as session:
                    due = func.clock_timestamp() - timedelta(seconds=1)
                    session.execute(
                        update(Upload)
                        .where(Upload.id == upload.id)
                        .values(access_due_at=due, next_attempt_at=due)
                    )
                process(self.stages, upload.id)
        for upload in self.uploads():
            self._storage_agrees(upload)
        self._nothing_live_is_served_unseen()

    def _storage_agrees(self, upload: Upload) -> None:
        assert upload.state not in {State.PENDING, State.SCANNING}
        served = self.store.is_served(upload.ref)
        if upload.state in {State.HELD, State.REMOVED}:
            assert not served, f"{upload.state} and served"
        if upload.receipt is None and upload.access_applied != PURGED:
            return
        if upload.state == State.RELEASED:
            assert upload.access_error in {"", "occupied", "lost"}

    def _nothing_live_is_served_unseen(self) -> None:
        """A served upload that matches a live entry was decided by a person."""
        with self.sessions() as session:
            rows = session.execute(
                select(Upload, MatchRow.dismissed_by)
                .join(Content, Content.id == Upload.content_id)
                .join(MatchRow, MatchRow.content_id == Content.id)
                .join(BankEntry, BankEntry.id == MatchRow.entry_id)
                .where(BankEntry.live, Upload.state == State.CLEAR)
            ).all()
        for upload, dismissed_by in rows:
            withdrawn_then_restored = upload.reason == "withdrawn"
            assert dismissed_by is not None or withdrawn_then_restored or self._clear_before(upload)

    def _clear_before(self, upload: Upload) -> bool:
        """The hash came (back) after this upload was cleared: what the search of the past is for."""
        with self.sessions() as session:
            changed = session.scalar(select(func.max(BankEntry.updated_at)))
        return changed is not None and upload.state_since < changed


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = create_engine(database_url)
    yield make_sessions(engine)
    engine.dispose()


def test_any_order_of_events_keeps_rows_and_storage_in_agreement(
    sessions: Sessions, settings: Settings
) -> None:
    banks = {**settings.banks, "stopncii": BankSettings(exchange="stopncii", send_feedback=False)}
    storage = settings.storage.model_copy(update={"buckets": ["uploads"], "quarantine_bucket": "quarantine"})
    queue = settings.queue.model_copy(update={"retry_base": 0.001})
    AnyOrder.sessions = sessions
    AnyOrder.settings = settings.model_copy(update={"banks": banks, "storage": storage, "queue": queue})
    run_state_machine_as_test(
        AnyOrder,
        settings=hypothesis_settings(
            max_examples=40,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
