"""docs/reference/figures.md defines each figure and each column of its CSV, and names its parts and limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.review.figures import precision, speed, waiting, wilson
from worker.review.figures.figures import FIGURES
from worker.review.figures.period import Days
from worker.review.reveal.exposure import SHOWN_SECONDS

PAGE = (Path(__file__).parents[3] / "docs/reference/figures.md").read_text(encoding="utf-8")
PARTS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_figures_are_those_of_the_code_in_its_order() -> None:
    assert list(PARTS) == list(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_every_column_is_defined(name: str) -> None:
    assert re.findall(r"^\| `(\w+)` \|", PARTS[name], re.MULTILINE) == list(FIGURES[name].columns)


def test_parts_and_limits_are_the_codes() -> None:
    assert all(f"`{part}`" in PARTS["due"] for part in waiting.DUE)
    assert all(f"`{band}`" in PARTS["precision_by_distance"] for band in [precision.EXACT, *precision.BANDS])
    assert f"Under {wilson.FEW} reviews" in PAGE
    assert f"the {speed.SAMPLE:,} of the period" in PAGE
    assert {f"{seconds:.0f}" for seconds in SHOWN_SECONDS.values()} == {"60", "8"}
    assert "(60 s, sharp ones 8 s)" in PARTS["views"]
    assert list(map(int, Days)) == [1, 7, 30, 90]
