"""From the sandbox's checked rasters to the one picture that a browser gets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from worker.media.rungs import Raster, Rung
from worker.review.reveal.png import png
from worker.review.reveal.watermark import Pixels, burn

_ACROSS = 4
_GAP = 2
"""Pixels between stills."""
_GROUND = 128


def sheet(rasters: Sequence[Raster], rung: Rung, watermark: str) -> tuple[bytes, int, int]:
    """A PNG, its width and its height: the picture, or the stills of a video four abreast.

    `watermark` is burned in on every rung but the mosaic, whose cells can't hold a letter.
    """
    pixels = _pixels(rasters[0]) if len(rasters) == 1 else _laid_out([_pixels(each) for each in rasters])
    if rung is not Rung.MOSAIC:
        pixels = burn(pixels, watermark)
    return png(pixels), pixels.shape[1], pixels.shape[0]


def _pixels(raster: Raster) -> Pixels:
    shape = (raster.height, raster.width, raster.channels)
    return np.frombuffer(raster.pixels, dtype=np.uint8).reshape(shape)


def _laid_out(stills: Sequence[Pixels]) -> Pixels:
    high, wide = (max(still.shape[axis] for still in stills) for axis in (0, 1))
    across = min(_ACROSS, len(stills))
    down = math.ceil(len(stills) / across)
    size = (down * (high + _GAP) - _GAP, across * (wide + _GAP) - _GAP, stills[0].shape[2])
    laid = np.full(size, _GROUND, dtype=np.uint8)
    for at, still in enumerate(stills):
        top, left = at // across * (high + _GAP), at % across * (wide + _GAP)
        laid[top : top + still.shape[0], left : left + still.shape[1]] = still
    return laid
