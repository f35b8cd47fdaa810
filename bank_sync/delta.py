"""Builds a delta: what changed since the base, from the base's snapshot and the database as it is now.

A delta depends on these two alone: one that was lost is made up for by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Select, bindparam, exists, func, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import UserDefinedType

from bank_sync.bank import BankEntry, TransactionId
from bank_sync.base import FLOAT, described
from bank_sync.index.exact import ExactIndex
from bank_sync.loaded import Columns, frame_rows, holds
from bank_sync.manifest import DELTA_WIDTHS, Base, Delta
from bank_sync.signals import PDQ, VIDEO_MD5

_ID = np.dtype("<i8")


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


def changes_since(session: Session, snapshot: str, most: int | None) -> list[Change] | None:
    """The entries changed in transactions that the snapshot does not show, by id; None if more than `most`.

    One statement: all of them as of one moment.
    """
    query = _since(snapshot).with_only_columns(
        BankEntry.id, BankEntry.signal_type, BankEntry.signal, BankEntry.live
    )
    # The order keeps to the index of `changed_in`.
    rows = session.execute(
        query.order_by(BankEntry.changed_in).limit(None if most is None else most + 1)
    ).all()
    if most is not None and len(rows) > most:
        return None
    changes = (Change(row.id, row.signal_type, row.signal, row.live) for row in rows)
    return sorted(changes, key=lambda change: change.entry_id)


def write_delta(folder: Path, base: Base, changes: Sequence[Change]) -> Delta:
    """Writes the files of a delta into `folder`, each under "delta." and its name in DELTA_WIDTHS."""
    live = [change for change in changes if change.live]
    pdqs = [change for change in live if change.signal_type == PDQ]
    md5s = sorted(
        (change for change in live if change.signal_type == VIDEO_MD5),
        key=lambda change: (change.signal, change.entry_id),
    )
    videos = [change for change in live if change.signal_type not in (PDQ, VIDEO_MD5)]
    frames = [(frame, video.entry_id, time) for video in videos for frame, time in frame_rows(video.signal)]
    # Younger entries than the base's last one need no tombstone.
    void = [change.entry_id for change in changes if change.entry_id <= base["last_entry"]]
    written = {
        "pdq.hashes": b"".join(change.signal for change in pdqs),
        "pdq.entries": _ids([change.entry_id for change in pdqs]),
        "frames.hashes": b"".join(frame for frame, _, _ in frames),
        "frames.entries": _ids([entry_id for _, entry_id, _ in frames]),
        "frames.times": b"".join(FLOAT.pack(time) for _, _, time in frames),
        "video_md5.hashes": b"".join(change.signal for change in md5s),
        "video_md5.entries": _ids([change.entry_id for change in md5s]),
        "tombstones": _ids(void),
    }
    files = {}
    for name in DELTA_WIDTHS:
        path = folder / f"delta.{name}"
        path.write_bytes(written[name])
        files[name] = described(path)
    with_frames = {entry_id for _, entry_id, _ in frames}
    counts = {
        "entries": len(pdqs) + len(md5s) + len(with_frames),
        PDQ: len(pdqs),
        "frames": len(frames),
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
        if change.signal_type == VIDEO_MD5
    )
    void = {
        "entries": pdqs + int((ends > begins).sum()) + md5s,
        PDQ: pdqs,
        "frames": int((ends - begins).sum()),
        VIDEO_MD5: md5s,
    }
    return {name: base["counts"][name] - void[name] + delta["counts"][name] for name in void}


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
