"""The exact index: a sorted array of digests and binary search; for MD5, where only equality means anything."""

from __future__ import annotations

import numpy as np

from bank_sync.index.protocol import Hashes, Integers


class ExactIndex:
    """Looks up digests in uint8[n, width] that is sorted by bytes, with one entry id a row."""

    def __init__(self, digests: Hashes, entries: Integers) -> None:
        if digests.ndim != 2 or len(digests) != len(entries):
            raise ValueError("digests must be uint8[n, width] with one entry a row")
        self._width = digests.shape[1]
        # Fixed-width byte strings compare like the digests: padding zeros only matter between equal widths.
        self._keys = np.ascontiguousarray(digests).view(f"S{self._width}").ravel() if len(digests) else None
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, digest: bytes) -> list[int]:
        """The entries whose digest is exactly this one."""
        if len(digest) != self._width:
            raise ValueError(f"a digest must have {self._width} bytes")
        if self._keys is None:
            return []
        key = np.array(digest, dtype=f"S{self._width}")
        first = int(np.searchsorted(self._keys, key, side="left"))
        last = int(np.searchsorted(self._keys, key, side="right"))
        return [int(entry) for entry in self._entries[first:last]]
