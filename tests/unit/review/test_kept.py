"""A kept value is made once a while, and a fault keeps nothing."""

import pytest

from worker.review.pages.kept import Kept


def test_a_value_is_kept_for_its_time() -> None:
    now = [0.0]
    made = iter(range(9))
    kept: Kept[int] = Kept(2, clock=lambda: now[0])
    assert [kept.get(lambda: next(made)) for _ in range(3)] == [0, 0, 0]
    now[0] = 2.0
    assert kept.get(lambda: next(made)) == 1


def test_a_fault_keeps_nothing() -> None:
    kept: Kept[float] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get(lambda: 1 / 0)
    assert kept.get(lambda: 1.0) == 1.0
