"""Puts the accuracy benchmark's figures into rows, a plot, and the page `docs/accuracy.md`.

Usage: python -m worker.bench.report docs/data/accuracy.json docs/accuracy.md docs/pictures/accuracy.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.bench.figures import HASHWARDEN, THREATEXCHANGE, Figure

_WEAK = 0.5
_LEGEND = "share of copies found: dark within 31 bits, light within 40, line python-threatexchange"
_PROFILES = ("plain", "standard", "thorough")

Row = tuple[str, str, str, str, str, str]
"""Edit, which photographs, profile, share within the first and the wider radius, the peer's share."""


def accuracy_rows(figures: Sequence[Figure]) -> list[Row]:
    """One row for each edit and profile, tuned and held out together, the weakest first; then the means."""
    rows = []
    for profile in _profiles(figures):
        shares = {edit: _share(figures, profile, edits=[edit]) for edit in _edits(figures)}
        for edit, (near, wide) in sorted(shares.items(), key=lambda each: (each[1], each[0])):
            peer = _peer(figures, [edit])
            rows.append((edit, "all", profile, f"{near:.2f}", f"{wide:.2f}", f"{peer:.2f}"))
        for held_out, which in ((None, "all"), (False, "tuned on"), (True, "held out")):
            near, wide = _mean(figures, profile, held_out=held_out)
            rows.append(("mean", which, profile, f"{near:.3f}", f"{wide:.3f}", f"{_peer(figures):.3f}"))
    return rows


def _recalls(figures: Sequence[Figure], subject: str) -> list[Figure]:
    return [each for each in figures if (each.subject, each.metric) == (subject, "recall")]


def _profiles(figures: Sequence[Figure]) -> list[str]:
    met = {each.params["profile"] for each in _recalls(figures, HASHWARDEN)}
    return [profile for profile in _PROFILES if profile in met]


def _edits(figures: Sequence[Figure]) -> list[str]:
    return list(dict.fromkeys(each.params["edit"] for each in _recalls(figures, HASHWARDEN)))


def _weighed(figures: Sequence[Figure]) -> float:
    copies = sum(each.params["copies"] for each in figures)
    return sum(each.value * each.params["copies"] for each in figures) / copies if copies else 0.0


def _share(
    figures: Sequence[Figure], profile: str, edits: Sequence[str], *, held_out: bool | None = None
) -> tuple[float, float]:
    """The shares of copies found within the smaller and the larger radius."""
    chosen = [
        each
        for each in _recalls(figures, HASHWARDEN)
        if each.params["profile"] == profile
        and each.params["edit"] in edits
        and held_out in {None, each.params["held_out"]}
    ]
    radii = sorted({each.params["radius"] for each in chosen})
    near, wide = (_weighed([each for each in chosen if each.params["radius"] == radius]) for radius in radii)
    return near, wide


def _mean(figures: Sequence[Figure], profile: str, *, held_out: bool | None = None) -> tuple[float, float]:
    """The means over edits, each of which counts the same."""
    edits = [
        edit
        for edit in _edits(figures)
        if any(
            each.params["edit"] == edit and held_out in {None, each.params["held_out"]}
            for each in _recalls(figures, HASHWARDEN)
        )
    ]
    if not edits:
        return 0.0, 0.0
    shares = [_share(figures, profile, [edit], held_out=held_out) for edit in edits]
    return sum(near for near, _ in shares) / len(edits), sum(wide for _, wide in shares) / len(edits)


def _peer(figures: Sequence[Figure], edits: Sequence[str] | None = None) -> float:
    peers = _recalls(figures, THREATEXCHANGE)
    names = edits or list(dict.fromkeys(each.params["edit"] for each in peers))
    shares = [_weighed([each for each in peers if each.params["edit"] == edit]) for edit in names]
    return sum(shares) / len(shares) if shares else 0.0


def page(report: Mapping[str, Any]) -> str:
    """The text of `docs/accuracy.md`."""
    figures = [Figure(**each) for each in report["figures"]]
    text = (Path(__file__).parent / "accuracy_method.md").read_text(encoding="utf-8")
    lines = [text.rstrip(), "", "## Means", ""]
    lines += ["| profile | copies | within 31 bits | within 40 bits |", "|---|---|---|---|"]
    lines.append(f"| python-threatexchange | all | {_peer(figures):.3f} | |")
    for profile in _profiles(figures):
        for held_out, which in ((None, "all"), (False, "tuned on"), (True, "held out")):
            near, wide = _mean(figures, profile, held_out=held_out)
            lines.append(f"| {profile} | {which} | {near:.3f} | {wide:.3f} |")
    best = _profiles(figures)[-1]
    shares = {edit: _share(figures, best, [edit]) for edit in _edits(figures)}
    weak = sorted((wide, near, edit) for edit, (near, wide) in shares.items() if wide < 0.9)
    lines += ["", "## Weak spots", ""]
    if weak:
        lines.append(f"Edits of which profile {best} finds fewer than nine in ten within 40 bits:")
        lines.append("")
        lines += [f"- `{edit}`: {near:.2f} within 31, {wide:.2f} within 40" for wide, near, edit in weak]
    count = sum(wide < _WEAK for wide, _ in ((wide, near) for near, wide in shares.values()))
    lines += ["", f"Edits under {_WEAK} within 40 bits: {count}.", "", "## False matches", ""]
    lines += [
        "| profile | uploads looked up | among hashes | matched something else | what |",
        "|---|---|---|---|---|",
    ]
    for each in figures:
        if each.metric == "false_matches":
            pairs = "; ".join(each.params["pairs"]) or "-"
            about = each.params
            crops = sum(": crop of " in pair for pair in about["pairs"])
            counted = f"{each.value - crops:.0f} | {crops}"
            lines.append(
                f"| {about['profile']} | {about['looked_up']} | {about['bank']} | {counted} | {pairs} |"
            )
    lines += [
        "",
        *_scene_lines(figures),
        "## Every edit",
        "",
        "![Recall of each edit](pictures/accuracy.svg)",
        "",
    ]
    header = ["edit", "threatexchange", *(f"{profile} 31 / 40" for profile in _profiles(figures))]
    lines += [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for edit in sorted(shares, key=lambda name: (shares[name], name)):
        cells = [f"`{edit}`", f"{_peer(figures, [edit]):.2f}"]
        for profile in _profiles(figures):
            near, wide = _share(figures, profile, [edit])
            cells.append(f"{near:.2f} / {wide:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _scene_lines(figures: Sequence[Figure]) -> list[str]:
    """How often another moment of a video shot is taken for the one in the bank."""
    found = [each for each in figures if each.metric == "same_scene"]
    if not found:
        return []
    lines = [
        "## Near-identical scenes",
        "",
        "Two moments of one video shot, the earlier in the bank, the later uploaded. A retouched copy and the next",
        "shot of a burst differ by as much, so these are no errors of the search; a reviewer has to tell them apart.",
        "",
        "| profile | seconds between | pairs | within 31 bits | within 40 bits |",
        "|---|---|---|---|---|",
    ]
    by_case: dict[tuple[str, float], dict[int, Figure]] = {}
    for each in found:
        case = by_case.setdefault((each.params["profile"], each.params["seconds"]), {})
        case[each.params["radius"]] = each
    for (profile, seconds), radii in by_case.items():
        near, wide = (radii[radius] for radius in sorted(radii))
        pairs = near.params["pairs"]
        lines.append(f"| {profile} | {seconds:.0f} | {pairs} | {near.value:.2f} | {wide.value:.2f} |")
    return [*lines, ""]


def plot(report: Mapping[str, Any]) -> str:
    """An SVG of the recall of every edit: the peer, and the most thorough profile at both radii."""
    figures = [Figure(**each) for each in report["figures"]]
    best = _profiles(figures)[-1]
    shares = {edit: _share(figures, best, [edit]) for edit in _edits(figures)}
    order = sorted(shares, key=lambda name: (shares[name], name))
    line, left, wide = 17, 190, 460
    height = line * len(order) + 60
    style = 'font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 30}" height="{height}" {style}>',
        f'<rect width="{left + wide + 30}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="16">{_LEGEND}</text>',
    ]
    for tenth in range(0, 11, 2):
        x = left + wide * tenth / 10
        parts.append(f'<line x1="{x}" y1="26" x2="{x}" y2="{height - 24}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{height - 8}" text-anchor="middle">{tenth / 10:.1f}</text>')
    for at, edit in enumerate(order):
        y = 30 + at * line
        near, wider = shares[edit]
        peer = left + wide * _peer(figures, [edit])
        parts += [
            f'<text x="{left - 6}" y="{y + 10}" text-anchor="end">{edit}</text>',
            f'<rect x="{left}" y="{y}" width="{wide * wider:.1f}" height="12" fill="#9ecae1"/>',
            f'<rect x="{left}" y="{y}" width="{wide * near:.1f}" height="12" fill="#2171b5"/>',
            f'<line x1="{peer:.1f}" y1="{y - 1}" x2="{peer:.1f}" y2="{y + 13}" stroke="#d94801" stroke-width="2.5"/>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(data: str, document: str, picture: str) -> None:
    report = json.loads(Path(data).read_text(encoding="utf-8"))
    Path(document).write_text(page(report), encoding="utf-8")
    Path(picture).write_text(plot(report), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
