"""Which way up viewers show a picture: the one note of a file that is read, for showing it and for nothing else.

Hashes are made of a picture as it is stored. This runs in the sandbox's child.
"""

from __future__ import annotations

import io
from mmap import mmap

from PIL import Image
from PIL.Image import Transpose

from worker.domain import Region
from worker.media import jpeg, png
from worker.media.image import DECODER_FAULTS, OPENERS
from worker.media.sniff import Format

_ORIENTATION = 0x0112
_EXIF = b"Exif\x00\x00"
_LONGEST = 65_536
_UPRIGHT = 1
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What makes a stored picture upright, by its orientation; 1 needs nothing."""
_POINTS = {
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (y, 1 - x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (1 - y, x),
}
"""From a point of the upright picture to the stored one, in fractions."""


def orientation_of(media: mmap | bytes, format_: Format) -> int:
    """1 to 8, as Exif counts them; 1 where nothing usable is said.

    The decoders of HEIC and TIFF turn a picture themselves and say 1 here; viewers turn no GIF or BMP.
    """
    try:
        found = Image.Exif()
        if format_ is Format.JPEG:
            found.load(jpeg.note(media, 0xE1, _EXIF))
        elif format_ is Format.PNG:
            found.load(png.note(media, b"eXIf")[:_LONGEST])
        elif format_ in {Format.WEBP, Format.HEIF}:
            found = Image.open(io.BytesIO(media), formats=OPENERS[format_]).getexif()
        orientation = found.get(_ORIENTATION, _UPRIGHT)
    except DECODER_FAULTS:
        return _UPRIGHT
    return orientation if orientation in TURNS else _UPRIGHT


def to_stored(region: Region, orientation: int) -> Region:
    """A region of the upright picture as one of the stored picture."""
    if orientation not in _POINTS:
        return region
    left, top, width, height = region
    ends = [_POINTS[orientation](x, y) for x, y in ((left, top), (left + width, top + height))]
    (x0, x1), (y0, y1) = (sorted(side) for side in zip(*ends, strict=True))
    return x0, y0, x1 - x0, y1 - y0
