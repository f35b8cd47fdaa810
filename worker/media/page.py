"""Tells pages of text, slides and drawings from pictures: their views are not guessed at."""

import numpy as np
import numpy.typing as npt
from PIL import Image

_SHARE = 0.88
_LEVELS = 3
"""Grey levels around a colour that count as it."""


def is_page(luma: npt.NDArray[np.floating]) -> bool:
    """Whether nearly all of a picture with luma 0..255 is of two colours, paper and ink, as pages and slides are.

    Their hashes tell where a few lines stand, so guesses at what was cropped or covered make any two of them alike:
    two slides that differ in 78 bits came within 30. A body before a black or white wall has many colours.
    """
    levels = np.array(Image.fromarray(np.clip(luma, 0, 255).astype(np.uint8)).histogram())
    share = 0.0
    for _ in range(2):
        near = np.convolve(levels, np.ones(2 * _LEVELS + 1), "same")
        colour = int(near.argmax())
        share += float(near[colour])
        levels[max(0, colour - _LEVELS) : colour + _LEVELS + 1] = 0
    return share > _SHARE * luma.size
