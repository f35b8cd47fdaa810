"""The section of `docs/benchmarks.md` on `bench pipeline`, and its plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.bench.figures import HASHWARDEN, Figure
from worker.bench.pipeline import FLOOR

_AIMS = {"12 MP": 80, "mixed": 60}
"""Percent of the floor."""
_STAGES = {
    "decode_and_hash": "decode and hash, in the sandbox",
    "fetch": "fetch",
    "match": "look up",
    "write": "decide and write",
    "lease": "lease",
    "elsewhere": "elsewhere",
}
_FLOOR_COLOUR = "#969696"
_COLOURS = dict(zip(_STAGES, ("#2171b5", "#d94801", "#238b45", "#756bb1", "#fdae6b", "#d9d9d9"), strict=True))
_LEFT, _WIDE, _BAR, _STEP = 170, 560, 22, 32


class _Kind:
    """The figures of one kind of pictures."""

    def __init__(self, figures: list[Figure]) -> None:
        self._figures = figures

    def value(self, metric: str, subject: str = HASHWARDEN, **params: str) -> float:
        for each in self._figures:
            if (each.subject, each.metric) == (subject, metric) and params.items() <= each.params.items():
                return each.value
        raise KeyError(metric)


def section(report: Mapping[str, Any]) -> str:
    """The text, with the figures of `report`."""
    here = Path(__file__).parent
    lines = [(here / "pipeline_method.md").read_text(encoding="utf-8").rstrip(), ""]
    lines += ["![Milliseconds of one upload, by stage, beside the floor](pictures/pipeline.svg)", ""]
    lines += ["| pictures | uploads a second | floor | share of it | aim | |", "|---|---|---|---|---|---|"]
    kinds = _kinds(report)
    for name, kind in kinds.items():
        share, least, most = (
            kind.value("share_of_floor", statistic=each) for each in ("median", "least", "most")
        )
        verdict = "reached" if share >= _AIMS[name] else "**missed**"
        lines.append(
            f"| {name} | {kind.value('uploads_per_second'):g} | {kind.value('uploads_per_second', FLOOR):g} "
            f"| {share:g} % ({least:g} to {most:g}) | {_AIMS[name]} % | {verdict} |"
        )
    lines += ["", "| pictures | event to hold, p50 | p99 | core busy at full load |", "|---|---|---|---|"]
    for name, kind in kinds.items():
        holds = [f"{kind.value('event_to_hold', statistic=each):,.0f} ms" for each in ("p50", "p99")]
        lines.append(f"| {name} | {' | '.join(holds)} | {kind.value('core_busy'):g} % |")
    lines += ["", "Where a process that takes one upload after another is, looked at 200 times a second:", ""]
    lines += [f"| pictures | {' | '.join(_STAGES.values())} |", "|" + "---|" * (1 + len(_STAGES))]
    for name, kind in kinds.items():
        cells = [f"{kind.value('stage_share', stage=stage):g} %" for stage in _STAGES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", (here / "pipeline_why.md").read_text(encoding="utf-8").rstrip()])


def plot(report: Mapping[str, Any]) -> str:
    """An SVG: of each kind of pictures one bar for the floor and one, in stages, for a whole upload."""
    kinds = _kinds(report)
    longest = max(1000 / kind.value("uploads_per_second") for kind in kinds.values())
    height = 56 + 2 * _STEP * len(kinds) + 24
    style = 'font-family="sans-serif" font-size="11"'
    size = f'width="{_LEFT + _WIDE + 80}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>',
        f'<rect {size} fill="white"/>',
    ]
    x = 10
    for stage, title in _STAGES.items():
        parts.append(f'<rect x="{x}" y="10" width="10" height="10" fill="{_COLOURS[stage]}"/>')
        parts.append(f'<text x="{x + 14}" y="19">{title}</text>')
        x += 34 + 6 * len(title)
    y = 44
    for name, kind in kinds.items():
        floor = 1000 / kind.value("uploads_per_second", FLOOR)
        whole = 1000 / kind.value("uploads_per_second")
        parts += _bar(y, f"{name}, floor", floor, longest, {_FLOOR_COLOUR: 1.0})
        shares = {_COLOURS[stage]: kind.value("stage_share", stage=stage) / 100 for stage in _STAGES}
        parts += _bar(y + _STEP, f"{name}, whole upload", whole, longest, shares)
        y += 2 * _STEP
    return (
        "\n".join([*parts, f'<text x="{_LEFT}" y="{y + 8}">milliseconds an upload</text>', "</svg>"]) + "\n"
    )


def _bar(y: int, title: str, length: float, longest: float, shares: Mapping[str, float]) -> list[str]:
    parts = [f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{title}</text>']
    x = float(_LEFT)
    for colour, share in shares.items():
        width = _WIDE * length / longest * share
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
        x += width
    parts.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{length:.0f} ms</text>')
    return parts


def _kinds(report: Mapping[str, Any]) -> dict[str, _Kind]:
    found: dict[str, list[Figure]] = {}
    for each in report["figures"]:
        found.setdefault(each["params"]["pictures"], []).append(Figure(**each))
    return {name: _Kind(figures) for name, figures in found.items()}
