"""The index of a hunt finds exactly what sixteen forms a hash would, compiled and by FAISS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_sync.index.flat import FlatIndex
from worker.media.turned_hashes import FORMS, forms
from worker.retro import near
from worker.retro.near import FormsIndex

Hashes = npt.NDArray[np.uint8]


@pytest.fixture(params=["compiled", "faiss"])
def plain(request: pytest.FixtureRequest) -> bool:
    if request.param == "compiled" and near.compiled is None:
        pytest.skip("built without a compiler")
    return bool(request.param == "faiss")


def away(hashes: Hashes, bits: int, rng: np.random.Generator) -> Hashes:
    """Each hash with so many of its bits changed."""
    unpacked = np.unpackbits(hashes, axis=1)
    for row in unpacked:
        row[rng.choice(256, bits, replace=False)] ^= 1
    return np.packbits(unpacked, axis=1)


def pairs(index: FormsIndex, queries: Hashes) -> set[tuple[int, int]]:
    found = list(zip(*(part.tolist() for part in index.search(queries)), strict=True))
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("radius", [0, 1, 8, 19, 20, 31, 39, 40, 48])
def test_what_lies_at_the_radius_is_found_in_every_form_and_beyond_it_nothing(
    plain: bool, radius: int
) -> None:
    rng = np.random.default_rng(radius)
    hashes = rng.integers(0, 256, (9, 32), dtype=np.uint8)
    index = FormsIndex(hashes, radius, plain=plain)
    turned = forms(hashes).reshape(-1, 32)
    owners = np.repeat(np.arange(len(hashes)), FORMS)
    assert pairs(index, away(turned, radius, rng)) == set(enumerate(owners.tolist()))
    assert pairs(index, away(turned, radius + 1, rng)) == set()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), radius=st.integers(0, 48), alike=st.sampled_from([0, 4, 30, 60, 128]))
def test_it_finds_what_a_flat_index_of_all_forms_finds(seed: int, radius: int, alike: int) -> None:
    rng = np.random.default_rng(seed)
    middle = rng.integers(0, 256, (1, 32), dtype=np.uint8)
    hashes = away(np.repeat(middle, 12, axis=0), alike, rng)
    queries = np.concatenate([away(forms(middle)[0], alike, rng), hashes, hashes[:2]])
    found = FlatIndex(forms(hashes).reshape(-1, 32)).search(queries, radius)
    expected = set(zip(found.query.tolist(), (found.row // FORMS).tolist(), strict=True))
    assert pairs(FormsIndex(hashes, radius), queries) == expected


def test_nothing_is_near_nothing(plain: bool) -> None:
    nothing = np.empty((0, 32), dtype=np.uint8)
    some = np.zeros((2, 32), dtype=np.uint8)
    assert pairs(FormsIndex(nothing, 40, plain=plain), some) == set()
    assert pairs(FormsIndex(some, 40, plain=plain), nothing) == set()


def test_a_pair_that_is_alike_is_kept_once_and_parts_are_bounded(plain: bool) -> None:
    rng = np.random.default_rng(7)
    one = rng.integers(0, 256, (1, 32), dtype=np.uint8)
    hashes, queries = np.repeat(one, 40, axis=0), np.repeat(one, 300, axis=0)
    index = FormsIndex(hashes, 40, plain=plain)
    expected = {(query, row) for query in range(300) for row in range(40)}
    assert pairs(index, queries) == expected
    if plain:
        return
    raw = near.compiled.search(index._classes, index._offsets, index._rows, queries, 40, 2**62)
    assert len(raw) == 8 * len(expected), "not once a chunk"
    sizes = [len(rows) for _, rows in index.parts(queries, most=1000)]
    assert sum(sizes) == len(expected)
    assert max(sizes) <= 1000
    assert [len(rows) for _, rows in index.parts(queries[:3], most=10)] == [40, 40, 40], (
        "one query is not cut"
    )


def test_a_smaller_radius_finds_no_more_than_it_says(plain: bool) -> None:
    rng = np.random.default_rng(8)
    hashes = rng.integers(0, 256, (5, 32), dtype=np.uint8)
    index = FormsIndex(hashes, 40, plain=plain)
    assert [part for part in index.parts(away(hashes, 21, rng), 20) if len(part[0])] == []
    (found,) = index.parts(away(hashes, 20, rng), 20)
    assert found[0].tolist() == list(range(5))
