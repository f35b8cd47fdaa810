"""Pictures as people upload them, of given sizes, each with bytes of its own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from worker.bench.costs import TWELVE_MEGAPIXELS, jpeg_of

_MIX = (
    (1_080 * 1_350, "JPEG"),
    (1_080 * 1_080, "JPEG"),
    (2_048 * 1_536, "JPEG"),
    (720 * 1_280, "WEBP"),
    (1_600 * 1_200, "JPEG"),
    (640 * 640, "JPEG"),
    (3_024 * 2_016, "JPEG"),
    (1_170 * 1_170, "PNG"),
    (1_200 * 1_600, "WEBP"),
    (1_080 * 1_920, "JPEG"),
)
"""Pixels and formats of a feed: what apps send on of phones' and cameras' pictures, and a screenshot."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Files of one kind; `name` goes into the figures."""

    name: str
    bodies: Sequence[bytes]
    pixels: int
    """Of one, on average."""

    def take(self, number: int, mark: str) -> list[bytes]:
        """So many files in turns, no two of the same bytes: what follows a picture's end is read by no decoder."""
        return [self.bodies[each % len(self.bodies)] + f"{mark} {each}".encode() for each in range(number)]


def twelve_megapixels(photos: Sequence[Path]) -> Pictures:
    return Pictures("12 MP", [jpeg_of(path, TWELVE_MEGAPIXELS) for path in photos], TWELVE_MEGAPIXELS)


def mixed(photos: Sequence[Path]) -> Pictures:
    """Each photograph in a size and format of the mix, which is gone through whole."""
    number = max(len(photos), len(_MIX))
    bodies = []
    for each in range(number):
        pixels, kind = _MIX[each % len(_MIX)]
        bodies.append(_as(jpeg_of(photos[each % len(photos)], pixels), kind))
    return Pictures("mixed", bodies, sum(_MIX[each % len(_MIX)][0] for each in range(number)) // number)


def _as(jpeg: bytes, kind: str) -> bytes:
    if kind == "JPEG":
        return jpeg
    made = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.save(made, kind)
    return made.getvalue()
