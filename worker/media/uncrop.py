"""Views that give a cropped copy its frame back: what was cut away is guessed from the rim that is left.

PDQ is a code of the layout of the whole frame. With the rest put back at its old place only the invented rim is wrong.
"""

from functools import lru_cache

import numpy as np

from worker.domain import Profile, Region
from worker.media.axis import COEFFICIENTS, SIDE, Matrix, transform
from worker.media.edited import Batch, placed

Interval = tuple[float, float]

_STEPS = {Profile.STANDARD: (0.0, 0.04, 0.08), Profile.THOROUGH: (0.0, 0.045, 0.09, 0.15, 0.22)}
_MOST = 0.31
"""Of an axis: with more cut away on two unequal sides too little is left to know it by."""


@lru_cache(maxsize=8)
def _intervals(profile: Profile) -> tuple[Interval, ...]:
    """Where the whole frame may lie, as fractions of what is left of it."""
    steps = _STEPS[profile]
    cuts = [(first, last) for first in steps for last in steps if first == last or first + last < _MOST]
    return tuple((-first / (1 - first - last), 1 + last / (1 - first - last)) for first, last in cuts)


@lru_cache(maxsize=32)
def _axis(length: int, profile: Profile, *, mirrored: bool) -> Matrix:
    return np.concatenate(
        [transform(length, start, stop, mirrored=mirrored) for start, stop in _intervals(profile)]
    )


def warm_up() -> None:
    """Make the matrices of a picture that was shrunk."""
    for profile in _STEPS:
        for mirrored in (False, True):
            _axis(SIDE, profile, mirrored=mirrored)


def uncropped(luma: Matrix, quality: int, profile: Profile) -> list[Batch]:
    """Every pair of a vertical and a horizontal un-crop, upright and mirrored."""
    intervals = _intervals(profile)
    regions: list[Region] = [
        (left, top, right - left, bottom - top) for top, bottom in intervals for left, right in intervals
    ]
    batches = []
    rows = _axis(luma.shape[0], profile, mirrored=False) @ luma
    for mirrored in (False, True):
        columns = _axis(luma.shape[1], profile, mirrored=mirrored)
        found = (rows @ columns.T).reshape(len(intervals), COEFFICIENTS, len(intervals), COEFFICIENTS)
        name = "uncropped_flip_horizontal" if mirrored else "uncropped"
        # The first of each is the whole frame, which is hashed already.
        batches.append(
            Batch(
                found.transpose(0, 2, 1, 3).reshape(-1, COEFFICIENTS, COEFFICIENTS)[1:],
                [name] * (len(regions) - 1),
                [placed(region, "flip_horizontal" if mirrored else "") for region in regions[1:]],
                [quality] * (len(regions) - 1),
            )
        )
    return batches
