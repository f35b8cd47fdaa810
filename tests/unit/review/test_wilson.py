"""Wilson's interval against values of the literature and its own rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.review.figures.wilson import Share, wilson


@pytest.mark.parametrize(
    ("hits", "counted", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_it_is_the_interval_of_the_literature(hits: int, counted: int, low: float, high: float) -> None:
    found = wilson(hits, counted)
    assert found.share == hits / counted
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_of_nothing_there_is_no_share() -> None:
    assert wilson(0, 0) == Share(None, None, None)


@given(st.integers(1, 10**6).flatmap(lambda counted: st.tuples(st.integers(0, counted), st.just(counted))))
def test_it_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    hits, counted = case
    found, other = wilson(hits, counted), wilson(counted - hits, counted)
    assert found.low is not None
    assert found.share is not None
    assert found.high is not None
    assert other.low is not None
    assert 0 <= found.low <= found.share + 1e-12
    assert found.share - 1e-12 <= found.high <= 1
    assert 1 - other.low == pytest.approx(found.high)
