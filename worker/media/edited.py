"""The views of a picture as if it were an edited copy: cropped, framed, tilted, covered; hashed in one batch.

Each view undoes one edit. They are guesses: a view that is wrong looks like no picture of a bank, and costs a look-up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.domain import Region, ViewHash
from worker.media.axis import COEFFICIENTS

Coefficients = npt.NDArray[np.floating]
"""n x 16 x 16: rows are vertical frequencies."""

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
_MEDIAN = COEFFICIENTS * COEFFICIENTS // 2 - 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Views that were made alike: their coefficients, and for each its name, region and quality."""

    coefficients: Coefficients
    names: Sequence[str]
    regions: Sequence[Region]
    qualities: Sequence[int]

    def hashes(self) -> Iterator[ViewHash]:
        found = threshold(self.coefficients)
        rows = zip(found, self.qualities, self.names, self.regions, strict=True)
        for row, quality, name, region in rows:
            yield ViewHash(row.tobytes(), quality, name, None, region)


def threshold(coefficients: Coefficients) -> npt.NDArray[np.uint8]:
    """Hashes, uint8[n, 32]: a bit for each coefficient over the lower median, the last one leading."""
    flat = coefficients.reshape(len(coefficients), -1)
    median = np.partition(flat, _MEDIAN, axis=1)[:, _MEDIAN, np.newaxis]
    return np.packbits((flat > median)[:, ::-1], axis=1)


def tile_quality(tile: npt.NDArray[np.floating]) -> int:
    """PDQ's quality of a blurred 64 x 64 tile with luma 0..255: the sum of gradients that are not tiny, 0..100."""
    steps = [np.abs(np.diff(tile, axis=axis)) * (100 / 255) for axis in (0, 1)]
    return min(100, int(sum(float(np.floor(step).sum()) for step in steps) / 90))
