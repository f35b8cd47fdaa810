"""Builds a delta: what changed since the base, from the base's snapshot and the database as it is now.

A delta depends on these two alone: one that was lost is made up for by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Integer, Select, bindparam, case, exists, func, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import UserDefinedType

from bank_sync.bank import BankEntry, TransactionId
from bank_sync.base import FLOAT, Writer, unreadable
from bank_sync.index.exact import ExactIndex
from bank_sync.loaded import Columns, frame_rows, holds
from bank_sync.manifest import DELTA_WIDTHS, Base, Delta, File
from bank_sync.signals import FRAME_BYTES, MD5_BYTES, PDQ, PDQ_BYTES, VIDEO_MD5, VPDQ

_ID = np.dtype("<i8")
_AT_A_TIME = 100
"""Entries read at once: a video's signal may take megabytes."""
_ROWS = case(
    (BankEntry.signal_type == VPDQ, func.octet_length(BankEntry.signal, type_=Integer) // FRAME_BYTES),
    else_=1,
)


class _Snapshot(UserDefinedType[str]):
    """PostgreSQL's pg_snapshot: which transactions had ended at one moment."""

    cache_ok = True

    def get_col_spec(self, **_options: object) -> str:
        return "pg_snapshot"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that began or ceased to match, or changed: its signal, and whether it matches now."""

    entry_id: int
    signal_type: str
    signal: bytes
    live: bool


def changed_since(session: Session, snapshot: str) -> bool:
    """Whether any entry began or ceased to match in a transaction that the snapshot does not show."""
    return bool(session.scalar(select(exists(_since(snapshot)))))


def changes_since(session: Session, snapshot: str, most: int) -> list[Change] | None:
    """The entries changed in transactions that the snapshot does not show, by id; None if they have more than `most`
    rows in an index, where a video has one a frame.

    They are counted before they are read, so memory is bounded by `most`. All of them as of one moment.
    """
    if (session.scalar(_since(snapshot).with_only_columns(func.sum(_ROWS))) or 0) > most:
        return None
    query = _since(snapshot).with_only_columns(
        BankEntry.id, BankEntry.signal_type, BankEntry.signal, BankEntry.live
    )
    # The order keeps to the index of `changed_in`.
    found = session.execute(query.order_by(BankEntry.changed_in), execution_options={"yield_per": _AT_A_TIME})
    changes = []
    rows = 0
    for row in found:
        # More may have come since they were counted.
        rows += 1 if row.signal_type != VPDQ else len(row.signal) // FRAME_BYTES
        if rows > most:
            found.close()
            return None
        changes.append(Change(row.id, row.signal_type, row.signal, row.live))
    return sorted(changes, key=lambda change: change.entry_id)


def write_delta(folder: Path, base: Base, changes: Sequence[Change]) -> Delta:
    """Writes the files of a delta into `folder`, each under "delta." and its name in DELTA_WIDTHS.

    Raises EpochError if a live signal has not the length of its type: one would shift all that follow.
    """
    for change in changes:
        if change.live and not _is_whole(change):
            raise unreadable(change.signal_type)
    live = [change for change in changes if change.live]
    pdqs = [change for change in live if change.signal_type == PDQ]
    md5s = sorted(
        (change for change in live if change.signal_type == VIDEO_MD5),
        key=lambda change: (change.signal, change.entry_id),
    )
    videos = [change for change in live if change.signal_type == VPDQ]
    # Younger entries than the base's last one need no tombstone.
    void = [change.entry_id for change in changes if change.entry_id <= base["last_entry"]]
    written = {
        "pdq.hashes": b"".join(change.signal for change in pdqs),
        "pdq.entries": _ids([change.entry_id for change in pdqs]),
        "video_md5.hashes": b"".join(change.signal for change in md5s),
        "video_md5.entries": _ids([change.entry_id for change in md5s]),
        "tombstones": _ids(void),
    }
    files: dict[str, File] = {}
    frames = with_frames = 0
    with ExitStack() as stack:
        writers = {name: stack.enter_context(Writer(folder / f"delta.{name}")) for name in DELTA_WIDTHS}
        for name, raw in written.items():
            writers[name].write(raw)
        for video in videos:
            rows = frame_rows(video.signal)
            frames += len(rows)
            with_frames += bool(rows)
            writers["frames.hashes"].write(b"".join(frame for frame, _ in rows))
            writers["frames.entries"].write(_ids([video.entry_id] * len(rows)))
            writers["frames.times"].write(b"".join(FLOAT.pack(time) for _, time in rows))
        for name, writer in writers.items():
            files[name] = writer.finish()
    counts = {
        "entries": len(pdqs) + len(md5s) + with_frames,
        PDQ: len(pdqs),
        "frames": frames,
        VIDEO_MD5: len(md5s),
        "tombstones": len(void),
    }
    return {"counts": counts, "files": files}


def counts_over(base: Base, columns: Columns, delta: Delta, changes: Sequence[Change]) -> dict[str, int]:
    """What an epoch of this base and this delta finds, by kind: the base's rows less the void ones, and the delta's."""
    ids = np.array([change.entry_id for change in changes], dtype=np.int64)
    md5_index = ExactIndex(columns.md5s, columns.md5_entries)
    pdqs = int(holds(columns.pdq_entries, ids).sum())
    begins, ends = (np.searchsorted(columns.frame_entries, ids, side=side) for side in ("left", "right"))
    md5s = sum(
        change.entry_id in md5_index.lookup(change.signal)
        for change in changes
        if change.signal_type == VIDEO_MD5 and _is_whole(change)
    )
    void = {
        "entries": pdqs + int((ends > begins).sum()) + md5s,
        PDQ: pdqs,
        "frames": int((ends - begins).sum()),
        VIDEO_MD5: md5s,
    }
    return {name: base["counts"][name] - void[name] + delta["counts"][name] for name in void}


def _is_whole(change: Change) -> bool:
    size = len(change.signal)
    if change.signal_type == VPDQ:
        return size % FRAME_BYTES == 0
    return size == {PDQ: PDQ_BYTES, VIDEO_MD5: MD5_BYTES}.get(change.signal_type, size)


def visible(snapshot: str) -> ColumnElement[bool]:
    """SQL: whether an entry's last change had been committed when the snapshot was taken."""
    return func.pg_visible_in_snapshot(BankEntry.changed_in, _literal(snapshot))


def _since(snapshot: str) -> Select[Any]:
    told = _literal(snapshot)
    return select(BankEntry.id).where(
        BankEntry.changed_in >= sql_cast(func.pg_snapshot_xmin(told), TransactionId),
        ~func.pg_visible_in_snapshot(BankEntry.changed_in, told),
    )


def _literal(snapshot: str) -> ColumnElement[str]:
    return sql_cast(bindparam(None, snapshot), _Snapshot)


def _ids(ids: Sequence[int]) -> bytes:
    return np.array(ids, dtype=_ID).tobytes()
