"""The units that the API tells of each column of a figure."""

from __future__ import annotations

import pytest

from worker.review.figures.figures import FIGURES
from worker.review.figures.units import Unit, units_of

SHARES = {"share_in_time", "share", "precision", "low", "high"}


@pytest.mark.parametrize("name", FIGURES)
def test_shares_are_those_named_so_and_seconds_say_so(name: str) -> None:
    units = units_of(FIGURES[name])
    assert list(units) == list(FIGURES[name].columns)
    for column, unit in units.items():
        assert (unit is Unit.SHARE) == (column in SHARES)
        assert (unit is Unit.SECONDS) == ("seconds" in column)
        assert (unit is Unit.PER_100) == ("per_100" in column)
        assert (unit is Unit.TIME) == (column == "begin")
