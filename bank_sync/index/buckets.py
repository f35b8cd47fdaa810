"""The bucket index: hashes sorted into buckets by each of their chunks; exact, and quick among millions.

Two hashes within a radius agree, to within a few bits, in at least one chunk (the pigeonhole principle: multi-index
hashing, Norouzi, Punjani and Fleet 2012). A look-up therefore visits the buckets near the query's chunks and compares
what they hold. Its three arrays can be mapped from files and shared by all processes of a host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate, combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bank_sync.index.protocol import MAX_BITS, Found, Hashes, Integers, check, in_order

try:
    from bank_sync.index import _buckets
except ImportError:  # Built without a compiler: the same in numpy, slower.
    compiled: Any = None
else:
    compiled = _buckets

Numbers = npt.NDArray[np.uint32]

_MOST_CHUNKS = 32
_PROBE_COST = 2.0
"""Probing one bucket, in comparisons of two hashes; measured."""
_SCANNED = 4096
"""Hashes that the twin compares at a time, to bound its memory."""


class BucketIndex:
    """Searches uint8[n, 32] by `offsets` and `rows`, as `build_buckets` makes them. Copies none of the three."""

    def __init__(self, hashes: Hashes, offsets: Numbers, rows: Numbers, *, plain: bool = False) -> None:
        check(hashes)
        self._chunks = len(rows) // len(hashes) if len(hashes) else 0
        if self._chunks and (
            len(rows) != self._chunks * len(hashes)
            or not 8 <= self._chunks <= _MOST_CHUNKS
            or len(offsets) != _entries(self._chunks)
        ):
            raise ValueError("hashes, offsets and rows are not of one index")
        self._hashes = np.ascontiguousarray(hashes)
        self._offsets = np.ascontiguousarray(offsets)
        self._rows = np.ascontiguousarray(rows)
        self._compiled: Any = None if plain else compiled

    def __len__(self) -> int:
        return len(self._hashes)

    def search(self, queries: Hashes, radius: int, met: int = 0) -> Found:
        check(queries, radius)
        check(queries, met)
        if not len(self._hashes) or not len(queries):
            nothing = np.empty(0, dtype=np.int64)
            return Found(nothing, nothing, nothing)
        queries = np.ascontiguousarray(queries)
        scan = self._cost(radius) >= len(self._hashes)
        if self._compiled is None:
            return self._search_plainly(queries, radius, max(radius, met), scan=scan)
        if scan:
            raw = self._compiled.scan(self._hashes, queries, max(radius, met))
        else:
            raw = self._compiled.search(
                self._hashes, self._offsets, self._rows, self._chunks, queries, radius, met
            )
        found = np.frombuffer(raw, dtype=np.uint32).reshape(-1, 3).astype(np.int64)
        return in_order(found[:, 0], found[:, 1], found[:, 2])

    def _cost(self, radius: int) -> float:
        """What a look-up by buckets takes on evenly spread hashes, in comparisons."""
        cost = 0.0
        for width, slack in zip(_widths(self._chunks), _slacks(self._chunks, radius), strict=True):
            probes = sum(math.comb(width, bits) for bits in range(slack + 1))
            cost += probes * (_PROBE_COST + len(self._hashes) / 2**width)
        return cost

    def _search_plainly(self, queries: Hashes, radius: int, met: int, *, scan: bool) -> Found:
        stored = self._hashes.view(np.uint64)
        nothing = np.empty(0, dtype=np.int64)
        found: list[tuple[Integers, Integers, Integers]] = [(nothing, nothing, nothing)]
        for number, query in enumerate(queries.view(np.uint64)):
            candidates = None if scan else np.unique(self._candidates(query, radius))
            total = len(stored) if candidates is None else len(candidates)
            for begin in range(0, total, _SCANNED):
                part = slice(begin, begin + _SCANNED)
                rows = (
                    np.arange(begin, min(begin + _SCANNED, total))
                    if candidates is None
                    else candidates[part].astype(np.int64)
                )
                distances = np.bitwise_count(stored[rows] ^ query).sum(axis=1).astype(np.int64)
                near = np.flatnonzero(distances <= met)
                found.append((np.full(len(near), number, dtype=np.int64), rows[near], distances[near]))
        query_rows, rows, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return in_order(query_rows, rows, distances)

    def _candidates(self, query: npt.NDArray[np.uint64], radius: int) -> Numbers:
        bits = np.unpackbits(query.view(np.uint8), bitorder="little")
        count = len(self._hashes)
        parts: list[Numbers] = []
        widths = _widths(self._chunks)
        places = zip(
            widths, _slacks(self._chunks, radius), _starts(widths), _tables(self._chunks), strict=True
        )
        for chunk, (width, slack, start, table) in enumerate(places):
            if slack < 0:
                continue
            own = int(_values(bits[None, start : start + width])[0])
            values = _masks(width, slack) ^ own
            begins = self._offsets[table + values].astype(np.int64)
            ends = self._offsets[table + values + 1].astype(np.int64)
            # Files are checked when they are fetched; still, a wrong number must not lead out of them.
            counts = np.where(ends <= count, np.maximum(ends - begins, 0), 0)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            parts.append(self._rows[chunk * count + np.repeat(begins, counts) + within])
        rows = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint32)
        return rows[rows < count]


def chunks_for(count: int) -> int:
    """How many chunks suit so many hashes: about one hash in a bucket makes the fewest visits (measured)."""
    width = max(math.log2(max(count, 2)) - 1.7, MAX_BITS / _MOST_CHUNKS)
    return round(MAX_BITS / width)


def bucket_lengths(count: int) -> tuple[int, int]:
    """How many numbers `offsets` and `rows` of so many hashes hold."""
    chunks = chunks_for(count)
    return _entries(chunks), chunks * count


def build_buckets(
    hashes: Hashes, *, plain: bool = False, into: tuple[Numbers, Numbers] | None = None
) -> tuple[Numbers, Numbers]:
    """`offsets` and `rows` of a BucketIndex of uint8[n, 32], in uint32; n is less than 2**32.

    `rows` holds for each chunk all row numbers in the order of that chunk's values, `offsets` for each chunk where the
    rows of each value begin, and their end. `into` gives the two arrays to fill: those of a file need no memory.
    """
    check(hashes)
    chunks = chunks_for(len(hashes))
    offsets, rows = into or tuple(np.empty(size, dtype=np.uint32) for size in bucket_lengths(len(hashes)))
    builds: Callable[..., None] = compiled.build if compiled is not None and not plain else _build_plainly
    builds(np.ascontiguousarray(hashes), offsets, rows, chunks)
    return offsets, rows


def _build_plainly(hashes: Hashes, offsets: Numbers, rows: Numbers, chunks: int) -> None:
    widths = _widths(chunks)
    for chunk, (width, start, table) in enumerate(zip(widths, _starts(widths), _tables(chunks), strict=True)):
        values = np.concatenate(
            [_values(part[:, start : start + width]) for part in _unpacked(hashes)]
            or [np.empty(0, dtype=np.int64)]
        )
        offsets[table] = 0
        offsets[table + 1 : table + 1 + 2**width] = np.cumsum(np.bincount(values, minlength=2**width))
        rows[chunk * len(hashes) : (chunk + 1) * len(hashes)] = np.argsort(values, kind="stable")


def _unpacked(hashes: Hashes) -> Iterator[Hashes]:
    for begin in range(0, len(hashes), _SCANNED):
        yield np.unpackbits(hashes[begin : begin + _SCANNED], axis=1, bitorder="little")


def _values(bits: Hashes) -> Integers:
    """The number that each row of bits spells, the lowest first."""
    return bits.astype(np.int64) @ (1 << np.arange(bits.shape[1], dtype=np.int64))


@cache
def _masks(width: int, slack: int) -> Integers:
    return np.array(
        [
            sum(1 << bit for bit in bits)
            for count in range(slack + 1)
            for bits in combinations(range(width), count)
        ],
        dtype=np.int64,
    )


def _widths(chunks: int) -> list[int]:
    return [MAX_BITS // chunks + (chunk < MAX_BITS % chunks) for chunk in range(chunks)]


def _starts(widths: list[int]) -> list[int]:
    return [0, *accumulate(widths)][:-1]


def _tables(chunks: int) -> list[int]:
    return [0, *accumulate(2**width + 1 for width in _widths(chunks))][:-1]


def _entries(chunks: int) -> int:
    return sum(2**width + 1 for width in _widths(chunks))


def _slacks(chunks: int, radius: int) -> list[int]:
    """How many bits may differ in each chunk, if no more than `radius` do in all; -1 where it need not be probed."""
    each, more = divmod(radius, chunks)
    return [each if chunk <= more else each - 1 for chunk in range(chunks)]
