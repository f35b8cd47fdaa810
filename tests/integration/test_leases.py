"""Leases on real rows: attempts counted first, one holder at a time, faults that don't use up attempts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, func, select, update
from sqlalchemy.exc import DBAPIError

from config.database import Sessions, make_sessions
from config.settings import QueueSettings
from worker.domain import Lane, State
from worker.store import leases
from worker.store.leases import Lease
from worker.store.models import History, Upload

QUEUE = QueueSettings(max_attempts=3, retry_base=10, retry_max=100)


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = create_engine(database_url)
    yield make_sessions(engine)
    engine.dispose()


def new_upload(sessions: Sessions, key: str = "a.jpg") -> int:
    with sessions.begin() as session:
        upload = Upload(bucket="b", key=key, version_id=key)
        session.add(upload)
        session.flush()
        return upload.id


def claim(sessions: Sessions, upload_id: int) -> Lease | None:
    with sessions.begin() as session:
        return leases.claim(session, upload_id, QUEUE, actor="test")


def row(sessions: Sessions, upload_id: int) -> Upload:
    with sessions() as session:
        return session.get_one(Upload, upload_id)


def make_due(sessions: Sessions, upload_id: int) -> None:
    past = func.clock_timestamp() - timedelta(seconds=1)
    with sessions.begin() as session:
        session.execute(
            update(Upload).where(Upload.id == upload_id).values(next_attempt_at=past, lease_until=past)
        )


def test_the_attempt_is_counted_before_the_media_is_touched(sessions: Sessions) -> None:
    upload_id = new_upload(sessions)
    lease = claim(sessions, upload_id)
    assert lease is not None
    found = row(sessions, upload_id)
    assert (found.state, found.attempts, found.lease) == (State.SCANNING, 1, lease.token)


def test_a_second_start_finds_the_lease_taken(sessions: Sessions) -> None:
    upload_id = new_upload(sessions)
    assert claim(sessions, upload_id) is not None
    assert claim(sessions, upload_id) is None
    assert row(sessions, upload_id).attempts == 1


def test_of_many_at_once_one_gets_the_lease(sessions: Sessions) -> None:
    upload_id = new_upload(sessions)
    got: list[Lease | None] = []
    start = threading.Barrier(6)

    def race() -> None:
        start.wait()
        got.append(claim(sessions, upload_id))

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in got if lease]) == 1


def test_an_expired_lease_is_taken_over_and_its_holder_can_write_nothing(sessions: Sessions) -> None:
    upload_id = new_upload(sessions)
    first = claim(sessions, upload_id)
    make_due(sessions, upload_id)
    second = claim(sessions, upload_id)
    assert first is not None
    assert second is not None
    with sessions.begin() as session:
        assert leases.locked(session, first) is None
        assert leases.locked(session, second) is not None
    with sessions() as session:
        reasons = session.scalars(select(History.reason).where(History.upload_id == upload_id)).all()
    assert leases.LEASE_EXPIRED in reasons


def test_attempts_end(sessions: Sessions) -> None:
    upload_id = new_upload(sessions)
    taken = 0
    for _ in range(QUEUE.max_attempts + 2):
        make_due(sessions, upload_id)
        taken += claim(sessions, upload_id) is not None
    assert taken == QUEUE.max_attempts
    with sessions.begin() as session:
        assert leases.exhausted(session, upload_id, QUEUE) is not None


def test_a_fault_that_is_not_the_uploads_costs_time_but_no_attempt(sessions: Sessions) -> None:
    upload_id = new_upload(sessions)
    lease = claim(sessions, upload_id)
    assert lease is not None
    with sessions.begin() as session:
        assert leases.give_back(session, lease, QUEUE, actor="test", reason="storage", use_attempt=False)
    found = row(sessions, upload_id)
    assert (found.state, found.attempts, found.faults) == (State.PENDING, 0, 1)
    assert claim(sessions, upload_id) is None, "it is due only after the delay"


def test_history_can_be_added_to_and_not_rewritten(sessions: Sessions) -> None:
    upload_id = new_upload(sessions)
    claim(sessions, upload_id)
    for change in (update(History).values(actor="somebody else"), delete(History)):
        with sessions() as session, pytest.raises(DBAPIError, match="append-only"):
            session.execute(change)


def test_delays_grow_to_the_maximum() -> None:
    seconds = [leases.delay(QUEUE, tries).total_seconds() for tries in range(1, 5)]
    assert seconds == [10, 40, 100, 100]


steps = st.lists(st.sampled_from(["claim", "expire", "fault", "failure", "lane", "stale"]), max_size=25)


@given(steps)
@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_order_of_starts_deaths_and_faults_keeps_the_lease_exclusive_and_attempts_bounded(
    sessions: Sessions, order: list[str]
) -> None:
    upload_id = new_upload(sessions, key=uuid4().hex)
    held: Lease | None = None
    lost: list[Lease] = []
    counted = 0
    for step in order:
        if step in {"claim", "expire"}:
            if step == "expire":
                make_due(sessions, upload_id)
            new = claim(sessions, upload_id)
            if new is not None:
                if held is not None:
                    lost.append(held)
                held = new
                counted += 1
            elif held is not None and row(sessions, upload_id).state == State.PENDING:
                # Expired and out of attempts: nobody has it, it waits to be ended.
                lost.append(held)
                held = None
        elif step == "stale":
            for old in lost:
                with sessions.begin() as session:
                    assert not leases.give_back(
                        session, old, QUEUE, actor="test", reason="x", use_attempt=True
                    )
        elif held is not None:
            with sessions.begin() as session:
                if step == "lane":
                    assert leases.change_lane(session, held, Lane.VIDEO, actor="test")
                else:
                    assert leases.give_back(
                        session, held, QUEUE, actor="test", reason="x", use_attempt=step == "failure"
                    )
            counted -= step != "failure"
            held = None
            make_due(sessions, upload_id)
    found = row(sessions, upload_id)
    assert found.attempts == counted <= QUEUE.max_attempts
    assert (found.lease is not None) == (held is not None)
