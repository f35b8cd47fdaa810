"""Figures as CSV: RFC 4180, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone

import pytest

from worker.review.figures.csv_text import cell, csv_text
from worker.review.figures.figures import FIGURES


def test_lines_end_with_crlf_and_what_needs_it_is_quoted() -> None:
    assert csv_text(("bank", "right"), [('a, "b"', 3), ("two\nlines", None)]) == (
        'bank,right\r\n"a, ""b""",3\r\n"two\nlines",\r\n'
    )


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula(begin: str) -> None:
    text = f"{begin}HYPERLINK(1)"
    ((read,),) = list(csv.reader(io.StringIO(csv_text(("bank",), [(text,)]), newline="")))[1:]
    assert read == f"'{text}"


def test_a_number_under_zero_is_no_formula() -> None:
    assert cell(-1) == "-1"
    assert cell(-0.5) == "-0.5"


def test_values() -> None:
    moment = datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert [cell(value) for value in (None, moment, 0.25, 100.0, 1 / 3, 1_000_000)] == [
        "",
        "2026-02-28T23:00:00Z",
        "0.25",
        "100",
        "0.3333",
        "1000000",
    ]
    assert cell(moment.astimezone(UTC)) == cell(moment)


def test_columns_are_plain_names() -> None:
    for figure in FIGURES.values():
        assert all(column.replace("_", "").isalnum() and column.islower() for column in figure.columns)
