"""The blurred picture as a canvas on which a view may lie anywhere: turned, slanted, or reaching outside it.

A view's 64 x 64 points are found through the projection of its corners; nothing is resized.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from worker.media.axis import GRID, SIDE, Matrix, continued, cosine

Numbers = npt.NDArray[np.float64]

SOFT, EDGE, MIRROR = range(3)
"""How what lies outside the picture is guessed, along each axis; see `axis.RIMS`."""
RIMS = 3

_REACH = 0.35
"""Of the picture's side: how far outside it its rim is continued."""
_MORE = 24
"""Lines by which the canvas grows beyond those that are needed now."""
_AT_A_TIME = 16
"""Views whose points are found together: those of more do not stay in the nearer caches."""
_FULL_SHADE = 0.1
"""Of the picture's side: how far outside it a shade is fully there."""
_OFF_CENTRE = 1.5
"""PDQ's windows are of even width: it samples this far off the middle of a cell, in pixels of 512."""


class Canvas:
    """The blurred picture, continued on all sides by ever wider averages of its rim, as far as views need it."""

    def __init__(self, blurred: Matrix) -> None:
        self._blurred = self._luma = blurred
        self._margins = [0, 0]

    def tiles(
        self, corners: Numbers, rims: npt.NDArray[np.int64], shades: Numbers | None = None
    ) -> npt.NDArray[np.float32]:
        """The 64 x 64 blurred samples of each placement: n x 4 x 2 corners (down, across), n x 2 rims.

        `shades`, n x 4 x 2, make what lies outside the picture lighter or darker, by side (top, bottom, left, right):
        all of it, and from one end of the side to the other; in standard deviations of the tile.
        """
        tiles = np.empty((len(corners), GRID, GRID), dtype=np.float32)
        for at in range(0, len(corners), _AT_A_TIME):
            part = slice(at, at + _AT_A_TIME)
            points = _points(corners[part])
            tiles[part] = self._sampled(points, rims[part])
            if shades is not None and shades[part].any():
                spread = tiles[part].std(axis=(1, 2), keepdims=True)
                tiles[part] += spread * _shade(points, shades[part])
        return tiles

    def _sampled(self, points: Numbers, rims: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        lines = []
        for axis, length in enumerate(self._blurred.shape):
            place = points[:, axis].copy()
            edge, mirror = rims[:, axis] == EDGE, rims[:, axis] == MIRROR
            place[edge] = np.clip(place[edge], 0, 1)
            place[mirror] = 1 - np.abs(1 - np.abs(place[mirror]))
            furthest = _furthest(length)
            # Whole numbers first: a seed without a width has no place, which no bound would catch.
            line = np.floor(place * length).astype(np.int64)
            lines.append(np.clip(line, -furthest, length + furthest - 1, out=line))
        self._reach(lines)
        down, across = lines
        down += self._margins[0]
        down *= self._luma.shape[1]
        down += across
        down += self._margins[1]
        return np.asarray(self._luma.ravel()[down])

    def _reach(self, lines: list[npt.NDArray[np.int64]]) -> None:
        """Continue the picture as far as these lines lie outside it."""
        wanted = []
        for margin, line, length in zip(self._margins, lines, self._blurred.shape, strict=True):
            outside = max(-int(line.min(initial=0)), int(line.max(initial=0)) - length + 1)
            # More than is needed now: the next views will lie further out.
            wanted.append(margin if outside <= margin else min(_furthest(length), outside + _MORE))
        if wanted == self._margins:
            return
        self._margins = wanted
        down, across = wanted
        height, width = self._blurred.shape
        self._luma = np.empty((height + 2 * down, width + 2 * across), dtype=np.float32)
        self._luma[down : down + height, across : across + width] = self._blurred
        _continue(self._luma[:, across : across + width], down)
        _continue(self._luma.T, across)


def _furthest(length: int) -> int:
    return round(_REACH * length)


def _continue(canvas: Matrix, margin: int) -> None:
    """Fill the margins before the first and after the last of the picture's lines."""
    picture = canvas[margin : len(canvas) - margin]
    canvas[:margin] = continued(picture, margin)
    canvas[len(canvas) - margin :] = continued(picture[::-1], margin)[::-1]


def _shade(points: Numbers, shades: Numbers) -> npt.NDArray[np.float32]:
    """n x 64 x 64: nothing inside the picture, growing to the full shade outside it."""
    found = np.zeros((len(points), GRID, GRID), dtype=np.float32)
    for axis in (0, 1):
        along = 2 * points[:, 1 - axis] - 1
        for side, outside in enumerate((-points[:, axis], points[:, axis] - 1)):
            # Most views are not shaded at a side, or do not reach beyond it.
            shaded = shades[:, 2 * axis + side].any(axis=1) & (outside.max(axis=(1, 2)) > 0)
            even, slope = shades[shaded, 2 * axis + side].T[..., np.newaxis, np.newaxis]
            found[shaded] += np.clip(outside[shaded] / _FULL_SHADE, 0, 1) * (even + slope * along[shaded])
    return found


@lru_cache(maxsize=1)
def _grid() -> Numbers:
    return ((np.arange(GRID) + 0.5) * (SIDE / GRID) + _OFF_CENTRE) / SIDE


def _points(corners: Numbers) -> Numbers:
    """n x 2 x 64 x 64: where the samples of each placement lie, by the projection that takes the unit square to it.

    Corners go clockwise from the original's top left (Heckbert, "Fundamentals of Texture Mapping", 1989, 2.2.3).
    """
    grid = _grid()
    down, across = grid[:, np.newaxis], grid
    first, second, third, fourth = (corners[:, at] for at in range(4))
    one, two, rest = second - third, fourth - third, first - second + third - fourth
    scale = one[:, 1] * two[:, 0] - two[:, 1] * one[:, 0]
    scale = np.where(np.abs(scale) < 1e-9, 1e-9, scale)
    g = (rest[:, 1] * two[:, 0] - two[:, 1] * rest[:, 0]) / scale
    h = (one[:, 1] * rest[:, 0] - rest[:, 1] * one[:, 0]) / scale
    along = second - first + g[:, np.newaxis] * second
    below = fourth - first + h[:, np.newaxis] * fourth
    depth = g[:, np.newaxis, np.newaxis] * across + (h[:, np.newaxis, np.newaxis] * down + 1)
    np.maximum(depth, 0.1, out=depth)
    wide = [part[:, :, np.newaxis, np.newaxis] for part in (along, below, first)]
    # A row and a column are added: only their sum is of the full size.
    points = wide[0] * across + (wide[1] * down + wide[2])
    points /= depth[:, np.newaxis]
    return np.asarray(points)


def coefficients(tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """PDQ's 16 x 16 frequencies of each 64 x 64 tile."""
    across = (tiles.reshape(-1, GRID) @ cosine().T).reshape(len(tiles), GRID, -1)
    return np.asarray(cosine() @ across)
