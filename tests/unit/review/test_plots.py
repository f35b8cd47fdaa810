"""Plots are well-formed, hold no style and no script, say what they show, and stay inside their box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from worker.review.plots import axis, say
from worker.review.plots.canvas import Told
from worker.review.plots.over_time import Series, columns, lines
from worker.review.plots.side_by_side import Bar, Interval, bars, intervals

NASTY = '<script>alert("1")</script> & \'"'
TOLD = Told("plot", NASTY, f"words {NASTY}")
COUNTS = st.lists(st.integers(0, 10**7), min_size=1, max_size=90)


def read(drawn: Markup) -> ElementTree.Element:
    """The drawing, checked for what holds of every one."""
    root = ElementTree.fromstring(drawn)  # noqa: S314 (our own)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    ids = {each.get("id"): each.text for each in root if each.tag in {"title", "desc"}}
    assert (root.get("aria-labelledby") or "").split() == list(ids)
    assert list(ids.values()) == [TOLD.title, TOLD.words]
    width, height = (float(side) for side in (root.get("viewBox") or "").split()[2:])
    for each in root.iter():
        assert each.tag in {"svg", "title", "desc", "rect", "line", "path", "circle", "text"}
        assert not {"style", "onload", "href"} & set(each.attrib)
        if each.tag == "rect":
            left, top = float(each.get("x") or 0), float(each.get("y") or 0)
            assert 0 <= left <= left + float(each.get("width") or 0) <= width + 0.2
            assert 0 <= top <= top + float(each.get("height") or 0) <= height + 0.2
        if each.tag == "circle":
            assert 0 <= float(each.get("cx") or 0) <= width
            assert 0 <= float(each.get("cy") or 0) <= height
    return root


@given(COUNTS)
def test_columns_hold_every_value(values: list[int]) -> None:
    labels = [str(at) for at in range(len(values))]
    root = read(columns(TOLD, labels, [Series("good", NASTY, values), Series("bad", "late", values)]))
    told = [each.findtext("title") for each in root.iter("rect")]
    assert told == [
        f"{label}: {name} {say.count(value)}"
        for label, value in zip(labels, values, strict=True)
        for name in (NASTY, "late")
        if value
    ]


@given(st.lists(st.none() | st.floats(0, 10**7), min_size=1, max_size=90))
def test_lines_break_where_there_is_no_value(values: list[float | None]) -> None:
    root = read(lines(TOLD, [str(at) for at in range(len(values))], [Series("median", "median", values)]))
    assert len(list(root.iter("circle"))) == sum(value is not None for value in values)
    runs = "".join("x" if value is not None else " " for value in values).split()
    drawn = [(path.get("d") or "").count("L") + 1 for path in root.iter("path")]
    assert drawn == [len(run) for run in runs if len(run) > 1]


@given(COUNTS)
def test_bars_are_as_long_as_their_values(values: list[int]) -> None:
    rows = [Bar(NASTY, [("good", "in time", value), ("bad", "late", value / 2)], "x") for value in values]
    root = read(bars(TOLD, rows))
    parts = [each for each in root.iter("rect") if (each.get("class") or "").startswith("fill")]
    assert len(parts) == 2 * sum(value > 0 for value in values)


def test_few_cases_are_grey_and_none_are_not_drawn() -> None:
    rows = [
        Interval("stopncii", 0.9, 0.8, 0.95, few=False, said="90 %"),
        Interval("own", 0.5, 0.1, 0.9, few=True, said="50 %"),
        Interval("new", None, None, None, few=True, said="none"),
    ]
    root = read(intervals(TOLD, rows))
    assert [each.get("class") for each in root.iter("circle")] == ["share", "share few"]
    assert "stopncii: 90 %, from 80 % to 95 %" in [each.findtext("title") for each in root.iter("circle")]


@pytest.mark.parametrize(
    ("most", "marks"),
    [(0, [0, 1]), (1, [0, 1]), (3, [0, 1, 2, 3]), (7, [0, 2, 4, 6, 8]), (85, [0, 25, 50, 75, 100])],
)
def test_marks_of_counts_are_round(most: float, marks: list[float]) -> None:
    assert list(axis.counts(most)) == marks


@given(st.floats(0, 10**9))
def test_marks_reach_as_far_as_the_values(most: float) -> None:
    for found in (axis.counts(most), axis.seconds(most)):
        assert found[0] == 0
        assert found[-1] >= most * (1 - 1e-9)
        assert 2 <= len(found) <= 7
        assert all(math.isfinite(mark) for mark in found)


@given(st.integers(1, 90), st.integers(1, 12))
def test_the_last_label_is_always_shown(number: int, most: int) -> None:
    labels: Sequence[str] = ["x"] * number
    places = axis.shown(labels, most)
    assert places[-1] == number - 1
    assert len(places) <= most


def test_shares_never_round_to_all_or_nothing() -> None:
    assert [say.percent(share) for share in (None, 0.0, 0.0004, 0.5, 0.9999, 1.0)] == [
        say.NOTHING,
        "0 %",
        "< 0.1 %",
        "50 %",
        "> 99.9 %",
        "100 %",
    ]


def test_times_are_in_the_unit_that_fits() -> None:
    assert [say.duration(seconds) for seconds in (None, 0, 42.4, 90, 150, 5400, 86400, 172800)] == [
        say.NOTHING,
        "0 s",
        "42 s",
        "1.5 min",
        "2.5 min",
        "1.5 h",
        "24 h",
        "2 d",
    ]


def test_a_label_that_does_not_fit_is_cut_and_told_whole() -> None:
    long = "a bank whose name is longer than its place"
    root = read(bars(TOLD, [Bar(long, [("one", "", 1.0)], "1"), Bar("short", [("one", "", 1.0)], "1")]))
    cut, short = (each for each in root.iter("text") if each.get("class") == "label")
    assert (cut.text, cut.findtext("title")) == ("a bank whose name is…", long)
    assert (short.text, short.findtext("title")) == ("short", None)
