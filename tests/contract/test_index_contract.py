"""What every index must do: find exactly what lies within the radius, whatever the data look like."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_sync.index.buckets import BucketIndex, build_buckets, compiled
from bank_sync.index.exact import ExactIndex
from bank_sync.index.flat import FlatIndex
from bank_sync.index.plain import PlainIndex
from bank_sync.index.protocol import Found, Hashes, Index

Build = Callable[[Hashes], Index]


def buckets(hashes: Hashes) -> Index:
    return BucketIndex(hashes, *build_buckets(hashes))


def buckets_in_numpy(hashes: Hashes) -> Index:
    return BucketIndex(hashes, *build_buckets(hashes, plain=True), plain=True)


builds = pytest.mark.parametrize("build", [FlatIndex, PlainIndex, buckets, buckets_in_numpy])


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


def _bank(kind: str, random: np.random.Generator, count: int) -> Hashes:
    if kind == "random":
        return random.integers(0, 256, (count, 32), dtype=np.uint8)
    if kind == "duplicates":
        return random.integers(0, 256, (7, 32), dtype=np.uint8)[random.integers(0, 7, count)]
    if kind == "one chunk":
        # The first hundred bits are the same in all: those chunks have one bucket with everything in it.
        hashes = random.integers(0, 256, (count, 32), dtype=np.uint8)
        hashes[:, :13] = 0x5A
        return hashes
    if kind == "equal":
        return np.repeat(random.integers(0, 256, (1, 32), dtype=np.uint8), count, axis=0)
    if kind == "sparse":
        # One bit in ten is set, so every chunk leads to much of the index.
        return np.packbits(random.random((count, 256)) < 0.1, axis=1)
    centres = random.integers(0, 256, (20, 32), dtype=np.uint8)
    noise = np.packbits(random.random((count, 256)) < random.uniform(0, 0.2, (count, 1)), axis=1)
    return np.asarray(centres[random.integers(0, 20, count)] ^ noise)


@pytest.mark.parametrize("count", [3000, 40_000])
@pytest.mark.parametrize("kind", ["random", "duplicates", "one chunk", "clusters", "equal", "sparse"])
def test_buckets_find_what_the_flat_index_finds_at_every_radius(kind: str, count: int) -> None:
    random = np.random.default_rng(count)
    hashes = _bank(kind, random, count)
    flat, fast, slow = FlatIndex(hashes), buckets(hashes), buckets_in_numpy(hashes)
    for radius in range(49):
        queries = random.integers(0, 256, (6, 32), dtype=np.uint8)
        for number, away in enumerate((radius, radius + 1, radius // 2)):
            flips = list(random.choice(256, away, replace=False))
            queries[number] = _flipped(hashes[random.integers(count)], flips)
        expected = _rows(flat.search(queries, radius))
        assert (0, radius) in {(row[0], row[2]) for row in expected}
        assert _rows(fast.search(queries, radius)) == expected
        if count == 3000 or radius % 8 == 0:
            assert _rows(slow.search(queries, radius)) == expected


@settings(max_examples=150, deadline=None)
@given(data=st.data(), radius=st.integers(0, 48))
def test_buckets_find_what_the_flat_index_finds_whatever_the_bytes(data: st.DataObject, radius: int) -> None:
    # Few bytes and few places: equal hashes, equal chunks and lone bits come up all the time.
    byte = st.sampled_from([0, 0, 0, 1, 128, 255])
    base = np.array(data.draw(st.lists(byte, min_size=32, max_size=32)), dtype=np.uint8)
    changes = data.draw(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 255)), max_size=60))
    hashes = np.repeat(base[None], 4000, axis=0)
    for number, (place, value) in enumerate(changes):
        hashes[number * 7 :: 61 + number, place] = value
    queries = hashes[data.draw(st.lists(st.integers(0, 3999), min_size=1, max_size=4))].copy()
    queries[0] = _flipped(queries[0], list(range(data.draw(st.integers(0, 49)))))
    expected = _rows(FlatIndex(hashes).search(queries, radius))
    assert _rows(buckets(hashes).search(queries, radius)) == expected


@pytest.mark.parametrize("plain", [False, True])
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1), most=st.sampled_from([500, 5000, 2**32 - 1]))
def test_wrong_numbers_lose_hits_but_make_none_up(plain: bool, seed: int, share: float, most: int) -> None:
    random = np.random.default_rng(seed)
    hashes = _bank("clusters", random, 2500)
    arrays = build_buckets(hashes)
    for array in arrays:
        wrong = random.random(len(array)) < share
        array[wrong] = random.integers(0, most, int(wrong.sum()), endpoint=True, dtype=np.uint32)
    queries = hashes[:8]
    told = set(_rows(BucketIndex(hashes, *arrays, plain=plain).search(queries, 10)))
    assert told <= set(_rows(FlatIndex(hashes).search(queries, 10)))


def test_the_compiled_buckets_are_those_of_the_twin() -> None:
    hashes = _bank("clusters", np.random.default_rng(5), 5000)
    assert compiled is not None, "the extension was not built: is there a C compiler?"
    for one, other in zip(build_buckets(hashes), build_buckets(hashes, plain=True), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("build", [buckets, buckets_in_numpy])
def test_what_is_met_on_the_way_is_told_once_and_truly(build: Build) -> None:
    random = np.random.default_rng(11)
    hashes = _bank("clusters", random, 20_000)
    queries = hashes[:40]
    everything = set(_rows(FlatIndex(hashes).search(queries, 62)))
    found = _rows(build(hashes).search(queries, 40, 62))
    assert len(set(found)) == len(found)
    assert set(found) <= everything
    assert {row for row in everything if row[2] <= 40} <= set(found)
    beyond = [row for row in everything if row[2] > 40]
    assert len([row for row in found if row[2] > 40]) > 0.7 * len(beyond)


def test_numbers_that_lead_out_of_the_index_are_not_followed() -> None:
    hashes = np.random.default_rng(3).integers(0, 256, (5000, 32), dtype=np.uint8)
    offsets, rows = build_buckets(hashes)
    index = BucketIndex(hashes, np.full_like(offsets, 2**32 - 1), np.full_like(rows, 2**32 - 1))
    assert _rows(index.search(hashes[:10], 10)) == []
    offsets[1::2] = 2**31
    assert len(BucketIndex(hashes, offsets, np.full_like(rows, 2**31)).search(hashes[:10], 10).row) == 0


def test_arrays_of_different_indexes_are_refused() -> None:
    hashes = np.random.default_rng(3).integers(0, 256, (100, 32), dtype=np.uint8)
    offsets, rows = build_buckets(hashes)
    for wrong in ((hashes[:99], offsets, rows), (hashes, offsets[:-1], rows), (hashes, offsets, rows[:300])):
        with pytest.raises(ValueError, match="not of one index"):
            BucketIndex(*wrong)


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
