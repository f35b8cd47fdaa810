"""Views of pictures that lie a few degrees turned inside a picture: a print on a table, a screen held up to a camera.

Seams are straight lines of edge. At the angle of a frame the edges along its sides fall into few lines, at others they
are smeared over many; the picture is turned to such an angle and then searched for frames as any other.
"""

import numpy as np

from worker.domain import Placement, Profile
from worker.media.axis import Matrix
from worker.media.canvas import Canvas, Numbers, coefficients
from worker.media.edited import Batch, tile_quality
from worker.media.page import is_page
from worker.media.regions import Rectangle, rectangles
from worker.media.views import view_name

_ANGLES = tuple(sign * at / 2 for at in range(1, 17) for sign in (-1, 1))
"""Degrees at which frames are looked for."""
_TRIED = 2
_APART = 1.5
"""Degrees between two angles that are tried."""
_EDGE = 10.0
"""Grey levels between two pixels that count as an edge."""
_LEAST_SEAMS = 0.6
"""Of a side: how much more edge than their neighbours the two best lines of each direction have in all."""
_CONTRAST = 2.0
"""How much more that must be than at the middle angle."""
_LEAST_QUALITY = 50
_MIRRORS = ("", "flip_horizontal")


def prints(luma: Matrix, canvas: Canvas, aspect: float) -> list[Batch]:
    """Upright and mirrored views of the likeliest frames at the likeliest angles; `aspect` is width over height."""
    batches = []
    for degrees in _likely_angles(luma, aspect):
        proposed = rectangles(_turned(luma, degrees, aspect), Profile.STANDARD)
        upright = np.array([_corners(one, luma.shape, degrees, aspect) for one in proposed]).reshape(-1, 4, 2)
        for mirror in _MIRRORS:
            corners = upright[:, [1, 0, 3, 2]] if mirror else upright
            tiles = canvas.tiles(corners, np.zeros((len(corners), 2), dtype=np.int64))
            qualities = [0 if is_page(tile) else tile_quality(tile) for tile in tiles]
            good = [at for at, quality in enumerate(qualities) if quality >= _LEAST_QUALITY]
            batches.append(
                Batch(
                    coefficients(tiles[good]),
                    [view_name("straightened", mirror)] * len(good),
                    [Placement(tuple(each)) for each in corners[good].reshape(-1, 8).tolist()],
                    [qualities[at] for at in good],
                )
            )
    return batches


def _likely_angles(luma: Matrix, aspect: float) -> list[float]:
    """Degrees, clockwise, at which edges fall into straight lines; none where no angle stands out."""
    high, wide = luma.shape
    stretch = aspect * high / wide
    # Every second pixel tells as much.
    edges = [np.nonzero((np.abs(np.diff(luma, axis=axis)) > _EDGE)[::2, ::2]) for axis in (0, 1)]
    (down, along), (beside, across) = edges[0], edges[1]
    seams = []
    for degrees in _ANGLES:
        slope = np.tan(np.radians(degrees))
        lying = down - along * slope * stretch
        standing = across + beside * slope / stretch
        seams.append(_two_best(lying) / wide * 2 + _two_best(standing) / high * 2)
    chosen: list[float] = []
    for at in np.argsort(seams)[::-1]:
        if seams[at] < max(_LEAST_SEAMS, _CONTRAST * np.median(seams)) or len(chosen) == _TRIED:
            break
        if all(abs(_ANGLES[at] - other) >= _APART for other in chosen):
            chosen.append(_ANGLES[at])
    return chosen


def _two_best(places: Numbers) -> float:
    """How many more edges than those around them the two fullest lines have."""
    if not len(places):
        return 0.0
    lines = np.bincount(np.round(places - places.min()).astype(np.int64), minlength=16).astype(np.float64)
    around = np.convolve(lines, np.full(9, 1 / 9), "same")
    return float(np.sort(lines - around)[-2:].clip(0).sum())


def _turned(luma: Matrix, degrees: float, aspect: float) -> Matrix:
    """The picture turned back about its middle; its outermost pixels repeated where it ends."""
    high, wide = luma.shape
    y, x = np.meshgrid((np.arange(high) + 0.5) / high, (np.arange(wide) + 0.5) / wide, indexing="ij")
    down, across = _place(y, x, degrees, aspect)
    rows = np.clip((down * high).astype(np.int64), 0, high - 1)
    return np.asarray(luma[rows, np.clip((across * wide).astype(np.int64), 0, wide - 1)])


def _place(y: Numbers, x: Numbers, degrees: float, aspect: float) -> tuple[Numbers, Numbers]:
    """Where in the upload a point of the turned picture lies, all as fractions of the sides."""
    turn = np.radians(degrees)
    below, beside = y - 0.5, (x - 0.5) * aspect
    return (
        0.5 + beside * np.sin(turn) + below * np.cos(turn),
        0.5 + (beside * np.cos(turn) - below * np.sin(turn)) / aspect,
    )


def _corners(one: Rectangle, shape: tuple[int, ...], degrees: float, aspect: float) -> Numbers:
    """The corners of a rectangle of the turned picture in the upload: 4 x 2, clockwise from the top left."""
    top, left, bottom, right = one
    y = np.array([top, top, bottom, bottom]) / shape[0]
    x = np.array([left, right, right, left]) / shape[1]
    return np.stack(_place(y, x, degrees, aspect), axis=1)
