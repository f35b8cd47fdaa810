"""The bank entries of a hunt: read by what changed when, as hashes to search the ledger for, or as a small index."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, and_, exists, func, select, text
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry
from bank_sync.index.flat import FlatIndex
from bank_sync.index.protocol import HASH_BYTES, Hashes, Integers
from bank_sync.loaded import Hit, frame_rows
from bank_sync.signals import PDQ, VIDEO_MD5, VPDQ
from worker.store.hunts import HuntState, RetroHit, RetroHunt, RetroRejected

MOST_HASHES = 2**15
"""Hashes of one pass: with the buckets about 100 MB."""

_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Span:
    """Two pg_snapshots: an entry is of a hunt when it last changed between them."""

    before: str
    until: str

    def changed(self) -> ColumnElement[bool]:
        """SQL: the entry matches now, and began to within the span. The first comparison is the index's."""
        return text(
            "bank_entries.live"
            " AND bank_entries.changed_in >= pg_snapshot_xmin(CAST(:span_before AS pg_snapshot))"
            " AND NOT pg_visible_in_snapshot(bank_entries.changed_in, CAST(:span_before AS pg_snapshot))"
            " AND pg_visible_in_snapshot(bank_entries.changed_in, CAST(:span_until AS pg_snapshot))"
        ).bindparams(span_before=self.before, span_until=self.until)  # type: ignore[return-value]


def of_hunt(span: Span, banks: Collection[str]) -> ColumnElement[bool]:
    """SQL: the entry is of these banks, began to match in the span, and no person has rejected it in a hunt."""
    by_a_person = exists().where(RetroRejected.entry_id == BankEntry.id)
    return and_(span.changed(), BankEntry.bank.in_(banks), ~by_a_person)


def count_changed(session: Session, span: Span, banks: Collection[str]) -> int:
    """How many entries a hunt of the span has."""
    query = select(func.count()).select_from(BankEntry).where(of_hunt(span, banks))
    return session.scalars(query).one()


def rejected(session: Session, entry_ids: Collection[int]) -> set[int]:
    """Those of the entries that a person rejected, near something or not."""
    query = select(RetroRejected.entry_id).where(RetroRejected.entry_id.in_(entry_ids))
    by_span = _in_spans(session, HuntState.REJECTED, entry_ids)
    return {*session.scalars(query), *by_span}


def stopped(session: Session, entry_ids: Collection[int]) -> dict[int, int]:
    """Those of the entries that a hunt waits with for a person, and that hunt's id."""
    query = (
        select(RetroHit.entry_id, RetroHit.hunt_id)
        .join(RetroHunt, RetroHunt.id == RetroHit.hunt_id)
        .where(RetroHunt.state == HuntState.STOPPED, RetroHit.entry_id.in_(entry_ids))
        .distinct()
    )
    found = _in_spans(session, HuntState.STOPPED, entry_ids)
    return {**found, **{row.entry_id: row.hunt_id for row in session.execute(query)}}


def _in_spans(session: Session, state: HuntState, entry_ids: Collection[int]) -> dict[int, int]:
    """Those of the entries that hunts in this state are of, and the newest such hunt."""
    if not entry_ids:
        return {}
    found: dict[int, int] = {}
    hunts = select(RetroHunt).where(RetroHunt.state == state, ~RetroHunt.late).order_by(RetroHunt.id)
    for hunt in session.scalars(hunts):
        span = Span(hunt.from_snapshot, hunt.to_snapshot)
        query = select(BankEntry.id).where(span.changed(), BankEntry.id.in_(entry_ids))
        found |= dict.fromkeys(session.scalars(query), hunt.id)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """Hashes of pictures and frames, uint8[n, 32], and the entry of each."""

    hashes: Hashes
    entries: Integers
    last: int
    """The highest entry id among them: the next pass goes on after it."""
    last_frame: int
    """With how many of that entry's frames, if not all of them, this pass ends; else 0."""


def next_sought(
    session: Session,
    span: Span,
    banks: Collection[str],
    after: int,
    after_frame: int = 0,
    most: int = MOST_HASHES,
) -> Sought | None:
    """The next pass of a hunt: changed pictures and videos with ids over `after`, at most `most` hashes.

    Of the entry `after` itself the frames from `after_frame` on, unless that is 0. None at the end.
    """
    hashes: list[bytes] = []
    owners: list[int] = []
    last, last_frame = after, after_frame
    changed = _changed(session, span, banks, after if after_frame == 0 else after - 1)
    for entry_id, found in changed:
        begin = after_frame if entry_id == after else 0
        taken = found[begin : begin + most - len(hashes)]
        hashes += taken
        owners += [entry_id] * len(taken)
        left = begin + len(taken) < len(found)
        last, last_frame = entry_id, begin + len(taken) if left else 0
        if len(hashes) >= most:
            break
    changed.close()
    if (last, last_frame) == (after, after_frame):
        return None
    return Sought(_array(hashes), np.array(owners, dtype=np.int64), last, last_frame)


def _changed(
    session: Session, span: Span, banks: Collection[str], after: int
) -> Generator[tuple[int, list[bytes]]]:
    query = (
        select(BankEntry.id, BankEntry.signal_type, BankEntry.signal)
        .where(
            of_hunt(span, banks),
            BankEntry.signal_type.in_([PDQ, VPDQ]),
            BankEntry.id > after,
        )
        .order_by(BankEntry.id)
        .execution_options(yield_per=_ROWS)
    )
    with closing(session.execute(query)) as rows:
        for entry_id, signal_type, signal in rows:
            yield entry_id, [signal] if signal_type == PDQ else [each for each, _ in frame_rows(signal)]


class FewEntries:
    """An index of a few entries: what matching needs of an epoch, for those alone."""

    def __init__(self, session: Session, ids: Collection[int], number: int) -> None:
        """`number` is that of the epoch that the entries are of."""
        self.number = self.holds = number
        self._pdqs: list[tuple[bytes, int, float | None]] = []
        self._frames: dict[int, list[tuple[bytes, float]]] = {}
        self._md5s: dict[bytes, list[int]] = {}
        query = select(BankEntry.id, BankEntry.signal_type, BankEntry.signal).where(BankEntry.id.in_(ids))
        for entry_id, signal_type, signal in session.execute(query.order_by(BankEntry.id)):
            if signal_type == PDQ:
                self._pdqs.append((signal, entry_id, None))
            elif signal_type == VIDEO_MD5:
                self._md5s.setdefault(signal, []).append(entry_id)
            else:
                self._frames[entry_id] = frame_rows(signal)
                self._pdqs += [(frame, entry_id, seconds) for frame, seconds in self._frames[entry_id]]
        self._index = FlatIndex(_array([row[0] for row in self._pdqs]))

    @property
    def size(self) -> int:
        return len(self._pdqs)

    def search_pdq(self, queries: Hashes, radius: int, met: int = 0) -> Sequence[Hit]:
        found = self._index.search(queries, radius, met)
        hits = [
            Hit(int(query), self._pdqs[row][1], int(distance), self._pdqs[row][2])
            for query, row, distance in zip(found.query, found.row, found.distance, strict=True)
        ]
        hits.sort(key=lambda hit: (hit.query, hit.distance, hit.entry_id, hit.frame_time or 0.0))
        return hits

    def frames_of(self, entry_id: int) -> tuple[Hashes, npt.NDArray[np.float32]]:
        frames = self._frames.get(entry_id, [])
        return _array([frame for frame, _ in frames]), np.array([at for _, at in frames], dtype=np.float32)

    def search_md5(self, md5: bytes) -> Sequence[int]:
        return self._md5s.get(md5, [])


def _array(rows: Sequence[bytes]) -> Hashes:
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, HASH_BYTES)
