"""One epoch in memory, ready to be searched: a base, a delta and what is void; also straight from a bank file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bank_sync.exchanges.files import read_signals
from bank_sync.index.buckets import BucketIndex, Numbers, build_buckets
from bank_sync.index.exact import ExactIndex
from bank_sync.index.flat import FlatIndex
from bank_sync.index.protocol import HASH_BYTES, Hashes, Index, Integers
from bank_sync.signals import MD5_BYTES, PDQ, VIDEO_MD5, VPDQ, unpack_frames

MIN_FRAME_QUALITY = 50
"""vPDQ's own rule: frames below it (black, blurred) look like anything and are not indexed."""

FLAT_UP_TO = 10_000
"""Hashes up to which FAISS flat is as quick as buckets, one query or many (measured: 0.016 and 0.019 ms for one)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One bank hash near one query: row of the query, entry, distance in bits, seconds into a bank video."""

    query: int
    entry_id: int
    distance: int
    frame_time: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The arrays of a base or a delta, named like its files. Frames lie in the order of their entries, `md5s` in that
    of their bytes.

    The buckets are those of `build_buckets`, or None where a flat index shall do.
    """

    pdqs: Hashes
    pdq_entries: Integers
    frames: Hashes
    frame_entries: Integers
    frame_times: npt.NDArray[np.float32]
    md5s: Hashes
    md5_entries: Integers
    pdq_buckets: tuple[Numbers, Numbers] | None = None
    frame_buckets: tuple[Numbers, Numbers] | None = None


class Segment:
    """Part of an epoch, ready to be searched: its base or its delta. Safe from several threads."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.pdqs = _index(columns.pdqs, columns.pdq_buckets)
        self.frames = _index(columns.frames, columns.frame_buckets)
        self.md5s = ExactIndex(columns.md5s, columns.md5_entries)

    @property
    def counts(self) -> dict[str, int]:
        """Rows by kind."""
        return {PDQ: len(self.pdqs), "frames": len(self.frames), VIDEO_MD5: len(self.md5s)}


class LoadedEpoch:
    """A fixed set of live bank hashes: a base, less the entries of the tombstones, and a delta.

    Safe from several threads. `tombstones` are entry ids, ascending; `counts` are of what is found, those of the
    base if not given. `holds` is the number of the epoch that first had this content: another one after a roll-back.
    """

    def __init__(
        self,
        number: int,
        created_at: datetime,
        base: Segment,
        delta: Segment | None = None,
        tombstones: Integers | None = None,
        counts: Mapping[str, int] | None = None,
        holds: int | None = None,
    ) -> None:
        self.number = number
        self.holds = number if holds is None else holds
        self.created_at = created_at
        self.counts: Mapping[str, int] = base.counts if counts is None else counts
        self._tombstones = np.empty(0, dtype=np.int64) if tombstones is None else tombstones
        self._segments = [base] if delta is None else [base, delta]

    @property
    def size(self) -> int:
        """How many PDQ hashes are searched, of pictures and of frames."""
        return sum(len(segment.pdqs) + len(segment.frames) for segment in self._segments)

    def search_pdq(self, queries: Hashes, radius: int, met: int = 0) -> list[Hit]:
        """Every bank PDQ and bank video frame at most `radius` bits from each row of uint8[n, 32].

        Beyond it, up to `met` bits, those that the index meets on its way: most of them, or all.
        Ordered by query, distance, entry. A video entry may be hit by several of its frames.
        """
        hits: list[Hit] = []
        for segment in self._segments:
            columns = segment.columns
            still = segment.pdqs.search(queries, radius, met)
            entries = columns.pdq_entries[still.row]
            hits += [
                Hit(int(still.query[at]), int(entries[at]), int(still.distance[at]), None)
                for at in self._standing(segment, entries)
            ]
            moving = segment.frames.search(queries, radius, met)
            entries = columns.frame_entries[moving.row]
            hits += [
                Hit(
                    int(moving.query[at]),
                    int(entries[at]),
                    int(moving.distance[at]),
                    float(columns.frame_times[moving.row[at]]),
                )
                for at in self._standing(segment, entries)
            ]
        hits.sort(key=lambda hit: (hit.query, hit.distance, hit.entry_id, hit.frame_time or 0.0))
        return hits

    def frames_of(self, entry_id: int) -> tuple[Hashes, npt.NDArray[np.float32]]:
        """The indexed frames of one bank video, uint8[n, 32], and the seconds of each."""
        for segment in self._segments:
            columns = segment.columns
            first, last = np.searchsorted(columns.frame_entries, [entry_id, entry_id + 1])
            if first < last and len(self._standing(segment, columns.frame_entries[first : first + 1])):
                return columns.frames[first:last], columns.frame_times[first:last]
        return np.empty((0, HASH_BYTES), dtype=np.uint8), np.empty(0, dtype=np.float32)

    def search_md5(self, md5: bytes) -> list[int]:
        """The entries of the bank videos with exactly these 16 bytes of MD5."""
        found: list[int] = []
        for segment in self._segments:
            entries = np.array(segment.md5s.lookup(md5), dtype=np.int64)
            found += entries[self._standing(segment, entries)].tolist()
        return sorted(found)

    def _standing(self, segment: Segment, entries: Integers) -> Integers:
        """Which of the entries that a segment named are not void, as positions."""
        if segment is not self._segments[0] or not len(self._tombstones) or not len(entries):
            return np.arange(len(entries))
        return np.flatnonzero(~holds(self._tombstones, entries))


def holds(ascending: Integers, wanted: Integers) -> npt.NDArray[np.bool_]:
    """Which of the wanted numbers are among those in ascending order; a few among many need no pass over all."""
    if not len(ascending):
        return np.zeros(len(wanted), dtype=np.bool_)
    at = np.searchsorted(ascending, wanted).clip(max=len(ascending) - 1)
    found: npt.NDArray[np.bool_] = ascending[at] == wanted
    return found


def frame_rows(signal: bytes) -> list[tuple[bytes, float]]:
    """The frames of a packed vPDQ worth indexing: good enough, each hash once, at its first time."""
    rows: dict[bytes, float] = {}
    for frame in unpack_frames(signal):
        if frame.quality >= MIN_FRAME_QUALITY:
            rows.setdefault(frame.hash, frame.time)
    return list(rows.items())


def epoch_from_file(path: Path) -> LoadedEpoch:
    """An epoch of the signals of one `type value` file, without a database; entry ids are line numbers.

    Raises BankFileError.
    """
    pdqs: list[tuple[bytes, int]] = []
    frames: list[tuple[bytes, int, float]] = []
    md5s: list[tuple[bytes, int]] = []
    for number, signal_type, signal in read_signals(path):
        if signal_type == PDQ:
            pdqs.append((signal, number))
        elif signal_type == VIDEO_MD5:
            md5s.append((signal, number))
        elif signal_type == VPDQ:
            frames += [(frame, number, time) for frame, time in frame_rows(signal)]
    md5s.sort()
    stills, moving = (_hashes((row[0] for row in rows), HASH_BYTES) for rows in (pdqs, frames))
    columns = Columns(
        stills,
        np.array([row[1] for row in pdqs], dtype=np.int64),
        moving,
        np.array([row[1] for row in frames], dtype=np.int64),
        np.array([row[2] for row in frames], dtype=np.float32),
        _hashes((row[0] for row in md5s), MD5_BYTES),
        np.array([row[1] for row in md5s], dtype=np.int64),
        buckets_if_worth(stills),
        buckets_if_worth(moving),
    )
    return LoadedEpoch(0, datetime.now(UTC), Segment(columns))


def buckets_if_worth(hashes: Hashes) -> tuple[Numbers, Numbers] | None:
    """The buckets of so many hashes that FAISS flat would be slower; else None."""
    return build_buckets(hashes) if len(hashes) > FLAT_UP_TO else None


def _index(hashes: Hashes, buckets: tuple[Numbers, Numbers] | None) -> Index:
    return BucketIndex(hashes, *buckets) if buckets else FlatIndex(hashes)


def _hashes(rows: Iterable[bytes], width: int) -> Hashes:
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, width)
