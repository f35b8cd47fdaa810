"""What every index must do: find exactly what lies within the radius, whatever the data look like."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_sync.index.exact import ExactIndex
from bank_sync.index.flat import FlatIndex
from bank_sync.index.plain import PlainIndex
from bank_sync.index.protocol import Found, Hashes, Index

Build = Callable[[Hashes], Index]

builds = pytest.mark.parametrize("build", [FlatIndex, PlainIndex])


def _rows(found: Found) -> list[tuple[int, int, int]]:
    return [(int(q), int(r), int(d)) for q, r, d in zip(found.query, found.row, found.distance, strict=True)]


def _flipped(hash_: Hashes, bits: list[int]) -> Hashes:
    flipped = np.unpackbits(hash_)
    flipped[bits] ^= 1
    return np.packbits(flipped)


@builds
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    radius=st.integers(0, 255),
    copies=st.integers(1, 3),
    others=st.integers(0, 50),
)
def test_a_hash_at_the_radius_is_found_and_one_bit_further_is_not(
    build: Build, seed: int, radius: int, copies: int, others: int
) -> None:
    random = np.random.default_rng(seed)
    query = random.integers(0, 256, 32, dtype=np.uint8)
    near = _flipped(query, list(random.choice(256, radius, replace=False)))
    far = _flipped(query, list(random.choice(256, radius + 1, replace=False)))
    crowd = random.integers(0, 256, (others, 32), dtype=np.uint8)
    index = build(np.vstack([far[None], np.repeat(near[None], copies, axis=0), crowd]))
    rows = _rows(index.search(query[None], radius))
    assert [row for row in rows if row[1] <= copies] == [(0, 1 + n, radius) for n in range(copies)]
    assert (0, 0, radius + 1) in _rows(index.search(query[None], radius + 1))


@builds
@pytest.mark.parametrize("radius", [0, 10, 31, 32, 256])
def test_it_agrees_with_counting_every_bit(build: Build, radius: int) -> None:
    random = np.random.default_rng(radius)
    # A few centres with many neighbours: real banks are clustered.
    centres = random.integers(0, 256, (5, 32), dtype=np.uint8)
    hashes = np.vstack(
        [_flipped(centres[n % 5], list(random.choice(256, n % 40, replace=False)))[None] for n in range(200)]
    )
    queries = np.vstack([centres, hashes[:20]])
    expected = [
        (q, r, distance)
        for q, query in enumerate(queries)
        for r, stored in enumerate(hashes)
        if (distance := int(np.unpackbits(query ^ stored).sum())) <= radius
    ]
    assert _rows(build(hashes).search(queries, radius)) == expected


@builds
def test_an_empty_index_and_an_empty_query_find_nothing(build: Build) -> None:
    nothing = np.empty((0, 32), dtype=np.uint8)
    one = np.zeros((1, 32), dtype=np.uint8)
    assert len(build(nothing)) == 0
    assert _rows(build(nothing).search(one, 256)) == []
    assert _rows(build(nothing).search(nothing, 31)) == []
    assert _rows(build(one).search(nothing, 31)) == []
    assert len(build(one)) == 1


@builds
def test_a_wrong_shape_or_radius_is_refused(build: Build) -> None:
    index = build(np.zeros((1, 32), dtype=np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        index.search(np.zeros((1, 16), dtype=np.uint8), 31)
    with pytest.raises(ValueError, match="radius"):
        index.search(np.zeros((1, 32), dtype=np.uint8), -1)
    with pytest.raises(ValueError, match="uint8"):
        build(np.zeros((1, 31), dtype=np.uint8))


@builds
def test_a_read_only_array_will_do(build: Build) -> None:
    hashes = np.zeros((3, 32), dtype=np.uint8)
    hashes.flags.writeable = False
    assert len(_rows(build(hashes).search(hashes, 0))) == 9


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=40), st.binary(min_size=16, max_size=16))
def test_the_exact_index_finds_equal_digests_and_no_others(digests: list[bytes], other: bytes) -> None:
    ordered = sorted([*digests, *digests[:3]])
    array = np.frombuffer(b"".join(ordered), dtype=np.uint8).reshape(-1, 16)
    index = ExactIndex(array, np.arange(100, 100 + len(ordered), dtype=np.int64))
    for digest in {*ordered, other, b"\x00" * 16}:
        assert index.lookup(digest) == [100 + n for n, d in enumerate(ordered) if d == digest]


def test_the_exact_index_refuses_a_digest_of_another_length() -> None:
    index = ExactIndex(np.zeros((1, 16), dtype=np.uint8), np.array([1], dtype=np.int64))
    with pytest.raises(ValueError, match="16 bytes"):
        index.lookup(b"\x00" * 15)
