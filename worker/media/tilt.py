"""Views that set a slightly turned or slanted copy straight: small rotations and keystone."""

import numpy as np

from worker.domain import Placement, Profile
from worker.media.canvas import Canvas, Numbers, coefficients
from worker.media.edited import Batch

_ANGLES = {
    Profile.STANDARD: tuple(sign * at for at in (1.0, 2.0, 3.0) for sign in (-1, 1)),
    Profile.THOROUGH: tuple(sign * at for at in (1.3, 2.7, 4.2, 5.8, 7.5, 9.7) for sign in (-1, 1)),
}
_SLANTS = {Profile.STANDARD: (), Profile.THOROUGH: (-0.05, 0.05)}
_SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
"""Corners as (down, across), clockwise from the top left."""


def straightened(canvas: Canvas, aspect: float, quality: int, profile: Profile) -> list[Batch]:
    """Views at small angles in both directions and, when thorough, slants; `aspect` is width over height."""
    batches = []
    for mirrored in (False, True):
        corners = _corners(aspect, Profile.STANDARD if mirrored else profile)
        if mirrored:
            corners = corners[:, [1, 0, 3, 2]]
        count = len(corners)
        name = "straightened_flip_horizontal" if mirrored else "straightened"
        found = coefficients(canvas.tiles(corners, np.zeros((count, 2), dtype=np.int64)))
        placements = [Placement(tuple(each)) for each in corners.reshape(-1, 8).tolist()]
        batches.append(Batch(found, [name] * count, placements, [quality] * count))
    return batches


def _corners(aspect: float, profile: Profile) -> Numbers:
    """Where the original's corners lie in the copy, for each view: n x 4 x 2."""
    views = []
    for degrees in _ANGLES[profile]:
        views += [_turned(degrees, *frame) for frame in _frames(aspect, degrees)]
    for slant in _SLANTS[profile]:
        views += _slanted(slant)
    return np.asarray(views)


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


def _turned(degrees: float, width: float, height: float, aspect: float) -> Numbers:
    turn = np.radians(degrees)
    y, x = ((_SQUARE - 0.5) * (height, width)).T
    down = 0.5 + x * np.sin(turn) + y * np.cos(turn)
    across = 0.5 + (x * np.cos(turn) - y * np.sin(turn)) / aspect
    return np.stack([down, across], axis=1)


def _slanted(slant: float) -> list[Numbers]:
    """One side shorter, for each side; two neighbouring sides; one corner moved. Negative: what stood out was cut."""
    moved = np.array([slant, -slant])
    corners = []
    for side in range(4):
        quad = _SQUARE.copy()
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
    return [*corners, *both, *single]
