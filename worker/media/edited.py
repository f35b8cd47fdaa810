"""The views of a picture as if it were an edited copy: cropped, framed, tilted, covered; hashed in one batch.

Each view undoes one edit. They are guesses: a view that is wrong looks like no picture of a bank, and costs a look-up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from worker.domain import Cover, Placement, Region, ViewHash
from worker.media.axis import COEFFICIENTS, GRID, Matrix
from worker.media.dihedral import CORNERS, TURNS

Coefficients = npt.NDArray[np.floating]
"""n x 16 x 16: rows are vertical frequencies."""

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
_CLOCKWISE = ((0, 0), (0, 1), (1, 1), (1, 0))
_MEDIAN = COEFFICIENTS * COEFFICIENTS // 2 - 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Views that were made alike: their coefficients, and for each its name, placement and quality."""

    coefficients: Coefficients
    names: Sequence[str]
    placements: Sequence[Placement]
    qualities: Sequence[int]

    def hashes(self) -> Iterator[ViewHash]:
        found = threshold(self.coefficients)
        rows = zip(found, self.qualities, self.names, self.placements, strict=True)
        for row, quality, name, placement in rows:
            yield ViewHash(row.tobytes(), quality, name, None, placement)


def placed(region: Region, turn: str = "", cover: Cover | None = None) -> Placement:
    """The placement of a view that shows an upright rectangle of the upload in one of `DIHEDRAL`'s turns."""
    left, top, width, height = region
    corner, swapped = TURNS[turn]
    mirrored_down, mirrored_across = CORNERS[corner]
    corners: list[float] = []
    for down, across in _CLOCKWISE:
        y, x = (across, down) if swapped else (down, across)
        corners += [top + abs(mirrored_down - y) * height, left + abs(mirrored_across - x) * width]
    return Placement(tuple(corners), cover)


def threshold(coefficients: Coefficients) -> npt.NDArray[np.uint8]:
    """Hashes, uint8[n, 32]: a bit for each coefficient over the lower median, the last one leading."""
    flat = coefficients.reshape(len(coefficients), -1)
    median = np.partition(flat, _MEDIAN, axis=1)[:, _MEDIAN, np.newaxis]
    return np.packbits((flat > median)[:, ::-1], axis=1)


def tile_quality(tile: npt.NDArray[np.floating]) -> int:
    """PDQ's quality of a blurred 64 x 64 tile with luma 0..255: the sum of gradients that are not tiny, 0..100."""
    steps = [np.abs(np.diff(tile, axis=axis)) * (100 / 255) for axis in (0, 1)]
    return min(100, int(sum(float(np.floor(step).sum()) for step in steps) / 90))


@lru_cache(maxsize=4096)
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


def fill(tile: Matrix, cover: Cover) -> None:
    """Replace what is covered by a mean of its border, weighted by nearness."""
    top, left, bottom, right = cover
    above, below, before, after = _weights(cover)
    tile[top:bottom, left:right] = (
        above * tile[max(0, top - 1), left:right]
        + below * tile[min(GRID - 1, bottom), left:right]
        + before * tile[top:bottom, max(0, left - 1), np.newaxis]
        + after * tile[top:bottom, min(GRID - 1, right), np.newaxis]
    )
