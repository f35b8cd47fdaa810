"""The one door through which uploads become rows: from events, pushes and sweeps, each version once.

The order is fixed: name every version exactly, insert or ignore, COMMIT, announce, and only then does the caller
delete its message. So a crash anywhere leaves either a message that comes again or a row that is announced again.
Never reads media, never changes an object, and never lets an announcement that failed undo a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog
from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from config.database import Sessions
from config.settings import StorageSettings
from worker.domain import EventKind, Lane, ObjectRef, State, UploadEvent
from worker.errors import ObjectGone, ObjectSuperseded
from worker.events.arrivals import (
    BACKFILL,
    DENIED,
    LEFT_BEHIND,
    NEW,
    Arrival,
    Batch,
    Taken,
    any_of,
    mark_announced,
    name_of,
    record,
    remove,
    without_own_markers,
)
from worker.events.parse import is_folder, storable
from worker.storage.probe import SCRATCH_PREFIX
from worker.storage.protocol import Listed, ObjectStore
from worker.store.models import InboxReject, Upload

log = structlog.get_logger()

Announce = Callable[[Iterable[tuple[int, Lane]]], None]

MAX_REJECT_BYTES = 64 * 1024


class Inbox:
    """Thread-safe: it holds no state but its parts."""

    def __init__(
        self, sessions: Sessions, store: ObjectStore, announce: Announce, settings: StorageSettings
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._announce = announce
        self._buckets = frozenset(settings.buckets) - {settings.quarantine_bucket}

    def take(self, events: Sequence[UploadEvent], source: str) -> Taken:
        """Takes the events of a message; `source` is 'event' or 'push'. When it returns, the rows are committed.

        Raises StorageError or StorageRefused when a HEAD failed, SQLAlchemy's errors when the database did: then
        nothing was taken and the message is to come again.
        """
        batch = Batch()
        removals: list[UploadEvent] = []
        arrivals: list[Arrival] = []
        for event in events:
            if event.kind is EventKind.TEST or event.marker:
                batch.taken.ignored += 1
            elif not self.wants(event.ref):
                batch.taken.excluded += 1
            elif event.kind is EventKind.REMOVED:
                removals.append(event)
            else:
                arrivals.append(self._complete(event, source))
        arrivals = self._prove(arrivals)
        absent = self._absent(removals)
        with self._sessions.begin() as session:
            arrivals = without_own_markers(session, arrivals, batch)
            record(session, arrivals, batch)
            for event in removals:
                remove(session, event, batch, absent)
            mark_announced(session, batch)
        self._send(batch)
        return batch.taken

    def take_listed(self, listed: Sequence[Listed], source: str, priority: int) -> Taken:
        """Takes one page of a listing; noncurrent versions wait behind new uploads whatever `priority` says.

        Rows are announced only when they are new uploads: a backfill is left to the dispatcher, which fills the
        broker by priority.
        """
        batch = Batch()
        arrivals: list[Arrival] = []
        for found in listed:
            if not self.wants(found.ref) or is_folder(found.ref):
                batch.taken.excluded += 1
                continue
            if not storable(found.ref):
                batch.taken.excluded += 1
                self.reject(source, f"{found.ref.bucket} {found.ref.key!a}", "name_not_storable")
                continue
            arrivals.append(
                Arrival(
                    found.ref,
                    source,
                    priority if found.is_latest else BACKFILL,
                    proven=True,
                    rechecks=DENIED if found.is_latest else frozenset(),
                )
            )
        with self._sessions.begin() as session:
            record(session, arrivals, batch)
            mark_announced(session, batch)
        self._send(batch)
        return batch.taken

    def reject(self, source: str, body: str, reason: str) -> None:
        """Keeps a message that nobody understood, cut to 64 KiB; the same one again is counted only."""
        text = body.replace("\x00", "\ufffd").encode("utf-8", "replace")
        digest = hashlib.blake2b(f"{source}\n".encode() + text, digest_size=32).digest()
        statement = insert(InboxReject).values(
            source=source,
            reason=reason,
            body=text[:MAX_REJECT_BYTES].decode("utf-8", "ignore"),
            digest=digest,
        )
        with self._sessions.begin() as session:
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["digest"], set_={"seen": InboxReject.seen + 1}
                )
            )
        log.warning("event_rejected", source=source, reason=reason)

    def wants(self, ref: ObjectRef) -> bool:
        """Whether objects of this place are scanned."""
        return ref.bucket in self._buckets and not ref.key.startswith(SCRATCH_PREFIX)

    def _complete(self, event: UploadEvent, source: str) -> Arrival:
        arrival = Arrival(event.ref, source, NEW, event.sequencer)
        if event.ref.complete:
            return arrival
        try:
            return replace(arrival, ref=self._store.complete(event.ref), proven=True)
        except ObjectSuperseded:
            return replace(arrival, ended=State.SUPERSEDED)
        except ObjectGone:
            withheld = self._withheld(event.ref)
            return replace(arrival, ref=withheld) if withheld else replace(arrival, ended=State.GONE)

    def _withheld(self, ref: ObjectRef) -> ObjectRef | None:
        """The version that we hide from the very HEAD that was to name it: a late or doubled event means that one."""
        if not ref.etag:
            return None
        with self._sessions() as session:
            found = session.scalars(
                select(Upload)
                .where(Upload.bucket == ref.bucket, Upload.key == ref.key, Upload.etag == ref.etag)
                .where(Upload.state.in_(DENIED))
                .order_by(Upload.id.desc())
            ).first()
        return found.ref if found else None

    def _prove(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Asks the store for versions whose row was left behind: only what exists is scanned again."""
        unproven = [arrival.ref for arrival in arrivals if not arrival.proven and arrival.ended is None]
        if not unproven:
            return arrivals
        with self._sessions() as session:
            left = {
                row.ref
                for row in session.scalars(
                    select(Upload).where(any_of(unproven), Upload.state.in_(LEFT_BEHIND))
                )
            }
        names = {name_of(ref) for ref in left}
        return [
            self._prove_one(arrival) if name_of(arrival.ref) in names else arrival for arrival in arrivals
        ]

    def _prove_one(self, arrival: Arrival) -> Arrival:
        return replace(arrival, proven=True) if self._is_there(arrival.ref) else arrival

    def _absent(self, removals: Sequence[UploadEvent]) -> frozenset[int]:
        """Clear uploads without a version that the store has no more: the event may be older than the object."""
        keys = {(event.ref.bucket, event.ref.key) for event in removals if not event.ref.version_id}
        if not keys:
            return frozenset()
        with self._sessions() as session:
            rows = session.scalars(
                select(Upload).where(
                    tuple_(Upload.bucket, Upload.key).in_(keys),
                    Upload.version_id == "",
                    Upload.state == State.CLEAR,
                    Upload.deleted_at.is_(None),
                )
            ).all()
        return frozenset(row.id for row in rows if not self._is_there(row.ref))

    def _is_there(self, ref: ObjectRef) -> bool:
        try:
            self._store.complete(ref)
        except (ObjectGone, ObjectSuperseded):
            return False
        return True

    def _send(self, batch: Batch) -> None:
        if not batch.announcements:
            return
        try:
            self._announce(batch.announcements)
        except Exception as fault:  # noqa: BLE001 (the rows are committed; whatever the broker does, the dispatcher announces)
            log.warning("announce_failed", uploads=len(batch.announcements), fault=type(fault).__name__)
            ids = [upload_id for upload_id, _ in batch.announcements]
            with self._sessions.begin() as session:
                session.execute(update(Upload).where(Upload.id.in_(ids)).values(announced_at=None))
