"""The section of `docs/benchmarks.md` on `bench index`, and its plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.bench.figures import HASHWARDEN, Figure
from worker.bench.subjects import FLAT, MULTIHASH

_SUBJECTS = (HASHWARDEN, FLAT, MULTIHASH)
_PER_RADIUS = (
    ("lookup_p50", "one look-up, p50"),
    ("lookup_p99", "p99"),
    ("batch_256", "256 in a call"),
    ("batch_4096", "4,096 in a call"),
)
_PER_INDEX = (
    ("build", "build"),
    ("bytes_per_hash", "bytes a hash on disk"),
    ("private_memory", "private memory"),
)


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure of ours should reach on random hashes; against a peer, how many times quicker it should be."""

    what: str
    metric: str
    hashes: int
    reach: float
    radius: int | None = None
    peer: str | None = None


AIMS = (
    Aim("one look-up, ms", "lookup_p50", 10_000_000, 0.4, 31),
    Aim("times quicker than faiss-flat", "lookup_p50", 10_000_000, 30, 31, FLAT),
    Aim("times quicker than faiss-multihash", "lookup_p50", 10_000_000, 250, 31, MULTIHASH),
    Aim("256 in a call, ms", "batch_256", 10_000_000, 60, 31),
    Aim("one look-up, ms", "lookup_p50", 1_000_000, 0.1, 31),
    Aim("one look-up at radius 40, ms", "lookup_p50", 1_000_000, 0.5, 40),
    Aim("4,096 in a call, ms", "batch_4096", 1_000_000, 250, 31),
    Aim("build, s", "build", 10_000_000, 40),
    Aim("bytes a hash", "bytes_per_hash", 10_000_000, 130),
    Aim("private memory of a worker, MB", "private_memory", 10_000_000, 50),
)


class _Table:
    """The figures by what they are of."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self._values = {
            (
                each.subject,
                each.metric,
                each.params["data"],
                each.params["hashes"],
                each.params.get("radius"),
            ): each
            for each in figures
        }
        self.data = list(dict.fromkeys(each.params["data"] for each in figures))
        self.sizes = sorted({each.params["hashes"] for each in figures})
        self.radii = sorted({each.params["radius"] for each in figures if "radius" in each.params})

    def value(
        self, subject: str, metric: str, data: str, hashes: int, radius: int | None = None
    ) -> float | None:
        figure = self._values.get((subject, metric, data, hashes, radius))
        return None if figure is None else figure.value

    def cell(self, subject: str, metric: str, data: str, hashes: int, radius: int | None = None) -> str:
        figure = self._values.get((subject, metric, data, hashes, radius))
        return "-" if figure is None else f"{_plain(figure.value)} {figure.unit}"


def section(report: Mapping[str, Any]) -> str:
    """The text, with the figures of `report`."""
    table = _table(report)
    lines = [(Path(__file__).parent / "index_method.md").read_text(encoding="utf-8").rstrip(), ""]
    lines += ["![Time of one look-up and of a build against the number of hashes](pictures/index.svg)", ""]
    lines += ["### Aims", "", "Random hashes, radius 31 unless it says otherwise.", ""]
    lines += ["| hashes | what | aim | measured | |", "|---|---|---|---|---|", *_aim_lines(table), ""]
    for data in table.data:
        lines += [f"### {data.capitalize()} hashes", ""]
        for radius in table.radii:
            header = ["hashes", "index", *(title for _, title in _PER_RADIUS), "hits a look-up"]
            lines += [f"Radius {radius}:", "", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
            for size in table.sizes:
                for subject in _SUBJECTS:
                    cells = [table.cell(subject, metric, data, size, radius) for metric, _ in _PER_RADIUS]
                    found = table.value(FLAT, "hits_per_lookup", data, size, radius)
                    if set(cells) != {"-"}:
                        shown = "-" if found is None else _plain(found)
                        lines.append(f"| {size:,} | {subject} | {' | '.join(cells)} | {shown} |")
            lines.append("")
        header = ["hashes", "index", *(title for _, title in _PER_INDEX)]
        lines += [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
        for size in table.sizes:
            for subject in _SUBJECTS:
                cells = [table.cell(subject, metric, data, size) for metric, _ in _PER_INDEX]
                if set(cells) != {"-"}:
                    lines.append(f"| {size:,} | {subject} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _aim_lines(table: _Table) -> list[str]:
    lines = []
    for aim in AIMS:
        ours = table.value(HASHWARDEN, aim.metric, "random", aim.hashes, aim.radius)
        if ours is None:
            continue
        if aim.peer is None:
            measured, reached, bound = ours, ours <= aim.reach, "at most"
        else:
            theirs = table.value(aim.peer, aim.metric, "random", aim.hashes, aim.radius)
            if theirs is None:
                continue
            measured = theirs / ours
            reached, bound = measured >= aim.reach, "at least"
        verdict = "reached" if reached else "**missed**"
        lines.append(
            f"| {aim.hashes:,} | {aim.what} | {bound} {aim.reach:g} | {_plain(measured)} | {verdict} |"
        )
    return lines


_COLOURS = {HASHWARDEN: "#2171b5", FLAT: "#d94801", MULTIHASH: "#756bb1"}
_WIDE, _HIGH, _LEFT, _TOP, _GAP = 340, 260, 60, 46, 90


def plot(report: Mapping[str, Any]) -> str:
    """An SVG of look-up and build time against size, both axes logarithmic; clustered data is dashed."""
    table = _table(report)
    width, height = 2 * (_LEFT + _WIDE) + _GAP - _LEFT, _TOP + _HIGH + 50
    style = 'font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {style}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, subject in enumerate(_SUBJECTS):
        x = _LEFT + number * 130
        parts.append(f'<text x="{x}" y="16" fill="{_COLOURS[subject]}">{subject}</text>')
    parts.append(f'<text x="{_LEFT + 3 * 130}" y="16">solid: random, dashed: clustered</text>')
    radius = table.radii[0]
    panels = (
        (f"one look-up at radius {radius}, p50, ms", "lookup_p50", radius),
        ("build, s", "build", None),
    )
    for number, (title, metric, at) in enumerate(panels):
        parts += _panel(table, _LEFT + number * (_WIDE + _GAP), title, metric, at)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(table: _Table, left: int, title: str, metric: str, radius: int | None) -> list[str]:
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for subject in _SUBJECTS:
        for data in table.data:
            for size in table.sizes:
                value = table.value(subject, metric, data, size, radius)
                if value:
                    lines.setdefault((subject, data), []).append((math.log10(size), math.log10(value)))
    values = [y for points in lines.values() for _, y in points]
    low, high = math.floor(min(values)), math.ceil(max(values))
    first, last = math.log10(table.sizes[0]), math.log10(table.sizes[-1])

    def x_of(size: float) -> float:
        return left + _WIDE * (size - first) / (last - first or 1)

    def y_of(value: float) -> float:
        return _TOP + _HIGH * (high - value) / (high - low or 1)

    parts = [f'<text x="{left}" y="{_TOP - 10}">{title}</text>']
    for power in range(low, high + 1):
        y = f"{y_of(power):.1f}"
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + _WIDE}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y}" dy="4" text-anchor="end">{10.0**power:g}</text>')
    for size in table.sizes:
        x = f"{x_of(math.log10(size)):.1f}"
        parts.append(f'<line x1="{x}" y1="{_TOP}" x2="{x}" y2="{_TOP + _HIGH}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{_TOP + _HIGH + 18}" text-anchor="middle">{size:,}</text>')
    for (subject, data), points in lines.items():
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        dash = "" if data == table.data[0] else ' stroke-dasharray="5 4"'
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[subject]}" stroke-width="2"{dash}/>'
        )
    return parts


def _table(report: Mapping[str, Any]) -> _Table:
    return _Table([Figure(**each) for each in report["figures"]])


def _plain(value: float) -> str:
    """At least three digits that count, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
