"""Render a picture for a reviewer's eyes, as viewers show it, with no more in it than the rung allows.

This runs in the sandbox's child.
"""

from __future__ import annotations

import math
from mmap import mmap

import numpy as np
from PIL import Image

from worker.domain import Kind, Region
from worker.media import pdq
from worker.media.image import (
    DECODER_FAULTS,
    Loaded,
    faults_refused,
    frame_count,
    frame_seconds,
    load_picture,
)
from worker.media.limits import Limits
from worker.media.orientation import TURNS, orientation_of, to_stored
from worker.media.rungs import GREY_CELLS, MOSAIC_CELLS, Raster, Rung, Showing, Shown
from worker.media.sniff import Format

_GROUND = 128
"""Grey level that shows through where a picture is transparent."""
_MOST_DRAFT = 4096
"""A small region of a huge JPEG is not decoded sharper than this for the sake of its last pixels."""
_WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
_SHRINKS = frozenset({"L", "RGB", "RGBA", "CMYK", "YCbCr"})
"""Modes that can be shrunk before their colours are converted, which costs several times the picture."""


def show_picture(media: mmap | bytes, format_: Format, limits: Limits, showing: Showing) -> Shown:
    """Render the first frame, or the one that stands at the first of the asked seconds.

    Raises `RefusalError` for what can't be shown, MemoryError where memory ran out.
    """
    with faults_refused():
        orientation = orientation_of(media, format_)
        region = _stored_region(showing, orientation)
        loaded = load_picture(media, format_, limits, _draft_side(showing, region), "RGB")
        image = loaded.image if loaded.partial else _frame(loaded, format_, limits, showing)
        raster = draw(image, region, orientation, showing, Kind.IMAGE)
    width, height = loaded.size if orientation < 5 else loaded.size[::-1]
    return Shown((raster,), width, height)


def draw(
    image: Image.Image,
    region: Region,
    orientation: int,
    showing: Showing,
    kind: Kind,
    seconds: float | None = None,
) -> Raster:
    """The raster of one frame: cut to `region` of the stored picture, turned upright, reduced to the rung."""
    cut = _cut(image, region)
    longest = showing.longest_side(kind)
    upright = _opaque(_shrunk(cut, longest))
    if orientation in TURNS:
        upright = upright.transpose(TURNS[orientation])
    if showing.rung is Rung.MOSAIC:
        upright = upright.resize((MOSAIC_CELLS, MOSAIC_CELLS), Image.Resampling.BOX)
    elif showing.rung is Rung.GREY:
        cells = upright.convert("L").resize(fitted(upright.size, GREY_CELLS), Image.Resampling.BOX)
        # From here on nothing of the picture is left but its blocks: enlarging them can't bring detail back.
        upright = cells.resize(fitted(upright.size, longest), Image.Resampling.BICUBIC)
    else:
        upright = upright.resize(fitted(upright.size, longest), Image.Resampling.LANCZOS)
    return Raster(upright.width, upright.height, showing.channels, upright.tobytes(), seconds)


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size at which the longer side is `longest` pixels at most; never larger than it was."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _stored_region(showing: Showing, orientation: int) -> Region:
    if showing.cut is None:
        return _WHOLE
    return to_stored(showing.cut.region, orientation) if showing.cut.upright else showing.cut.region


def _draft_side(showing: Showing, region: Region) -> int:
    least = max(1e-6, min(region[2], region[3]))
    return min(_MOST_DRAFT, math.ceil(showing.longest_side(Kind.IMAGE) * 4 / 3 / least))


def _frame(loaded: Loaded, format_: Format, limits: Limits, showing: Showing) -> Image.Image:
    """The frame of an animation that stands at the asked second; the first of one that breaks off before."""
    image = loaded.image
    if not showing.seconds or frame_count(image, loaded.content, format_, limits) < 2:
        return image
    first = image.copy()
    affordable = max(2, limits.image_frame_pixels // max(1, image.width * image.height))
    until = frame_seconds(image)
    try:
        for at in range(1, min(limits.image_frames_walked, affordable)):
            if until > showing.seconds[0]:
                break
            image.seek(at)
            if image.width * image.height > limits.image_pixels:
                return first
            until += frame_seconds(image)
        image.load()
    except EOFError:
        return image
    except DECODER_FAULTS:
        return first
    return image


def _cut(image: Image.Image, region: Region) -> Image.Image:
    """The region of the picture, at least one pixel of it."""
    if region == _WHOLE:
        return image
    left, top, width, height = region
    box_left = min(image.width - 1, max(0, math.floor(left * image.width)))
    box_top = min(image.height - 1, max(0, math.floor(top * image.height)))
    box_right = min(image.width, max(box_left + 1, math.ceil((left + width) * image.width)))
    box_bottom = min(image.height, max(box_top + 1, math.ceil((top + height) * image.height)))
    return image.crop((box_left, box_top, box_right, box_bottom))


def _shrunk(image: Image.Image, longest: int) -> Image.Image:
    """Near the wanted size already, where that can be done before colours are converted."""
    size = fitted(image.size, 2 * longest)
    if image.mode not in _SHRINKS or size == image.size or "transparency" in image.info:
        return image
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _opaque(image: Image.Image) -> Image.Image:
    """RGB, on grey where it is transparent."""
    pixels, alpha = pdq.colours(image)
    if alpha is None:
        return Image.fromarray(pixels)
    share = alpha[:, :, np.newaxis].astype(np.uint16)
    blended = (pixels * share + _GROUND * (255 - share) + 127) // 255
    return Image.fromarray(blended.astype(np.uint8))
