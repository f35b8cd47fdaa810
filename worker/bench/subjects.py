"""The indexes that are measured beside each other: ours as an epoch carries it, FAISS flat, the reference's multi-hash.

Each is built into files in a folder, so that another process can open it and be asked what it costs there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np

from bank_sync.index.buckets import BucketIndex, build_buckets
from bank_sync.index.flat import FlatIndex
from bank_sync.index.protocol import HASH_BYTES, MAX_BITS, Found, Hashes, Index, in_order
from worker.bench.figures import HASHWARDEN

FLAT = "faiss-flat"
MULTIHASH = "faiss-multihash"

_SLOTS = 16
"""python-threatexchange's PDQMultiHashIndex: so many slots, of so many bits."""


class Subject(Protocol):
    """One way to find hashes within a radius."""

    def build(self, hashes: Hashes, folder: Path) -> Index:
        """Makes the index of uint8[n, 32] and leaves it in files; the index as it then stands in this process."""
        ...

    def open(self, folder: Path) -> Index:
        """The index of the files, ready to be searched."""
        ...


class Buckets:
    """The bucket index, mapped read-only."""

    def build(self, hashes: Hashes, folder: Path) -> Index:
        offsets, rows = build_buckets(hashes)
        for name, array in (("hashes", hashes), ("offsets", offsets), ("rows", rows)):
            array.tofile(folder / name)
        return self.open(folder)

    def open(self, folder: Path) -> Index:
        hashes = np.memmap(folder / "hashes", dtype=np.uint8, mode="r").reshape(-1, HASH_BYTES)
        offsets, rows = (np.memmap(folder / name, dtype=np.uint32, mode="r") for name in ("offsets", "rows"))
        return BucketIndex(hashes, offsets, rows)


class Flat:
    """FAISS IndexBinaryFlat, which keeps its own copy of the hashes."""

    def build(self, hashes: Hashes, folder: Path) -> Index:
        hashes.tofile(folder / "hashes")
        return FlatIndex(hashes)

    def open(self, folder: Path) -> Index:
        return FlatIndex(np.memmap(folder / "hashes", dtype=np.uint8, mode="r").reshape(-1, HASH_BYTES))


class MultiHash:
    """FAISS IndexBinaryMultiHash behind an id map, as python-threatexchange builds it for PDQ."""

    def build(self, hashes: Hashes, folder: Path) -> Index:
        index = faiss.IndexBinaryIDMap2(faiss.IndexBinaryMultiHash(MAX_BITS, _SLOTS, MAX_BITS // _SLOTS))
        index.add_with_ids(hashes, np.arange(len(hashes), dtype=np.int64))
        faiss.write_index_binary(index, str(folder / "index"))
        return _MultiHashIndex(index)

    def open(self, folder: Path) -> Index:
        return _MultiHashIndex(faiss.read_index_binary(str(folder / "index")))


class _MultiHashIndex:
    def __init__(self, index: Any) -> None:  # noqa: ANN401 (what FAISS reads has its base class's type)
        self._index = index
        self._slots: Any = faiss.downcast_IndexBinary(index.index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Hashes, radius: int, met: int = 0) -> Found:  # noqa: ARG002 (the protocol's signature)
        self._slots.nflip = radius // _SLOTS
        limits, distances, rows = self._index.range_search(queries, radius + 1)
        counts = np.diff(limits.astype(np.int64))
        return in_order(
            np.repeat(np.arange(len(queries), dtype=np.int64), counts),
            rows.astype(np.int64),
            distances.astype(np.int64),
        )


SUBJECTS: Mapping[str, Subject] = {HASHWARDEN: Buckets(), FLAT: Flat(), MULTIHASH: MultiHash()}
