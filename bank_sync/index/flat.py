"""The flat index on FAISS: compares a query with every hash; exact at any radius and quick to build."""

from __future__ import annotations

import faiss
import numpy as np

from bank_sync.index.protocol import MAX_BITS, Found, Hashes, check, in_order

# One thread a lookup: workers are processes already, and OpenMP's own pool doesn't survive a fork.
faiss.omp_set_num_threads(1)


class FlatIndex:
    """A FAISS IndexBinaryFlat over uint8[n, 32]."""

    def __init__(self, hashes: Hashes) -> None:
        check(hashes)
        self._index = faiss.IndexBinaryFlat(MAX_BITS)
        if len(hashes):
            self._index.add(np.ascontiguousarray(hashes))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Hashes, radius: int, met: int = 0) -> Found:
        check(queries, radius)
        check(queries, met)
        # FAISS leaves out what lies exactly at its radius.
        limits, distances, rows = self._index.range_search(
            np.ascontiguousarray(queries), max(radius, met) + 1
        )
        counts = np.diff(limits.astype(np.int64))
        return in_order(
            np.repeat(np.arange(len(queries), dtype=np.int64), counts),
            rows.astype(np.int64),
            distances.astype(np.int64),
        )
