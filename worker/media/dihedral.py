"""PDQ hashes of a picture's turns and mirrors, each as if the picture had really been turned.

PDQ blurs with a window of even width and samples off its middle, so hashes derived from the coefficients of the
unturned picture (`pdqhash.compute_dihedral`) are those of one shifted by 0.6 %: 8 to 30 bits off on photographs,
up to 114 where texture is fine. Blur, sampling and cosine transform are all
linear along each axis, so they are one small matrix an axis; mirroring that matrix mirrors the picture exactly.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from worker.media.axis import SIDE, blurred_samples, cosine_transform
from worker.media.views import DIHEDRAL

Luma = npt.NDArray[np.float32]
"""Rows x columns, 0..255."""

CORNERS = ((False, False), (False, True), (True, False), (True, True))
"""(mirrored top to bottom, mirrored left to right): the corner where sampling starts."""

# Each turn: the corner it starts from, and whether rows and columns change places.
TURNS = {
    "": (0, False),
    "rotate_90": (1, True),
    "rotate_180": (3, False),
    "rotate_270": (2, True),
    "flip_vertical": (2, False),
    "flip_horizontal": (1, False),
    "transpose": (0, True),
    "transverse": (3, True),
}


def dihedral_hashes(corners: Sequence[Luma]) -> list[bytes]:
    """Hashes of 32 bytes in the order of `DIHEDRAL`, from the picture as sampled from each of `CORNERS`.

    The four are alike where the picture was not shrunk. The identity equals the reference's hash but
    for coefficients that rounding puts on the other side of the median.
    """
    coefficients = []
    for luma, (mirrored_down, mirrored_across) in zip(corners, CORNERS, strict=True):
        rows, columns = _transform(luma.shape[0]), _transform(luma.shape[1])
        coefficients.append(
            (rows[:, ::-1] if mirrored_down else rows)
            @ luma
            @ (columns[:, ::-1] if mirrored_across else columns).T
        )
    turned = ((coefficients[corner], swapped) for corner, swapped in map(TURNS.__getitem__, DIHEDRAL))
    return [_threshold(found.T if swapped else found) for found, swapped in turned]


def warm_up() -> None:
    """Make the matrix of a picture that was shrunk."""
    _transform(SIDE)


def _threshold(coefficients: npt.NDArray[np.floating]) -> bytes:
    """A bit for each coefficient over the lower median, in the reference's order: the last one leads."""
    flat = coefficients.ravel()
    median = np.partition(flat, flat.size // 2 - 1)[flat.size // 2 - 1]
    return np.packbits((flat > median)[::-1]).tobytes()


@lru_cache(maxsize=64)
def _transform(length: int) -> npt.NDArray[np.float32]:
    """The 16 x length matrix of two blurs, sampling at 64 points and cosine transform along one axis."""
    return np.ascontiguousarray(cosine_transform() @ blurred_samples(length), dtype=np.float32)
