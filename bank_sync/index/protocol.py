"""What an index is: every stored hash within a radius of a query, exactly, with the entry it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

HASH_BYTES = 32
MAX_BITS = HASH_BYTES * 8

Hashes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """Three arrays of one length: query row, stored row and distance in bits, in the order of the rows."""

    query: Integers
    row: Integers
    distance: Integers


class Index(Protocol):
    """A fixed set of 256-bit hashes; rows are counted from 0 in the order they were given."""

    def __len__(self) -> int:
        """How many hashes it holds, duplicates counted each."""
        ...

    def search(self, queries: Hashes, radius: int, met: int = 0) -> Found:
        """Every stored row at most `radius` bits from each query; exact, duplicates included.

        Beyond it, up to `met` bits, what was met on the way: some rows or all, as comes cheapest. `queries` is
        uint8[n, 32], n may be 0; `radius` is 0..256, inclusive. Safe from several threads.
        """
        ...


def check(array: Hashes, radius: int = 0) -> None:
    """Raises ValueError unless `array` is uint8[n, 32] and `radius` is 0..256."""
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != HASH_BYTES:
        raise ValueError("hashes must be uint8[n, 32]")
    if not 0 <= radius <= MAX_BITS:
        raise ValueError("a radius must be 0 to 256 bits")


def in_order(query: Integers, row: Integers, distance: Integers) -> Found:
    """The same hits sorted by query row, then stored row; both have 32 bits and a pair comes once."""
    order = np.argsort(query << 32 | row)
    return Found(query[order], row[order], distance[order])
