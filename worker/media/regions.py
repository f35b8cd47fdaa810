"""Finds the pictures inside a picture: in borders, letterboxes, screenshots, memes, stories, collages and grids.

It only proposes rectangles; a wrong one is a view that matches nothing.
"""

from collections.abc import Iterable
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from worker.domain import Profile
from worker.media.axis import Matrix

Rectangle = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels of the luma."""
Places = npt.NDArray[np.int64]

_EDGE = 10.0
"""Grey levels between two pixels that count as an edge."""
_LEAST_SIDE = 0.17
_LEAST_LINE = 0.3
"""Share of a line that must be edge for it to be a seam."""
_NEAR = 3
_LINES = 14
_FOUND = {Profile.STANDARD: 10, Profile.THOROUGH: 28}
_FLAT = 14.0
_FLAT_SHARE = 0.97
_BUSY = 0.55
_AROUND = 16
"""Lines on either side that a seam is compared with."""
_LEAST_STEP = 0.5
"""Grey levels from line to line that any picture has."""
_BREAK = 2.0
"""How many times the step at a seam is larger than those around it."""


def rectangles(luma: Matrix, profile: Profile) -> list[Rectangle]:
    """Proposals, the likeliest first, without near-equal ones and without the whole picture."""
    height, width = luma.shape
    whole = (0, 0, height, width)
    if min(height, width) < 32:
        return []
    proposed = [_trimmed(luma, whole), *_busy(luma), *_sharp(luma), *_seamed(luma)]
    kept = _distinct(
        (each for one in proposed for each in (one, _unframed(luma, one))), whole, _FOUND[profile]
    )
    if profile is Profile.THOROUGH:
        panels = _panels(luma)
        kept = _distinct((*kept, *panels), whole, len(kept) + len(panels))
    return kept


def _distinct(proposed: Iterable[Rectangle], whole: Rectangle, limit: int) -> list[Rectangle]:
    kept: list[Rectangle] = []
    for one in proposed:
        if len(kept) == limit:
            break
        if one[2] - one[0] < _LEAST_SIDE * whole[2] or one[3] - one[1] < _LEAST_SIDE * whole[3]:
            continue
        if all(_apart(one, other) > 2 for other in (whole, *kept)):
            kept.append(one)
    return kept


def _apart(one: Rectangle, other: Rectangle) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _trimmed(luma: Matrix, within: Rectangle) -> Rectangle:
    """Without the rows and columns at the sides that are nearly of one colour, that of their side."""
    top, left, bottom, right = within
    part = luma[top:bottom, left:right]
    for _ in range(2):
        first, last = _flat_ends(part)
        top, bottom, part = top + first, bottom - last, part[first : len(part) - last]
        first, last = _flat_ends(part.T)
        left, right, part = left + first, right - last, part[:, first : part.shape[1] - last]
        if min(part.shape) < 2:
            return within
    return top, left, bottom, right


def _unframed(luma: Matrix, one: Rectangle) -> Rectangle:
    """Without its frame: a seam may be a few pixels off, so that the outermost lines show what is beyond it."""
    top, left, bottom, right = one
    inner = (top + _NEAR, left + _NEAR, bottom - _NEAR, right - _NEAR)
    if inner[2] - inner[0] < 2 or inner[3] - inner[1] < 2:
        return one
    found = _trimmed(luma, inner)
    top, left, bottom, right = (
        side if trimmed == within else trimmed
        for side, within, trimmed in zip(one, inner, found, strict=True)
    )
    return top, left, bottom, right


def _flat_ends(lines: Matrix) -> tuple[int, int]:
    """How many lines at either end are of the colour of that end."""
    if min(lines.shape) < 2:
        return 0, 0
    return _flat_end(lines), _flat_end(lines[::-1])


def _flat_end(lines: Matrix) -> int:
    """Looked at in growing blocks: mostly the first line is not flat."""
    # The median; NumPy's own takes seven times as long for one line.
    middle = [(lines.shape[1] - 1) // 2, lines.shape[1] // 2]
    colour = np.partition(lines[0], middle)[middle].mean()
    at, block = 0, 1
    while at < len(lines):
        same = np.count_nonzero(np.abs(lines[at : at + block] - colour) <= _FLAT, axis=1)
        flat = same >= _FLAT_SHARE * lines.shape[1]
        if not flat.all():
            return at + int(np.argmin(flat))
        at, block = at + block, 2 * block
    return 0


def _busy(luma: Matrix) -> list[Rectangle]:
    """The largest blocks that cover a plain background, such as the picture in a screenshot between lines of text."""
    found = []
    ring = np.concatenate([luma[:4].ravel(), luma[-4:].ravel(), luma[:, :4].ravel(), luma[:, -4:].ravel()])
    counts = np.bincount((ring / 8).astype(np.int64), minlength=32)
    for colour in np.argsort(counts)[::-1][:2]:
        if counts[colour] < 0.1 * len(ring):
            continue
        covered = np.abs(luma - (colour * 8 + 4)) > _FLAT
        for top, bottom in _runs(covered.mean(axis=1) > 0.25):
            rows = covered[top:bottom]
            for left, right in _runs(rows.mean(axis=0) > _BUSY):
                inner = covered[top:bottom, left:right].mean(axis=1) > _BUSY
                found += [(top + first, left, top + last, right) for first, last in _runs(inner)]
    return sorted(found, key=_area, reverse=True)[:4]


def _sharp(luma: Matrix) -> list[Rectangle]:
    """The block with fine detail, such as a picture over its own blurred copy."""
    fine_down = np.abs(np.diff(luma, n=2, axis=0)).mean(axis=1)
    fine_across = np.abs(np.diff(luma, n=2, axis=1)).mean(axis=0)
    found = []
    rows = _runs(fine_down > 0.3 * np.percentile(fine_down, 70))
    columns = _runs(fine_across > 0.3 * np.percentile(fine_across, 70))
    height, width = luma.shape
    for top, bottom in rows[:2]:
        found.append((top, 0, bottom + 1, width))
    for left, right in columns[:2]:
        found.append((0, left, height, right + 1))
    return found


def _runs(wanted: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of True, gaps of a few lines closed, the longest first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    runs: list[tuple[int, int]] = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if runs and start - runs[-1][1] <= _NEAR:
            runs[-1] = (runs[-1][0], int(stop))
        else:
            runs.append((int(start), int(stop)))
    return sorted(runs, key=lambda run: run[0] - run[1])[:6]


def _seamed(luma: Matrix) -> list[Rectangle]:
    """Rectangles between straight seams, by how much of their sides is edge."""
    height, width = luma.shape
    across = np.abs(np.diff(luma, axis=0)) > _EDGE
    down = np.abs(np.diff(luma, axis=1)) > _EDGE
    # Row y of the sums belongs to the seam above row y of the picture; the outer sides have none.
    row_sums = np.zeros((height + 1, width + 1), dtype=np.float32)
    row_sums[1:height, 1:] = np.cumsum(across, axis=1)
    column_sums = np.zeros((width + 1, height + 1), dtype=np.float32)
    column_sums[1:width, 1:] = np.cumsum(down, axis=0).T
    top, bottom, high = _pairs(_lines(row_sums), height)
    left, right, wide = _pairs(_lines(column_sums), width)
    sides = np.stack(
        [
            (row_sums[top][:, right] - row_sums[top][:, left]) / wide,
            (row_sums[bottom][:, right] - row_sums[bottom][:, left]) / wide,
            ((column_sums[left][:, bottom] - column_sums[left][:, top]) / high).T,
            ((column_sums[right][:, bottom] - column_sums[right][:, top]) / high).T,
        ]
    )
    # A side of the picture itself needs no seam.
    inner = np.stack(
        np.broadcast_arrays(
            *(
                np.expand_dims(one, axis)
                for one, axis in ((top > 0, 1), (bottom < height, 1), (left > 0, 0), (right < width, 0))
            )
        )
    )
    weakest = np.where(inner, sides, 1.0).min(axis=0)
    mean = np.where(inner, sides, 0.0).sum(axis=0) / np.maximum(1, inner.sum(axis=0))
    share = np.outer(high, wide) / (height * width)
    score = np.where((weakest >= _LEAST_LINE) & inner.any(axis=0), mean + 0.3 * np.sqrt(share), 0.0)
    best = np.argsort(score, axis=None)[::-1][:60]
    rows, columns = np.unravel_index(best[score.ravel()[best] > 0], score.shape)
    return [
        (int(top[row]), int(left[column]), int(bottom[row]), int(right[column]))
        for row, column in zip(rows, columns, strict=True)
    ]


def _pairs(lines: list[int], length: int) -> tuple[Places, Places, Places]:
    """First and last lines that are far enough apart, and how far."""
    pairs = np.array([pair for pair in combinations(lines, 2) if pair[1] - pair[0] >= _LEAST_SIDE * length])
    return pairs[:, 0], pairs[:, 1], pairs[:, 1] - pairs[:, 0]


def _lines(sums: npt.NDArray[np.float32]) -> list[int]:
    """The strongest seams along one axis, measured over the whole line and over parts of it; and both ends."""
    length, reach = sums.shape[0] - 1, sums.shape[1] - 1
    cuts = [0, reach // 4, reach // 3, reach // 2, 2 * reach // 3, 3 * reach // 4, reach]
    strength = np.max(
        [
            (sums[:, stop] - sums[:, start]) / (stop - start)
            for start, stop in combinations(cuts, 2)
            if stop - start >= reach // 4
        ],
        axis=0,
    )
    chosen: list[int] = []
    for at in np.argsort(strength)[::-1]:
        if strength[at] < _LEAST_LINE or len(chosen) == _LINES:
            break
        if 0 < at < length and all(abs(at - other) > _NEAR for other in chosen):
            chosen.append(int(at))
    return [0, *sorted(chosen), length]


def _panels(luma: Matrix) -> list[Rectangle]:
    """The cells of even collages (halves, thirds, quarters, three by three) between which the picture breaks off.

    A cell without a seam would be a guess that any picture with a strong shape matches sooner or later.
    """
    cells = []
    height, width = luma.shape
    across, down = np.abs(np.diff(luma, axis=0)), np.abs(np.diff(luma, axis=1)).T
    for high, wide in ((1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 3), (2, 3), (3, 2)):
        tops = [height * at // high for at in range(high + 1)]
        lefts = [width * at // wide for at in range(wide + 1)]
        for top, bottom in pairwise(tops):
            for left, right in pairwise(lefts):
                sides = [(across[:, left:right], at) for at in (top, bottom) if 0 < at < height]
                sides += [(down[:, top:bottom], at) for at in (left, right) if 0 < at < width]
                if all(_breaks(steps, at) for steps, at in sides):
                    cells.append((top, left, bottom, right))
    return cells


def _breaks(steps: Matrix, at: int) -> bool:
    """Whether the steps from line to line are larger at a line, or right beside it, than all around it."""
    around = steps[max(0, at - 1 - _AROUND) : at + _AROUND].mean(axis=1)
    seam = steps[max(0, at - 1 - _NEAR) : at + _NEAR].mean(axis=1).max()
    return bool(seam >= _BREAK * max(float(np.median(around)), _LEAST_STEP))


def _area(one: Rectangle) -> int:
    return (one[2] - one[0]) * (one[3] - one[1])
