"""Sweeps on a real database: what no event told is found, in pages, once, and where a crash left off."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, text, update

from config.database import Sessions, make_engine, make_sessions
from config.settings import DatabaseSettings, Settings, load_settings
from worker.domain import EventKind, Lane, ObjectRef, State, UploadEvent
from worker.errors import StorageError
from worker.events.arrivals import BACKFILL, NEW
from worker.events.inbox import Inbox
from worker.events.sweep import FULL, RECENT, Sweeper
from worker.storage.memory import MemoryStore
from worker.storage.protocol import Versioning, VersionPage
from worker.store.models import Sweep, Upload
from worker.store.transitions import transition


@dataclass
class Place:
    sessions: Sessions
    settings: Settings
    store: MemoryStore
    clock: list[datetime]
    announced: list[tuple[int, Lane]] = field(default_factory=list)

    def inbox(self) -> Inbox:
        return Inbox(self.sessions, self.store, self.announced.extend, self.settings.storage)

    def sweeper(self, **told: Any) -> Sweeper:  # noqa: ANN401
        sweep = self.settings.sweep.model_copy(update=told)
        settings = self.settings.model_copy(update={"sweep": sweep})
        return Sweeper(self.sessions, self.store, self.inbox(), settings)

    def put(self, key: str, *, age: float = 0.0, data: bytes = b"picture") -> ObjectRef:
        self.clock[0] = datetime.now(UTC) - timedelta(seconds=age)
        return self.store.put_object("versioned", key, data)

    def rows(self) -> list[Upload]:
        with self.sessions() as session:
            return list(session.scalars(select(Upload).order_by(Upload.id)))

    def sweep_row(self, kind: str = FULL) -> Sweep:
        with self.sessions() as session:
            return session.get_one(Sweep, ("versioned", kind))

    def hold(self) -> None:
        with self.sessions.begin() as session:
            for upload in session.scalars(select(Upload).with_for_update()):
                transition(session, upload, State.SCANNING, actor="test")
                transition(session, upload, State.HELD, actor="test")
                upload.access_due_at = None


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(DatabaseSettings(url=database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def place(engine: Engine) -> Place:
    clock = [datetime.now(UTC)]
    store = MemoryStore("quarantine", clock=lambda: clock[0])
    store.create_bucket("versioned", Versioning.ENABLED)
    settings = load_settings(
        storage={"buckets": ["versioned"], "quarantine_bucket": "quarantine"}, sweep={"rate": 1_000_000}
    )
    return Place(make_sessions(engine), settings, store, clock)


def fail_after(place: Place, pages: int, patch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The store lists so many pages and then fails once; the markers that it was asked with."""
    listing = place.store.list_versions
    asked: list[tuple[str, str]] = []

    def failing(
        bucket: str, key_marker: str = "", version_marker: str = "", limit: int = 1000
    ) -> VersionPage:
        asked.append((key_marker, version_marker))
        if len(asked) == pages + 1:
            raise StorageError("The object store answered 503.")
        return listing(bucket, key_marker, version_marker, min(limit, 3))

    patch.setattr(place.store, "list_versions", failing)
    return asked


def test_the_first_full_sweep_is_a_backfill(place: Place) -> None:
    refs = {place.put(f"{number}.jpg", age=1e6) for number in range(5)}
    refs.add(place.put("0.jpg", data=b"newer"))
    assert place.sweeper().full("versioned")
    assert {row.ref for row in place.rows()} == refs
    assert {(row.source, row.priority, row.state) for row in place.rows()} == {
        ("backfill", BACKFILL, State.PENDING)
    }
    sweep = place.sweep_row()
    assert (sweep.listed, sweep.found, sweep.key_marker) == (6, 6, "")
    assert sweep.finished_at is not None
    assert sweep.first_finished_at == sweep.finished_at


def test_a_later_full_sweep_counts_only_what_no_event_told(place: Place) -> None:
    ref = place.put("told.jpg")
    place.inbox().take([UploadEvent(EventKind.CREATED, ref)], "event")
    assert place.sweeper().full("versioned")
    place.put("untold.jpg")
    assert place.sweeper().full("versioned")
    assert [(row.key, row.source) for row in place.rows()] == [("told.jpg", "event"), ("untold.jpg", "sweep")]
    assert (place.sweep_row().listed, place.sweep_row().found) == (2, 1)


def test_a_full_sweep_goes_on_where_it_failed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = {place.put(f"{number:02}.jpg") for number in range(10)}
    asked = fail_after(place, 2, monkeypatch)
    with pytest.raises(StorageError):
        place.sweeper().full("versioned")
    assert len(place.rows()) == 6
    assert place.sweep_row().finished_at is None
    asked_before = len(asked)
    assert place.sweeper().full("versioned")
    assert asked[asked_before][0] == "05.jpg"
    assert {row.ref for row in place.rows()} == refs
    assert (place.sweep_row().listed, place.sweep_row().found) == (10, 10)


def test_a_full_sweep_ends_where_it_is_told_to_stop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        place.put(f"{number:02}.jpg")
    fail_after(place, 1000, monkeypatch)
    stop = threading.Event()
    sweeper = place.sweeper()
    listing = place.store.list_versions

    def stopping(*args: Any) -> VersionPage:  # noqa: ANN401
        stop.set()
        return listing(*args)

    monkeypatch.setattr(place.store, "list_versions", stopping)
    assert not sweeper.full("versioned", stop)
    assert len(place.rows()) == 3
    assert place.sweeper().full("versioned")
    assert len(place.rows()) == 10


def test_the_rate_bounds_what_is_listed(place: Place) -> None:
    for number in range(9):
        place.put(f"{number}.jpg")
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    assert place.sweeper(rate=3.0).full("versioned", Stop())
    assert len(waits) == 2
    assert all(0.5 < wait <= 1.0 for wait in waits)


def test_two_full_sweeps_of_a_bucket_never_meet(place: Place) -> None:
    place.put("a.jpg")
    with place.sessions() as other:
        other.execute(text("SELECT pg_advisory_lock(hashtextextended('sweep/full/versioned', 0))"))
        assert not place.sweeper().full("versioned")
        assert place.sweeper().recent("versioned")
        other.execute(text("SELECT pg_advisory_unlock_all()"))
    assert place.sweeper().full("versioned")
    assert place.sweeper().full("versioned")


def test_a_sweep_holds_no_transaction_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put("a.jpg")
    states: list[str] = []
    listing = place.store.list_versions

    def looking(*args: Any) -> VersionPage:  # noqa: ANN401
        with place.sessions() as session:
            states.extend(
                session.scalars(
                    text(
                        "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
                        " AND pid <> pg_backend_pid() AND application_name = 'hashwarden'"
                    )
                )
            )
        return listing(*args)

    monkeypatch.setattr(place.store, "list_versions", looking)
    assert place.sweeper().full("versioned")
    assert states
    assert "idle in transaction" not in states


def test_a_recent_sweep_takes_the_recent_as_new_uploads(place: Place) -> None:
    place.put("old.jpg", age=7200)
    recent = place.put("recent.jpg", age=60)
    assert place.sweeper().recent("versioned")
    (row,) = place.rows()
    assert (row.ref, row.source, row.priority) == (recent, "sweep", NEW)
    assert place.announced == [(row.id, Lane.IMAGE)]
    assert (place.sweep_row(RECENT).listed, place.sweep_row(RECENT).found) == (2, 1)


def test_a_recent_noncurrent_version_waits_behind_new_uploads(place: Place) -> None:
    place.put("a.jpg", age=60)
    place.put("a.jpg", age=50, data=b"newer")
    assert place.sweeper().recent("versioned")
    assert sorted(row.priority for row in place.rows()) == [NEW, BACKFILL]


def test_after_a_pause_a_recent_sweep_reaches_back_to_the_one_before(place: Place) -> None:
    assert place.sweeper().recent("versioned")
    with place.sessions.begin() as session:
        session.execute(update(Sweep).values(started_at=datetime.now(UTC) - timedelta(hours=6)))
    place.put("missed.jpg", age=5 * 3600)
    assert place.sweeper().recent("versioned")
    assert [row.key for row in place.rows()] == ["missed.jpg"]


def test_a_held_version_that_is_served_again_is_seen_by_either_sweep(place: Place) -> None:
    place.put("a.jpg", age=1e6)
    assert place.sweeper().full("versioned")
    place.hold()
    for sweep in (place.sweeper().recent, place.sweeper().full):
        assert sweep("versioned")
        (row,) = place.rows()
        assert row.access_due_at is not None
        with place.sessions.begin() as session:
            session.execute(update(Upload).values(access_due_at=None))


def test_a_held_version_beneath_our_marker_is_left_in_peace(place: Place) -> None:
    ref = place.put("a.jpg")
    assert place.sweeper().full("versioned")
    place.hold()
    place.announced.clear()
    place.store.deny(ref, None, intent_at=None, quarantine_key="q", sha256=None)
    assert place.sweeper().recent("versioned")
    assert place.sweeper().full("versioned")
    (row,) = place.rows()
    assert (row.state, row.access_due_at, place.announced) == (State.HELD, None, [])


def test_running_sweeps_everything_and_survives_a_failing_store(
    place: Place, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., object]
) -> None:
    for number in range(7):
        place.put(f"{number}.jpg", age=1e6 if number % 2 else 0)
    failures = itertools.count()
    listing = place.store.list_versions

    def flaky(*args: Any) -> VersionPage:  # noqa: ANN401
        if next(failures) < 2:
            raise StorageError("The object store answered 503.")
        return listing(*args)

    monkeypatch.setattr(place.store, "list_versions", flaky)
    stop = threading.Event()
    running = threading.Thread(target=place.sweeper(recent_every=0.2).run, args=(stop,))
    running.start()
    try:
        wait_until(lambda: len(place.rows()) == 7, timeout=20)
        place.put("late.jpg")
        wait_until(lambda: len(place.rows()) == 8, timeout=20)
    finally:
        stop.set()
        running.join(20)
    assert not running.is_alive()
