"""What stands side by side: bars, whole or in parts, and shares with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from worker.review.plots import say
from worker.review.plots.canvas import Canvas, Told

WIDTH, ROW = 560, 28
_LABEL, _SAID = 150, 112
"""Units for the label on the left and for the words on the right."""
_MOST_SIGNS = 22
"""Of a label: more does not fit."""
_BAR = 14
_DOT = 5
_AXIS = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its parts as class, label and value from the left, and what is written at its end."""

    label: str
    parts: Sequence[tuple[str, str, float]]
    said: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A share in [0, 1] with its interval; None where nothing was counted. `few`: too little to say much."""

    label: str
    share: float | None
    low: float | None
    high: float | None
    few: bool
    said: str


def bars(told: Told, rows: Sequence[Bar]) -> Markup:
    """One bar below the other, on one scale from nothing to the longest."""
    longest = max((sum(part[2] for part in row.parts) for row in rows), default=0) or 1
    canvas = Canvas(told, WIDTH, ROW * len(rows) + 4)
    room = WIDTH - _LABEL - _SAID
    for at, row in enumerate(rows):
        middle = ROW * at + ROW / 2 + 2
        canvas.text("label", (_LABEL - 10, middle + 4), row.label, "end", _MOST_SIGNS)
        canvas.rect("track", (_LABEL, middle - _BAR / 2, room, _BAR), round=2)
        left = float(_LABEL)
        for kind, label, value in row.parts:
            if value:
                wide = max(value / longest * room, 1.5)
                words = f"{row.label}: {label} {row.said}" if len(row.parts) == 1 else f"{row.label}: {label}"
                canvas.rect(f"fill {kind}", (left, middle - _BAR / 2, wide - 1, _BAR), words)
                left += wide
        canvas.text("said", (WIDTH - _SAID + 10, middle + 4), row.said)
    return canvas.markup()


def intervals(told: Told, rows: Sequence[Interval]) -> Markup:
    """A dot for each share with a line over its interval, on a scale from 0 to 100 %."""
    height = ROW * len(rows)
    canvas = Canvas(told, WIDTH, height + _AXIS)
    room = WIDTH - _LABEL - _SAID - 6

    def across(share: float) -> float:
        return _LABEL + share * room

    for share in (0, 0.25, 0.5, 0.75, 1):
        canvas.line("grid" if share else "base", (across(share), 4), (across(share), height))
        canvas.text("tick", (across(share), height + 16), f"{share:.0%}", "middle")
    for at, row in enumerate(rows):
        middle = ROW * at + ROW / 2
        few = " few" if row.few else ""
        canvas.text(f"label{few}", (_LABEL - 10, middle + 4), row.label, "end", _MOST_SIGNS)
        if row.share is not None and row.low is not None and row.high is not None:
            canvas.rect(
                f"span{few}", (across(row.low), middle - 4, across(row.high) - across(row.low), 8), round=4
            )
            words = f"{row.label}: {say.interval(row.share, row.low, row.high)}"
            canvas.dot(f"share{few}", (across(row.share), middle), _DOT, words)
        canvas.text(f"said{few}", (WIDTH - _SAID + 10, middle + 4), row.said)
    return canvas.markup()
