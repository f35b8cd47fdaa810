"""Views of the pictures found inside a picture, in all turns, and of those that were cropped to fit."""

import numpy as np

from worker.domain import Profile, Region
from worker.media.axis import COEFFICIENTS, GRID, Matrix, transform
from worker.media.dihedral import CORNERS, TURNS
from worker.media.edited import Batch, placed, tile_quality
from worker.media.page import is_page
from worker.media.regions import Rectangle, rectangles
from worker.media.views import DIHEDRAL, view_name

_LEAST_QUALITY = 50
"""A part without structure looks like many others: it is not looked up."""
_UPRIGHT = ("", "flip_horizontal")
_LIKELIEST = 8
_CUTS = ((0.0, 0.0), (0.05, 0.05), (0.11, 0.11), (0.18, 0.18), (0.08, 0.0), (0.0, 0.08))
"""Of the original's side: cut from its beginning and its end."""


def parts(luma: Matrix, blurred: Matrix, profile: Profile) -> list[Batch]:
    """Each proposed rectangle in eight turns; when thorough the likeliest also un-cropped."""
    batches = []
    for at, found in enumerate(rectangles(luma, profile)):
        inner = luma[found[0] : found[2], found[1] : found[3]]
        quality = tile_quality(_tile(blurred, found))
        if quality < _LEAST_QUALITY or is_page(inner):
            continue
        region = _region(luma, found)
        batches.append(_turned(inner, region, quality))
        if profile is Profile.THOROUGH and at < _LIKELIEST:
            batches.append(_uncropped(inner, region, quality))
    return batches


def _tile(blurred: Matrix, found: Rectangle) -> Matrix:
    top, left, bottom, right = found
    steps = (np.arange(GRID) + 0.5) / GRID
    down, across = (top + steps * (bottom - top)).astype(int), (left + steps * (right - left)).astype(int)
    return np.asarray(blurred[down[:, np.newaxis], across])


def _region(luma: Matrix, found: Rectangle) -> Region:
    height, width = luma.shape
    top, left, bottom, right = found
    return left / width, top / height, (right - left) / width, (bottom - top) / height


def _turned(inner: Matrix, region: Region, quality: int) -> Batch:
    halves = {down: transform(inner.shape[0], mirrored=down) @ inner for down in (False, True)}
    columns = {across: transform(inner.shape[1], mirrored=across).T for across in (False, True)}
    corners = [halves[down] @ columns[across] for down, across in CORNERS]
    turned = [corners[at].T if swapped else corners[at] for at, swapped in map(TURNS.__getitem__, DIHEDRAL)]
    names = [view_name("part", turn) for turn in DIHEDRAL]
    return Batch(np.stack(turned), names, [placed(region, turn) for turn in DIHEDRAL], [quality] * len(names))


def _uncropped(inner: Matrix, region: Region, quality: int) -> Batch:
    """A part that was cropped in its middle to fit, in height, in width or both."""
    left, top, width, height = region
    intervals = [(-first / (1 - first - last), 1 + last / (1 - first - last)) for first, last in _CUTS]
    rows = np.concatenate([transform(inner.shape[0], *one) for one in intervals]) @ inner
    found, names, placements = [], [], []
    for turn in _UPRIGHT:
        columns = np.concatenate([transform(inner.shape[1], *one, mirrored=bool(turn)) for one in intervals])
        both = (rows @ columns.T).reshape(len(intervals), COEFFICIENTS, len(intervals), COEFFICIENTS)
        found.append(both.transpose(0, 2, 1, 3).reshape(-1, COEFFICIENTS, COEFFICIENTS)[1:])
        for start, stop in intervals:
            for first, last in intervals:
                names.append(view_name("part", turn))
                placements.append(
                    placed(
                        (
                            left + first * width,
                            top + start * height,
                            (last - first) * width,
                            (stop - start) * height,
                        ),
                        turn,
                    )
                )
        del names[-(len(intervals) ** 2)], placements[-(len(intervals) ** 2)]
    return Batch(np.concatenate(found), names, placements, [quality] * len(names))
