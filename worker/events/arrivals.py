"""Rows of uploads, in bulk: inserted once, seen again, deleted by somebody; all within the caller's transaction.

Rows are inserted and locked in one order everywhere, so that batches with the same versions never wait in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from worker.domain import Lane, ObjectRef, State, UploadEvent
from worker.store import ledger
from worker.store.models import History, Upload
from worker.store.transitions import FINAL, transition

ACTOR = "inbox"
NEW, BACKFILL = 0, 10
"""Priorities of a row: a new upload, and one that a backfill or a full sweep found."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a last-modified that nobody told."""

VIDEO_SUFFIXES = frozenset(
    {
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    }
)
LEFT_BEHIND = frozenset({State.SUPERSEDED, State.GONE})
DENIED = frozenset({State.HELD, State.REMOVED})
SETTLED = FINAL - LEFT_BEHIND
_ROWS_A_STATEMENT = 1000

Name = tuple[str | int | datetime, ...]


@dataclass(slots=True)
class Taken:
    """What became of one batch."""

    inserted: int = 0
    seen: int = 0
    """Versions that had a row already."""
    revived: int = 0
    """Of those, superseded or gone ones that were seen again and are pending now."""
    superseded: int = 0
    gone: int = 0
    removed: int = 0
    ignored: int = 0
    """Test events, delete markers, objects of our own making."""
    excluded: int = 0
    """Objects of buckets that are not scanned."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One version that is there, or was when the event was sent."""

    ref: ObjectRef
    source: str
    priority: int
    sequencer: str = ""
    ended: State | None = None
    """Superseded or gone, when the HEAD that was to complete it said so."""
    proven: bool = False
    """A HEAD or a listing showed that the version exists now."""
    rechecks: frozenset[State] = SETTLED
    """States in which a known row's effect is checked again."""


@dataclass(slots=True)
class Batch:
    """What a transaction did, and whom to announce after it."""

    taken: Taken = field(default_factory=Taken)
    announcements: list[tuple[int, Lane]] = field(default_factory=list)


def without_own_markers(session: Session, arrivals: list[Arrival], batch: Batch) -> list[Arrival]:
    """Leaves out events that tell of a delete marker which we laid ourselves."""
    keys = {(arrival.ref.bucket, arrival.ref.key) for arrival in arrivals if arrival.ref.version_id}
    if not keys:
        return arrivals
    ours = set(
        session.scalars(
            select(Upload.receipt["marker_version_id"].astext).where(
                tuple_(Upload.bucket, Upload.key).in_(keys), Upload.receipt.is_not(None)
            )
        )
    )
    kept = [
        arrival for arrival in arrivals if arrival.ref.version_id not in ours or not arrival.ref.version_id
    ]
    batch.taken.ignored += len(arrivals) - len(kept)
    return kept


def record(session: Session, arrivals: Iterable[Arrival], batch: Batch) -> None:
    """Inserts what is new, each with the first line of its history, and sees the rest again."""
    by_name = {name_of(arrival.ref): arrival for arrival in arrivals}
    ordered = [by_name[name] for name in sorted(by_name)]
    for start in range(0, len(ordered), _ROWS_A_STATEMENT):
        chunk = ordered[start : start + _ROWS_A_STATEMENT]
        while chunk:
            new = _insert(session, chunk, batch)
            known = [arrival for arrival in chunk if name_of(arrival.ref) not in new]
            # Retention may delete a row while it is being seen again: then it is inserted anew.
            chunk = _see_again(session, known, batch) if known else []


def _insert(session: Session, arrivals: Sequence[Arrival], batch: Batch) -> set[Name]:
    rows = session.execute(
        insert(Upload)
        .on_conflict_do_nothing()
        .returning(
            Upload.id,
            Upload.lane,
            Upload.bucket,
            Upload.key,
            Upload.version_id,
            Upload.etag,
            Upload.size,
            Upload.last_modified,
        ),
        [_values(arrival) for arrival in arrivals],
    ).all()
    if not rows:
        return set()
    by_name = {name_of(arrival.ref): arrival for arrival in arrivals}
    names: set[Name] = set()
    history: list[dict[str, Any]] = []
    ended: list[tuple[int, State]] = []
    for row in rows:
        name = name_of(ObjectRef(row.bucket, row.key, row.version_id, row.etag, row.size, row.last_modified))
        names.add(name)
        arrival = by_name[name]
        history.append(
            {"upload_id": row.id, "from_state": "", "to_state": State.PENDING, "actor": arrival.source}
        )
        if arrival.ended is not None:
            ended.append((row.id, arrival.ended))
        elif arrival.priority == NEW:
            batch.announcements.append((row.id, Lane(row.lane)))
    session.execute(insert(History), history)
    batch.taken.inserted += len(rows)
    for upload_id, state in ended:
        upload = session.get_one(Upload, upload_id)
        transition(session, upload, state, actor=ACTOR, reason="before_read")
        if state is State.GONE:
            batch.taken.gone += 1
        else:
            batch.taken.superseded += 1
    return names


def _see_again(session: Session, arrivals: Sequence[Arrival], batch: Batch) -> list[Arrival]:
    """Notes the sighting, and makes due what it makes due; returns the arrivals whose row has gone meanwhile."""
    by_name = {name_of(arrival.ref): arrival for arrival in arrivals}
    rows = session.execute(
        select(
            Upload.id,
            Upload.state,
            Upload.bucket,
            Upload.key,
            Upload.version_id,
            Upload.etag,
            Upload.size,
            Upload.last_modified,
        ).where(any_of([arrival.ref for arrival in arrivals]))
    ).all()
    seen: dict[int, Arrival] = {}
    changing: dict[int, Arrival] = {}
    for row in rows:
        name = name_of(ObjectRef(row.bucket, row.key, row.version_id, row.etag, row.size, row.last_modified))
        arrival = by_name[name]
        seen[row.id] = arrival
        state = State(row.state)
        if state in arrival.rechecks or (state in LEFT_BEHIND and arrival.proven):
            changing[row.id] = arrival
    there = set(
        session.scalars(
            update(Upload)
            .where(
                Upload.id.in_(
                    select(Upload.id).where(Upload.id.in_(seen)).order_by(Upload.id).with_for_update()
                )
            )
            .values(last_seen_at=func.clock_timestamp())
            .returning(Upload.id)
        )
    )
    again = [
        upload_id for upload_id, arrival in seen.items() if arrival.proven and not arrival.ref.version_id
    ]
    session.execute(
        update(Upload).where(Upload.id.in_(again), Upload.deleted_at.is_not(None)).values(deleted_at=None)
    )
    batch.taken.seen += len(there)
    found = {name_of(arrival.ref) for upload_id, arrival in seen.items() if upload_id in there}
    lost = [arrival for name, arrival in by_name.items() if name not in found]
    if not changing:
        return lost
    locked = session.scalars(
        select(Upload)
        .where(Upload.id.in_(changing))
        .order_by(Upload.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for upload in locked:
        arrival = changing[upload.id]
        state = State(upload.state)
        if state in LEFT_BEHIND:
            if not arrival.proven:
                continue
            transition(session, upload, State.PENDING, actor=ACTOR, reason="seen_again")
            upload.attempts = 0
            upload.deleted_at = None
            upload.priority = min(upload.priority, arrival.priority)
            batch.taken.revived += 1
        elif state in arrival.rechecks:
            upload.access_due_at = func.clock_timestamp()
        else:
            continue
        batch.announcements.append((upload.id, Lane(upload.lane)))
    return lost


def remove(session: Session, event: UploadEvent, batch: Batch, absent: Collection[int] = ()) -> None:
    """Notes that somebody deleted an object version for good; one that was not read yet is gone.

    `absent` are rows of the key without a version of which the store said that their object is not there.
    """
    ref = event.ref
    batch.taken.removed += 1
    rows = session.scalars(
        select(Upload)
        .where(Upload.bucket == ref.bucket, Upload.key == ref.key)
        .order_by(Upload.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for upload in rows:
        state = State(upload.state)
        exactly = bool(ref.version_id) and upload.version_id == ref.version_id
        exactly = exactly or (upload.id in absent and state is State.CLEAR)
        if exactly and state is not State.REMOVED:
            upload.deleted_at = func.clock_timestamp()
            if upload.content_id is not None:
                ledger.forget_deleted(session, upload.content_id)
            if state is State.PENDING:
                transition(session, upload, State.GONE, actor=ACTOR, reason="deleted")
                batch.taken.gone += 1
        elif not ref.version_id and not upload.version_id and state is State.PENDING:
            # Without versions the event may be older than the upload: the scan finds out what is there.
            upload.next_attempt_at = func.clock_timestamp()
            batch.announcements.append((upload.id, Lane(upload.lane)))
        elif not exactly and ref.version_id and state in DENIED:
            # What is deleted for good may let a version beneath it surface.
            upload.access_due_at = func.clock_timestamp()
            batch.announcements.append((upload.id, Lane(upload.lane)))


def mark_announced(session: Session, batch: Batch) -> None:
    """Keeps the dispatcher from announcing the batch once more."""
    ids = [upload_id for upload_id, _ in batch.announcements]
    if ids:
        session.flush()
        session.execute(update(Upload).where(Upload.id.in_(ids)).values(announced_at=func.clock_timestamp()))


def lane_of(key: str) -> Lane:
    """The queue to try first, by the key's suffix; the first bytes decide later."""
    return Lane.VIDEO if PurePosixPath(key).suffix.lower() in VIDEO_SUFFIXES else Lane.IMAGE


def _values(arrival: Arrival) -> dict[str, Any]:
    ref = arrival.ref
    return {
        "bucket": ref.bucket,
        "key": ref.key,
        "version_id": ref.version_id,
        "etag": ref.etag,
        "size": ref.size,
        "last_modified": ref.last_modified or EPOCH,
        "sequencer": arrival.sequencer,
        "source": arrival.source,
        "lane": lane_of(ref.key),
        "priority": arrival.priority,
        "state": State.PENDING,
    }


def name_of(ref: ObjectRef) -> Name:
    """What tells one version from all others: the columns of the table's two unique indexes."""
    if ref.version_id:
        return (ref.bucket, ref.key, ref.version_id, "", 0, EPOCH)
    return (ref.bucket, ref.key, "", ref.etag, ref.size, (ref.last_modified or EPOCH).astimezone(UTC))


def any_of(refs: Iterable[ObjectRef]) -> ColumnElement[bool]:
    """The rows of these versions, by the unique index that holds each."""
    refs = list(refs)
    versioned = [(ref.bucket, ref.key, ref.version_id) for ref in refs if ref.version_id]
    unversioned = [
        (ref.bucket, ref.key, ref.etag, ref.size, ref.last_modified or EPOCH)
        for ref in refs
        if not ref.version_id
    ]
    return and_(
        Upload.version_id != "", tuple_(Upload.bucket, Upload.key, Upload.version_id).in_(versioned)
    ) | and_(
        Upload.version_id == "",
        tuple_(Upload.bucket, Upload.key, Upload.etag, Upload.size, Upload.last_modified).in_(unversioned),
    )
