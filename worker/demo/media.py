"""Makes the demonstration's media: edits of real photographs, and short films encoded on the spot.

Everything stays in memory; no picture is written to disk.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

if TYPE_CHECKING:
    from av.video.stream import VideoStream

PHOTOS = Path(__file__).with_name("photos")
_FILM_SIZE = (360, 240)
_FILM_RATE = 12

Edit = Callable[[Image.Image], Image.Image]


@cache
def photo(name: str) -> Image.Image:
    """One of the packaged photographs, RGB, 720 pixels at most on the long side."""
    with Image.open(PHOTOS / f"{name}.jpg") as opened:
        return opened.convert("RGB")


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 88) -> bytes:
    """The picture as a file: JPEG or WEBP of that quality, or PNG."""
    out = io.BytesIO()
    if kind == "PNG":
        image.save(out, kind)
    else:
        image.save(out, kind, quality=quality)
    return out.getvalue()


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 2 // 5, image.height * 2 // 5), Image.Resampling.LANCZOS)


def mirrored(image: Image.Image) -> Image.Image:
    return ImageOps.mirror(image)


def turned(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_270)


def left_half(image: Image.Image) -> Image.Image:
    return image.crop((0, 0, image.width // 2, image.height))


def inverted(image: Image.Image) -> Image.Image:
    return ImageOps.invert(image)


def darker(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.6)


def grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def warmer(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge(
        "RGB", (red.point(lambda v: min(255, v * 1.15)), green, blue.point(lambda v: v * 0.75))
    )


def captioned(image: Image.Image) -> Image.Image:
    """With a small line of text in a corner, as sharing apps put it there."""
    out = image.copy()
    ImageDraw.Draw(out).text((12, out.height - 24), "shared with SomeApp", fill=(255, 255, 255))
    return out


def animation(pictures: Iterable[Image.Image]) -> bytes:
    """A GIF that shows one picture after the other."""
    first, *others = (picture.resize(_FILM_SIZE) for picture in pictures)
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=others, duration=400, loop=0)
    return out.getvalue()


def pan(image: Image.Image, seconds: float) -> Iterator[Image.Image]:
    """Frames of a camera that moves across a picture."""
    width, height = _FILM_SIZE
    wide = ImageOps.fit(image, (width * 5 // 4, height * 5 // 4))
    frames = int(seconds * _FILM_RATE)
    for at in range(frames):
        x = (wide.width - width) * at // max(frames - 1, 1)
        y = (wide.height - height) * at // max(frames - 1, 1)
        yield wide.crop((x, y, x + width, y + height))


def still(image: Image.Image, seconds: float) -> Iterator[Image.Image]:
    """Frames that show one whole picture."""
    frame = image.resize(_FILM_SIZE, Image.Resampling.LANCZOS)
    for _ in range(int(seconds * _FILM_RATE)):
        yield frame


def film(*scenes: Iterable[Image.Image]) -> bytes:
    """An MP4 of the scenes one after the other: H.264 where PyAV has an encoder for it, else MPEG-4 part 2."""
    out = io.BytesIO()
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(out, "w", format="mp4") as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=Fraction(_FILM_RATE)))
        stream.width, stream.height = _FILM_SIZE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 400_000
        for scene in scenes:
            for frame in scene:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()
