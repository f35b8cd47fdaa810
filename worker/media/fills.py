"""Views without what may have been laid over a picture: a caption band or a sticker, filled in from around it.

Where it lies is guessed on a grid. A smooth fill adds no structure, so only what was covered is missing from the hash.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from worker.domain import Profile
from worker.media.axis import GRID, Matrix, cosine, sampling
from worker.media.edited import Batch

Cover = tuple[int, int, int, int]
"""Top, left, bottom, right in cells of the 64 x 64 tile."""


@lru_cache(maxsize=4)
def _covers(profile: Profile) -> tuple[Cover, ...]:
    bands = [
        (top, 0, top + height, GRID)
        for height in ((8, 14) if profile is Profile.STANDARD else (6, 9, 12, 16))
        for top in range(0, GRID - height + 1, 4)
        if profile is Profile.THOROUGH or top in {0, GRID - height} or top + height >= GRID - 4
    ]
    if profile is Profile.STANDARD:
        return tuple(bands)
    patches = [
        (top, left, top + high, left + wide)
        for high, wide, step in ((12, 12, 5), (16, 16, 6), (21, 21, 6), (26, 26, 6), (10, 24, 6), (24, 12, 6))
        for top in range(0, GRID - high + 1, step)
        for left in range(0, GRID - wide + 1, step)
    ]
    return tuple(bands + patches)


@lru_cache(maxsize=2048)
def _weights(cover: Cover) -> tuple[npt.NDArray[np.float32], ...]:
    """For each side that has a neighbour inside the tile, how much it counts at each cell; '0' for the others."""
    top, left, bottom, right = cover
    down, across = np.arange(bottom - top)[:, np.newaxis], np.arange(right - left)[np.newaxis, :]
    shape = (bottom - top, right - left)
    sides = [
        np.broadcast_to(1.0 / (down + 1), shape) if top > 0 else np.zeros(shape),
        np.broadcast_to(1.0 / (shape[0] - down), shape) if bottom < GRID else np.zeros(shape),
        np.broadcast_to(1.0 / (across + 1), shape) if left > 0 else np.zeros(shape),
        np.broadcast_to(1.0 / (shape[1] - across), shape) if right < GRID else np.zeros(shape),
    ]
    total = sum(sides)
    return tuple((side / total).astype(np.float32) for side in sides)


def filled(luma: Matrix, quality: int, profile: Profile) -> list[Batch]:
    """A view for each place that may be covered, upright and, when thorough, mirrored."""
    covers = _covers(profile)
    rows = sampling(luma.shape[0]) @ luma
    batches = []
    for mirrored in (False, True) if profile is Profile.THOROUGH else (False,):
        columns = sampling(luma.shape[1])
        tile = rows @ (columns[:, ::-1] if mirrored else columns).T
        stack = np.repeat(tile[np.newaxis], len(covers), axis=0)
        for filling, cover in zip(stack, covers, strict=True):
            _fill(filling, cover)
        name = "filled_flip_horizontal" if mirrored else "filled"
        regions = [
            (
                (GRID - right if mirrored else left) / GRID,
                top / GRID,
                (right - left) / GRID,
                (bottom - top) / GRID,
            )
            for top, left, bottom, right in covers
        ]
        count = len(covers)
        batches.append(Batch(cosine() @ stack @ cosine().T, [name] * count, regions, [quality] * count))
    return batches


def _fill(tile: Matrix, cover: Cover) -> None:
    top, left, bottom, right = cover
    above, below, before, after = _weights(cover)
    tile[top:bottom, left:right] = (
        above * tile[max(0, top - 1), left:right]
        + below * tile[min(GRID - 1, bottom), left:right]
        + before * tile[top:bottom, max(0, left - 1), np.newaxis]
        + after * tile[top:bottom, min(GRID - 1, right), np.newaxis]
    )
