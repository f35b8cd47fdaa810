"""Finds by listing what no event told: a recent sweep often, a full one daily, and the first full one is a backfill.

A full sweep goes on where a crash left it, at a bounded rate, and its uploads wait behind new ones. Two sweeps of
one kind never run in one bucket at once. Never writes to a bucket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from config.database import Sessions
from config.errors import HashwardenError
from config.settings import Settings
from worker.domain import State
from worker.events.arrivals import BACKFILL, NEW
from worker.events.inbox import Inbox
from worker.storage.protocol import Listed, ObjectStore
from worker.store.models import Sweep, Upload

log = structlog.get_logger()

RECENT, FULL = "recent", "full"
PAGE = 1000
"""Versions a listing gives at most."""

PROGRESS_EVERY = 10.0
OVERLAP = timedelta(seconds=60)
"""A recent sweep reaches this far back before the start of the one before it."""

PURGED = "purged"
_RETRY_FIRST, _RETRY_MAX = 1.0, 60.0


class Sweeper:
    """The sweeps of all scanned buckets."""

    def __init__(self, sessions: Sessions, store: ObjectStore, inbox: Inbox, settings: Settings) -> None:
        self._sessions = sessions
        self._store = store
        self._inbox = inbox
        self._settings = settings.sweep
        self._buckets = [
            bucket for bucket in settings.storage.buckets if bucket != settings.storage.quarantine_bucket
        ]

    def run(self, stop: threading.Event) -> None:
        """Sweeps until `stop` is set: full sweeps in a thread of their own, recent ones beside them."""
        loops = [
            threading.Thread(target=self._loop, args=(stop, kind, seconds, sweep), name=f"sweep-{kind}")
            for kind, seconds, sweep in (
                (FULL, self._settings.full_every, self.full),
                (RECENT, self._settings.recent_every, self.recent),
            )
        ]
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join()

    def recent(self, bucket: str, stop: threading.Event | None = None) -> bool:
        """Takes what was modified lately, and checks denied versions that the listing shows as served.

        False when another process sweeps this bucket or `stop` was set. Raises the storage errors.
        """
        stop = stop or threading.Event()
        with self._alone(bucket, RECENT) as alone:
            if not alone:
                return False
            since = self._begin_recent(bucket)
            denied = self._denied(bucket)
            progress = _Progress(bucket, RECENT)
            for page in self._pages(bucket, stop):
                wanted = [
                    listed
                    for listed in page
                    if (listed.ref.last_modified is not None and listed.ref.last_modified >= since)
                    or (listed.is_latest and (listed.ref.key, listed.ref.version_id) in denied)
                ]
                found = self._inbox.take_listed(wanted, "sweep", NEW).inserted if wanted else 0
                progress.add(len(page), found)
            if stop.is_set():
                return False
            with self._sessions.begin() as session:
                session.execute(
                    update(Sweep)
                    .where(Sweep.bucket == bucket, Sweep.kind == RECENT)
                    .values(
                        listed=progress.listed,
                        found=progress.found,
                        finished_at=func.statement_timestamp(),
                        first_finished_at=func.coalesce(Sweep.first_finished_at, func.statement_timestamp()),
                    )
                )
            progress.end()
            return True

    def full(self, bucket: str, stop: threading.Event | None = None) -> bool:
        """Takes every version, from where an unfinished sweep stopped; the first one of a bucket is its backfill.

        False when another process sweeps this bucket or `stop` was set. Raises the storage errors; a later call
        goes on from the last whole page.
        """
        stop = stop or threading.Event()
        with self._alone(bucket, FULL) as alone:
            if not alone:
                return False
            sweep = self._begin_full(bucket)
            source = "backfill" if sweep.first_finished_at is None else "sweep"
            progress = _Progress(bucket, FULL, sweep.listed, sweep.found)
            limit = max(1, min(PAGE, int(self._settings.rate)))
            key_marker, version_marker, more = sweep.key_marker, sweep.version_marker, True
            while more and not stop.is_set():
                started = time.monotonic()
                page = self._store.list_versions(bucket, key_marker, version_marker, limit)
                taken = self._inbox.take_listed(page.refs, source, BACKFILL)
                progress.add(len(page.refs), taken.inserted)
                key_marker, version_marker, more = page.next_key_marker, page.next_version_marker, page.more
                self._save(bucket, key_marker, version_marker, progress, finished=not more)
                if more:
                    stop.wait(max(0.0, limit / self._settings.rate - (time.monotonic() - started)))
            if not more:
                progress.end()
            return not more

    def _loop(
        self,
        stop: threading.Event,
        kind: str,
        every: float,
        sweep: Callable[[str, threading.Event], bool],
    ) -> None:
        failures = 0
        while not stop.is_set():
            failed = False
            waits = [every]
            for bucket in self._buckets:
                try:
                    wait = self._seconds_until_due(bucket, kind, every)
                    if wait <= 0:
                        sweep(bucket, stop)
                        wait = self._seconds_until_due(bucket, kind, every)
                    waits.append(max(wait, _RETRY_FIRST))
                except HashwardenError as fault:
                    failed = True
                    log.error("sweep_failed", bucket=bucket, kind=kind, fault=fault.code, message=str(fault))
                except SQLAlchemyError as fault:
                    failed = True
                    log.error("sweep_failed", bucket=bucket, kind=kind, fault=type(fault).__name__)
            failures = failures + 1 if failed else 0
            pause = min(_RETRY_FIRST * 2 ** min(failures, 10), _RETRY_MAX) if failed else min(waits)
            stop.wait(min(pause, every))

    def _seconds_until_due(self, bucket: str, kind: str, every: float) -> float:
        with self._sessions() as session:
            finished = session.scalar(
                select(Sweep.finished_at).where(Sweep.bucket == bucket, Sweep.kind == kind)
            )
            if finished is None:
                return 0.0
            now = session.scalars(select(func.clock_timestamp())).one()
        return float((finished + timedelta(seconds=every) - now).total_seconds())

    def _pages(self, bucket: str, stop: threading.Event) -> Iterator[list[Listed]]:
        key_marker = version_marker = ""
        more = True
        while more and not stop.is_set():
            page = self._store.list_versions(bucket, key_marker, version_marker, PAGE)
            yield page.refs
            key_marker, version_marker, more = page.next_key_marker, page.next_version_marker, page.more

    def _begin_recent(self, bucket: str) -> datetime:
        """Notes the start; from when on objects are taken: the window, or all since the sweep before."""
        with self._sessions.begin() as session:
            now: datetime = session.scalars(select(func.clock_timestamp())).one()
            since = now - timedelta(seconds=self._settings.recent_window)
            last = session.scalar(
                select(Sweep).where(Sweep.bucket == bucket, Sweep.kind == RECENT).with_for_update()
            )
            if last is None:
                session.add(Sweep(bucket=bucket, kind=RECENT, started_at=now))
                return since
            if last.started_at is not None:
                # One that never ended tells nothing: what it should have seen is reached back to as well.
                since = min(since, last.started_at - OVERLAP)
            if last.finished_at is not None:
                last.started_at = now
                last.finished_at = None
            return since

    def _begin_full(self, bucket: str) -> Sweep:
        """The row to go on from: an unfinished sweep's, or a new start."""
        with self._sessions.begin() as session:
            session.execute(insert(Sweep).values(bucket=bucket, kind=FULL).on_conflict_do_nothing())
            sweep = session.get_one(Sweep, (bucket, FULL), with_for_update=True)
            if sweep.started_at is None or sweep.finished_at is not None:
                sweep.started_at = session.scalars(select(func.clock_timestamp())).one()
                sweep.finished_at = None
                sweep.key_marker = sweep.version_marker = ""
                sweep.listed = sweep.found = 0
            return sweep

    def _save(
        self, bucket: str, key_marker: str, version_marker: str, progress: _Progress, *, finished: bool
    ) -> None:
        now = func.statement_timestamp()
        values = {"listed": progress.listed, "found": progress.found}
        with self._sessions.begin() as session:
            statement = update(Sweep).where(Sweep.bucket == bucket, Sweep.kind == FULL)
            if finished:
                statement = statement.values(
                    **values,
                    key_marker="",
                    version_marker="",
                    finished_at=now,
                    first_finished_at=func.coalesce(Sweep.first_finished_at, now),
                    whole_from=Sweep.started_at,
                )
            else:
                statement = statement.values(**values, key_marker=key_marker, version_marker=version_marker)
            session.execute(statement)

    def _denied(self, bucket: str) -> frozenset[tuple[str, str]]:
        """Keys and versions that must not be served, of this bucket."""
        with self._sessions() as session:
            rows = session.execute(
                select(Upload.key, Upload.version_id).where(
                    Upload.bucket == bucket,
                    Upload.state.in_((State.HELD, State.REMOVED)),
                    Upload.access_applied != PURGED,
                )
            )
            return frozenset((row.key, row.version_id) for row in rows)

    @contextmanager
    def _alone(self, bucket: str, kind: str) -> Iterator[bool]:
        """A lock of the whole sweep on a connection of its own, without a transaction that stays open."""
        name = {"name": f"sweep/{kind}/{bucket}"}
        with self._sessions() as guard:
            connection = guard.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            alone = bool(
                connection.scalar(text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), name)
            )
            try:
                yield alone
            finally:
                if alone:
                    # A connection that is lost has lost its lock too.
                    with suppress(SQLAlchemyError):
                        connection.execute(
                            text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), name
                        )


class _Progress:
    """Counts of one sweep, and a log line every ten seconds."""

    def __init__(self, bucket: str, kind: str, listed: int = 0, found: int = 0) -> None:
        self.listed, self.found = listed, found
        self._bucket, self._kind = bucket, kind
        self._told = time.monotonic()

    def add(self, listed: int, found: int) -> None:
        self.listed += listed
        self.found += found
        if time.monotonic() - self._told >= PROGRESS_EVERY:
            self._told = time.monotonic()
            log.info(
                "sweep_progress", bucket=self._bucket, kind=self._kind, listed=self.listed, found=self.found
            )

    def end(self) -> None:
        log.info("sweep_finished", bucket=self._bucket, kind=self._kind, listed=self.listed, found=self.found)
