"""What changes over time: columns, whole or stacked, and lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from worker.review.plots import axis, say
from worker.review.plots.canvas import Canvas, Told

WIDTH, HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 12, 26
_LABELS = 8
_GAP = 1.0
"""Units of ground between the parts of a column, by which they are told apart without their colours."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time, None where there is none. `kind` is the class that the style sheet colours."""

    kind: str
    label: str
    values: Sequence[float | None]


def columns(told: Told, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Counts: a column for each label, its parts stacked from below in the order of the series."""
    sums = [sum(each.values[at] or 0 for each in series) for at in range(len(labels))]
    frame = _Frame(told, labels, axis.counts(max(sums, default=0)), say.count)
    wide = min(frame.step * 0.72, 44)
    for at, label in enumerate(labels):
        left, base = frame.middle(at) - wide / 2, 0.0
        for each in series:
            value = each.values[at] or 0
            if value:
                top, bottom = frame.down(base + value), frame.down(base)
                tall = max(bottom - top - (_GAP if base else 0), 0.8)
                words = f"{label}: {each.label} {say.count(value)}"
                frame.canvas.rect(f"fill {each.kind}", (left, top, wide, tall), words)
            base += value
    return frame.canvas.markup()


def lines(told: Told, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Seconds: a line for each series, with a dot at each value and a gap where there is none."""
    values = [value for each in series for value in each.values if value is not None]
    frame = _Frame(told, labels, axis.seconds(max(values, default=0)), say.duration)
    for each in series:
        run: list[tuple[float, float]] = []
        for at, value in enumerate([*each.values, None]):
            if value is not None:
                run.append((frame.middle(at), frame.down(value)))
                continue
            if len(run) > 1:
                frame.canvas.path(f"stroke {each.kind}", run)
            run = []
        for at, value in enumerate(each.values):
            if value is not None:
                point = frame.middle(at), frame.down(value)
                words = f"{labels[at]}: {each.label} {say.duration(value)}"
                frame.canvas.dot(f"fill {each.kind}", point, 2.6 if len(labels) < 45 else 1.6, words)
    return frame.canvas.markup()


class _Frame:
    """The axes: time to the right, round numbers upwards."""

    def __init__(
        self, told: Told, labels: Sequence[str], marks: Sequence[float], words: Callable[[float], str]
    ) -> None:
        self.canvas = Canvas(told, WIDTH, HEIGHT)
        self.step = (WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
        self._most = marks[-1]
        for mark in marks:
            height = self.down(mark)
            self.canvas.line("grid" if mark else "base", (_LEFT, height), (WIDTH - _RIGHT, height))
            self.canvas.text("tick", (_LEFT - 6, height + 4), words(mark), "end")
        for at in axis.shown(labels, _LABELS):
            self.canvas.text("tick", (self.middle(at), HEIGHT - 8), labels[at], "middle")

    def middle(self, at: int) -> float:
        return _LEFT + self.step * (at + 0.5)

    def down(self, value: float) -> float:
        return HEIGHT - _BOTTOM - value / self._most * (HEIGHT - _TOP - _BOTTOM)
