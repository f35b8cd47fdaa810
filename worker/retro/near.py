"""Few hashes in all their turns, to search very many others with: the index of a hunt.

The same as an index of sixteen forms a hash, at a fifth of the time: a comparison tells the nearest of eight forms at
once. Its inner loop is compiled; where it can't be built, FAISS flat over the sixteen forms serves, at a tenth of the
speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bank_sync.index.flat import FlatIndex
from bank_sync.index.protocol import HASH_BYTES, Hashes, Integers, check
from worker.media.turned_hashes import FORMS, forms, turned
from worker.media.views import DIHEDRAL

try:
    from worker.retro import _near
except ImportError:
    compiled: Any = None
else:
    compiled = _near

MOST_PAIRS = 2**18
"""Pairs found in one call: 6 MB, also where everything is alike."""

_AT_ONCE = 8192
_NO_LIMIT = 2**62
_CLASSES = 4
_WIDTHS = (13, 13, 13, 13, 12) * _CLASSES
"""Bits of each chunk, five a class of bits."""
_TRANSPOSED = DIHEDRAL.index("transpose")


class FormsIndex:
    """Finds which of many hashes are within a radius of uint8[n, 32] in any of their sixteen forms; exact."""

    def __init__(self, hashes: Hashes, radius: int, *, plain: bool = False) -> None:
        check(hashes, radius)
        self._radius = radius
        self._forms: FlatIndex | None = None
        if compiled is None or plain:
            self._forms = FlatIndex(forms(hashes).reshape(-1, HASH_BYTES))
            return
        rows = np.ascontiguousarray(turned(hashes)[:, [0, _TRANSPOSED]]).reshape(-1, HASH_BYTES)
        self._classes = np.frombuffer(compiled.classes(rows), dtype=np.uint64).reshape(-1, _CLASSES)
        self._offsets, self._rows = _buckets(self._classes, radius)

    def search(self, queries: Hashes) -> tuple[Integers, Integers]:
        """The near pairs, each once: rows of `queries`, uint8[m, 32], and rows of the hashes it was made of."""
        found = list(self.parts(queries))
        nothing = np.empty(0, dtype=np.int64)
        return (
            np.concatenate([nothing, *(part[0] for part in found)]),
            np.concatenate([nothing, *(part[1] for part in found)]),
        )

    def parts(
        self, queries: Hashes, radius: int | None = None, most: int = MOST_PAIRS
    ) -> Iterator[tuple[Integers, Integers]]:
        """The same in parts of about `most` pairs, or of one query with more; within a smaller radius if given."""
        check(queries)
        within = self._radius if radius is None else min(radius, self._radius)
        waiting = [
            (begin, min(begin + _AT_ONCE, len(queries))) for begin in range(0, len(queries), _AT_ONCE)
        ][::-1]
        while waiting:
            begin, end = waiting.pop()
            pairs = self._pairs(queries[begin:end], within, most if end - begin > 1 else _NO_LIMIT)
            if pairs is None:
                middle = (begin + end) // 2
                waiting += [(middle, end), (begin, middle)]
            elif len(pairs):
                yield begin + pairs[:, 0], pairs[:, 1]

    def _pairs(self, queries: Hashes, radius: int, most: int) -> Integers | None:
        """Query and hash of each near pair, each once; None where there are more than `most`."""
        if self._forms is not None:
            found = self._forms.search(queries, radius)
            return np.unique(np.stack([found.query, found.row // FORMS], axis=1), axis=0)
        raw = compiled.search(
            self._classes, self._offsets, self._rows, np.ascontiguousarray(queries), radius, most
        )
        return None if raw is None else np.frombuffer(raw, dtype=np.uint32).reshape(-1, 2).astype(np.int64)


def _buckets(
    classes: npt.NDArray[np.uint64], radius: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """For each chunk and value where its rows begin, and the rows: those that agree to within the chunk's slack."""
    offsets: list[npt.NDArray[np.uint32]] = []
    rows: list[npt.NDArray[np.uint32]] = []
    filled = 0
    each, more = divmod(radius, len(_WIDTHS))
    for chunk, width in enumerate(_WIDTHS):
        slack = each if chunk <= more else each - 1
        ones = np.uint64(2**width - 1)
        values = classes[:, chunk // 5] >> np.uint64(13 * (chunk % 5)) & ones
        near = (values[:, np.newaxis] ^ _masks(width, slack)).ravel()
        # A value and its complement share a bucket.
        near = np.where(near >> np.uint64(width - 1), near ^ ones, near).astype(np.int64)
        order = np.argsort(near, kind="stable")
        rows.append((order // max(1, len(near) // max(1, len(values)))).astype(np.uint32))
        counts = np.bincount(near, minlength=2 ** (width - 1))
        offsets.append((filled + np.concatenate([[0], np.cumsum(counts)])).astype(np.uint32))
        filled += len(near)
    return np.concatenate(offsets), np.concatenate(rows)


def _masks(width: int, slack: int) -> npt.NDArray[np.uint64]:
    return np.array(
        [
            sum(1 << bit for bit in bits)
            for count in range(slack + 1)
            for bits in combinations(range(width), count)
        ],
        dtype=np.uint64,
    )
