"""How quickly an index finds everything within a radius, beside FAISS flat and the reference's multi-hash.

One thread. Every subject answers the same queries in the same run, and what ours finds must be what FAISS flat finds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bank_sync.index.protocol import Found, Hashes, Index
from config.errors import HashwardenError
from worker.bench.banks import BANKS, queries_into
from worker.bench.figures import HASHWARDEN, Figure
from worker.bench.private_memory import measure
from worker.bench.subjects import FLAT, MULTIHASH, SUBJECTS

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
RADII = (31, 40)
BATCHES = (256, 4096)
SLOW_FROM = 1_000_000
"""Hashes above which the multi-hash is built only when asked for, and peers are spared the largest batch."""

_SEED = 31
_ROUNDS = 5
_SINGLE = 200
"""Look-ups of a round."""
_ASKED_FOR_MEMORY = 100
_SECONDS = 10.0
"""No further round or call begins after so long."""


class WrongHitsError(HashwardenError):
    """An index found something else than FAISS flat did."""

    code = "wrong_hits"


def index_figures(
    sizes: Sequence[int], radii: Sequence[int], data: Sequence[str], *, slow_peers: bool
) -> Iterator[Figure]:
    """The figures of each subject, as they are measured. Raises WrongHitsError."""
    for kind in data:
        for size in sizes:
            random = np.random.default_rng([_SEED, size])
            hashes = BANKS[kind](size, random)
            with tempfile.TemporaryDirectory(prefix="hashwarden-index-") as folder:
                yield from _compare(hashes, kind, radii, Path(folder), random, slow_peers=slow_peers)


def _compare(
    hashes: Hashes,
    kind: str,
    radii: Sequence[int],
    folder: Path,
    random: np.random.Generator,
    *,
    slow_peers: bool,
) -> Iterator[Figure]:
    about = {"hashes": len(hashes), "data": kind}
    asked = {radius: _queries(hashes, radius, random) for radius in radii}
    few = folder / "queries"
    asked[radii[0]][0][0, :_ASKED_FOR_MEMORY].tofile(few)
    ours: dict[int, Found] = {}
    for name, subject in SUBJECTS.items():
        slow = name != HASHWARDEN and len(hashes) > SLOW_FROM
        if name == MULTIHASH and slow and not slow_peers:
            continue
        place = folder / name
        place.mkdir()
        begun = time.perf_counter()
        index = subject.build(hashes, place)
        yield Figure(name, "build", _rounded(time.perf_counter() - begun), "s", about)
        on_disk = sum(path.stat().st_size for path in place.iterdir())
        yield Figure(name, "bytes_per_hash", round(on_disk / len(hashes), 1), "B", about)
        for radius, (singles, *batches) in asked.items():
            params = {"hashes": len(hashes), "radius": radius, "data": kind}
            found = index.search(batches[0][0], radius)
            _check(name, found, ours.setdefault(radius, found))
            yield from _single_figures(index, name, singles, params)
            for queries in batches:
                if not slow or queries.shape[1] == BATCHES[0]:
                    yield _batch_figure(index, name, queries, params)
            if name == FLAT:
                share = len(found.row) / batches[0].shape[1]
                yield Figure(name, "hits_per_lookup", round(share, 2), "hashes", params)
        del index
        yield Figure(name, "private_memory", round(measure(name, place, few, radii[0]) / 1e6, 1), "MB", about)


def _queries(hashes: Hashes, radius: int, random: np.random.Generator) -> list[Hashes]:
    """uint8[rounds, n, 32]: those asked one by one, then those of each batch size."""
    return [
        queries_into(hashes, _ROUNDS * count, radius, random).reshape(_ROUNDS, count, -1)
        for count in (_SINGLE, *BATCHES)
    ]


def _check(name: str, found: Found, ours: Found) -> None:
    if not all(
        np.array_equal(one, other)
        for one, other in (
            (found.query, ours.query),
            (found.row, ours.row),
            (found.distance, ours.distance),
        )
    ):
        raise WrongHitsError(
            f"{name} finds other hashes than {HASHWARDEN} does.",
            next_step="The index is not exact: report it with the options of this run.",
        )


def _single_figures(index: Index, name: str, queries: Hashes, params: Mapping[str, Any]) -> Iterator[Figure]:
    """The median and the 99th percentile of a round, of the round in which each was least."""
    radius = params["radius"]
    deadline = time.perf_counter() + _SECONDS
    rounds: list[list[float]] = []
    for of_round in queries:
        spent = [_spent(index, query[None], radius) for query in of_round]
        rounds.append(spent)
        if time.perf_counter() > deadline:
            break
    for metric, percentile in (("lookup_p50", 50), ("lookup_p99", 99)):
        least = min(float(np.percentile(spent, percentile)) for spent in rounds)
        yield Figure(name, metric, _rounded(least), "ms", params)


def _batch_figure(index: Index, name: str, queries: Hashes, params: Mapping[str, Any]) -> Figure:
    """The median of a few calls."""
    deadline = time.perf_counter() + _SECONDS
    calls: list[float] = []
    for batch in queries:
        calls.append(_spent(index, batch, params["radius"]))
        if time.perf_counter() > deadline:
            break
    return Figure(name, f"batch_{queries.shape[1]}", _rounded(float(np.median(calls))), "ms", params)


def _spent(index: Index, queries: Hashes, radius: int) -> float:
    """Milliseconds of one call."""
    begun = time.perf_counter()
    index.search(queries, radius)
    return (time.perf_counter() - begun) * 1000


def _rounded(value: float) -> float:
    """Three digits that count."""
    return float(f"{value:.3g}")
