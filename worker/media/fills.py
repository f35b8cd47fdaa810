"""Views without what may have been laid over a picture: a caption band or a sticker, filled in from around it.

Where it lies is guessed on a grid. A smooth fill adds no structure, so only what was covered is missing from the hash.
"""

from functools import lru_cache

import numpy as np

from worker.domain import Cover, Profile
from worker.media.axis import GRID, Matrix, cosine, sampling
from worker.media.edited import WHOLE, Batch, fill, placed


@lru_cache(maxsize=4)
def _covers(profile: Profile) -> tuple[Cover, ...]:
    bands = [
        (top, 0, top + height, GRID)
        for height in ((8, 14) if profile is Profile.STANDARD else (7, 12))
        for top in range(0, GRID - height + 1, 4)
        if profile is Profile.THOROUGH or top in {0, GRID - height} or top + height >= GRID - 4
    ]
    if profile is Profile.STANDARD:
        return tuple(bands)
    patches = [
        (top, left, top + high, left + wide)
        for high, wide, step in ((14, 14, 7), (22, 22, 7), (10, 26, 9), (26, 12, 9))
        for top in range(0, GRID - high + 1, step)
        for left in range(0, GRID - wide + 1, step)
    ]
    return tuple(bands + patches)


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
            fill(filling, cover)
        name = "filled_flip_horizontal" if mirrored else "filled"
        turn = "flip_horizontal" if mirrored else ""
        placements = [placed(WHOLE, turn, cover) for cover in covers]
        count = len(covers)
        batches.append(Batch(cosine() @ stack @ cosine().T, [name] * count, placements, [quality] * count))
    return batches
