"""The made-up banks that indexes are measured on, and the queries: random and clustered, the same for every subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bank_sync.index.protocol import HASH_BYTES, MAX_BITS, Hashes, Integers

RANDOM = "random"
CLUSTERED = "clustered"

_ALONE = 0.5
_TAIL = 1.5
_LARGEST = 10_000
_APART = 24


def random_bank(count: int, random: np.random.Generator) -> Hashes:
    """uint8[count, 32], every bit a coin toss: no two are near each other."""
    return random.integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)


def clustered_bank(count: int, random: np.random.Generator) -> Hashes:
    """uint8[count, 32], as one picture's many copies make a bank: half stand alone, half lie in clusters.

    A cluster's size is Pareto distributed (exponent 1.5, from 2 to 10,000 or a hundredth of the bank), and each of its
    hashes differs from its centre in up to 24 bits, so that most copies of one picture match each other.
    """
    alone = round(count * _ALONE)
    crowd = count - alone
    largest = max(2, min(_LARGEST, count // 100))
    sizes = np.minimum(2 * (1 + random.pareto(_TAIL, crowd // 2 + 1)), largest).astype(np.int64)
    centre_of = np.repeat(np.arange(len(sizes)), sizes)[:crowd]
    centres = random_bank(len(sizes), random)
    hashes = np.concatenate([random_bank(alone, random), centres[centre_of]])
    flip(hashes[alone:], random.integers(0, _APART + 1, crowd), random)
    random.shuffle(hashes)
    return hashes


BANKS: Mapping[str, Callable[[int, np.random.Generator], Hashes]] = {
    RANDOM: random_bank,
    CLUSTERED: clustered_bank,
}


def queries_into(hashes: Hashes, count: int, radius: int, random: np.random.Generator) -> Hashes:
    """uint8[count, 32]: every other one lies 0 to `radius` bits from a stored hash, the others anywhere."""
    queries = random_bank(count, random)
    planted = queries[::2]
    planted[:] = hashes[random.integers(0, len(hashes), len(planted))]
    flip(planted, random.integers(0, radius + 1, len(planted)), random)
    return queries


def flip(hashes: Hashes, bits: Integers, random: np.random.Generator) -> None:
    """Flips so many bits of each row in place; where one is drawn twice it is as it was, and fewer differ."""
    for done in range(int(bits.max(initial=0))):
        rows = np.flatnonzero(bits > done)
        places = random.integers(0, MAX_BITS, len(rows))
        hashes[rows, places // 8] ^= (1 << (places % 8)).astype(np.uint8)
