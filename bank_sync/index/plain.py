"""The plain index in numpy: the slow twin that every faster index must agree with."""

from __future__ import annotations

import numpy as np

from bank_sync.index.protocol import Found, Hashes, Integers, check, in_order

_BITS = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint16)


class PlainIndex:
    """Counts the differing bits of every pair, one query at a time."""

    def __init__(self, hashes: Hashes) -> None:
        check(hashes)
        self._hashes = hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def search(self, queries: Hashes, radius: int, met: int = 0) -> Found:
        check(queries, radius)
        check(queries, met)
        found: list[tuple[Integers, Integers, Integers]] = []
        for number, query in enumerate(queries):
            distances = _BITS[self._hashes ^ query].sum(axis=1).astype(np.int64)
            rows = np.flatnonzero(distances <= max(radius, met)).astype(np.int64)
            found.append((np.full(len(rows), number, dtype=np.int64), rows, distances[rows]))
        if not found:
            nothing = np.empty(0, dtype=np.int64)
            return Found(nothing, nothing, nothing)
        query, row, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return in_order(query, row, distance)
