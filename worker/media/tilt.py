"""Views that set a slightly turned or slanted copy straight: small rotations and keystone, sampled point by point.

The picture is blurred once; each view is 64 x 64 points of it, found through the view's map.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from worker.domain import Profile
from worker.media.axis import GRID, SIDE, Matrix, cosine
from worker.media.edited import WHOLE, Batch

Points = npt.NDArray[np.float32]
"""n x 2 x 64 x 64: down and across, as fractions of the picture."""

_ANGLES = {
    Profile.STANDARD: tuple(sign * at for at in (1.0, 2.0, 3.0) for sign in (-1, 1)),
    Profile.THOROUGH: tuple(sign * at * 0.6 for at in range(1, 13) for sign in (-1, 1)),
}
_SLANTS = {Profile.STANDARD: (), Profile.THOROUGH: (-0.06, -0.03, 0.03, 0.06)}
# PDQ's windows are of even width: it samples this far off the middle of a cell, in pixels of 512.
_OFF_CENTRE = 1.5


def straightened(blurred: Matrix, aspect: float, quality: int, profile: Profile) -> list[Batch]:
    """Views at small angles in both directions and, when thorough, slants; `aspect` is width over height.

    `blurred` is the luma under PDQ's blur, from `centred_blur`.
    """
    batches = []
    for mirrored in (False, True):
        points = _points(round(aspect, 2), Profile.STANDARD if mirrored else profile, mirrored=mirrored)
        tiles = _sampled(blurred, points)
        coefficients = cosine() @ tiles @ cosine().T
        name = "straightened_flip_horizontal" if mirrored else "straightened"
        count = len(points)
        batches.append(Batch(coefficients, [name] * count, [WHOLE] * count, [quality] * count))
    return batches


def _sampled(blurred: Matrix, points: Points) -> npt.NDArray[np.float32]:
    height, width = blurred.shape
    down = np.clip(points[:, 0] * height - 0.5, 0, height - 1)
    across = np.clip(points[:, 1] * width - 0.5, 0, width - 1)
    top, left = np.minimum(down.astype(np.int32), height - 2), np.minimum(across.astype(np.int32), width - 2)
    below, right = down - top, across - left
    flat = blurred.ravel()
    at = top * width + left
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + width] * (1 - right) + flat[at + width + 1] * right
    return np.asarray(upper * (1 - below) + lower * below, dtype=np.float32)


@lru_cache(maxsize=8)
def _points(aspect: float, profile: Profile, *, mirrored: bool) -> Points:
    """Where the points of each view lie in the picture."""
    centres = ((np.arange(GRID) + 0.5) * (SIDE / GRID) + _OFF_CENTRE) / SIDE
    down, across = np.meshgrid(centres, 1 - centres if mirrored else centres, indexing="ij")
    views = []
    for degrees in _ANGLES[profile]:
        views += [_turned(down, across, degrees, *frame) for frame in _frames(aspect, degrees)]
    for slant in _SLANTS[profile]:
        views += _slanted(down, across, slant)
    return np.asarray(views, dtype=np.float32)


def _frames(aspect: float, degrees: float) -> list[tuple[float, float, float]]:
    """The original's width and height in units of the copy's height, for three ways to turn a picture, and `aspect`.

    The canvas grew so that nothing was lost; the canvas stayed; the picture was cropped so that no corner is empty.
    """
    cosine_, sine = np.cos(np.radians(degrees)), abs(np.sin(np.radians(degrees)))
    both = cosine_**2 - sine**2
    grown = (aspect * cosine_ - sine) / both, (cosine_ - aspect * sine) / both
    zoom = cosine_ + sine * max(aspect, 1 / aspect)
    return [
        (width, height, aspect)
        for width, height in (grown, (aspect, 1.0), (aspect * zoom, zoom))
        if width > 0 and height > 0
    ]


def _turned(
    down: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
    degrees: float,
    width: float,
    height: float,
    aspect: float,
) -> list[npt.NDArray[np.float64]]:
    turn = np.radians(degrees)
    x, y = (across - 0.5) * width, (down - 0.5) * height
    return [
        0.5 + x * np.sin(turn) + y * np.cos(turn),
        0.5 + (x * np.cos(turn) - y * np.sin(turn)) / aspect,
    ]


def _slanted(
    down: npt.NDArray[np.float64], across: npt.NDArray[np.float64], slant: float
) -> list[list[npt.NDArray[np.float64]]]:
    """One side shorter, for each side; two neighbouring sides; one corner moved. Negative: what stood out was cut."""
    moved = np.array([slant, -slant])
    corners = []
    for side in range(4):
        quad = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
        one, other = side, (side + 1) % 4
        along = 1 if side in {0, 2} else 0
        order = moved if side in {0, 1} else moved[::-1]
        quad[one, along] += order[0]
        quad[other, along] += order[1]
        corners.append(quad)
    both = [corners[0] + corners[other] - _SQUARE for other in (1, 3)]
    both += [corners[2] + corners[other] - _SQUARE for other in (1, 3)]
    single = []
    for corner in range(4):
        quad = _SQUARE.copy()
        quad[corner] += slant * (1 - 2 * _SQUARE[corner])
        single.append(quad)
    return [_projected(quad, down, across) for quad in (*corners, *both, *single)]


_SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
"""Corners as (down, across), clockwise from the top left."""


def _projected(
    quad: npt.NDArray[np.float64], down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.float64]]:
    """The unit square's points through the projection that takes its corners to `quad`."""
    rows, values = [], []
    for (v, u), (y, x) in zip(_SQUARE, quad, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -u * x, -v * x], [0, 0, 0, u, v, 1, -u * y, -v * y]]
        values += [x, y]
    a, b, c, d, e, f, g, h = np.linalg.solve(np.array(rows), np.array(values))
    scale = g * across + h * down + 1
    return [(d * across + e * down + f) / scale, (a * across + b * down + c) / scale]
