"""Decode a picture of any allowed format and hash it: the first frame, and others of an animated one.

Decoders are hostile ground: this runs in the sandbox's child. It never picks a decoder by the file's name,
and never reads metadata beyond what the decoder needs.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap

import numpy as np
import pillow_heif
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from worker.domain import HashedMedia, Kind, Profile, ViewHash
from worker.media import pdq
from worker.media.copies import hash_copies
from worker.media.limits import Limits, Reason
from worker.media.sniff import Format

_OPENERS: dict[Format, list[str]] = {
    Format.JPEG: [JpegImagePlugin.JpegImageFile.format, MpoImagePlugin.MpoImageFile.format],
    Format.PNG: [PngImagePlugin.PngImageFile.format],
    Format.GIF: [GifImagePlugin.GifImageFile.format],
    Format.WEBP: [WebPImagePlugin.WebPImageFile.format],
    Format.HEIF: [AvifImagePlugin.AvifImageFile.format, "HEIF"],
    Format.TIFF: [TiffImagePlugin.TiffImageFile.format],
    Format.BMP: [BmpImagePlugin.BmpImageFile.format],
}

DECODER_FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    EOFError,
    BufferError,
    struct.error,
    zlib.error,
)
"""What Pillow and its plugins raise on broken input; anything else ends the child, which is told as `crashed`."""

_LEAST_SHARE = 0.5
"""Of a damaged picture's rows: with fewer decoded, its hash says nothing of the picture, and it is not compared."""

_FLAT = 2
"""Grey levels within which rows count as one flat colour."""

_DRAFT_SIDE = 1024
"""A JPEG is shrunk while decoding to no less than this: within 6 bits of hashing it at full size."""
_TEXT_CHUNK = 1 << 20
_TEXT_TOTAL = 8 << 20
# A marker inside entropy-coded data: 0xFF is followed there by 0, a restart marker or fill bytes only.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


class RefusalError(Exception):
    """A result on its way out of a decoder: an object that is not hashed, with its typed reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def decoders_configured(limits: Limits) -> Iterator[None]:
    """Set the decoders' own limits, which are global to the process, and put them back afterwards."""
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = max(limits.image_pixels, limits.jpeg_pixels)
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = _TEXT_CHUNK, _TEXT_TOTAL
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = before


def hash_picture(
    media: mmap, format_: Format, limits: Limits, profile: Profile = Profile.PLAIN
) -> HashedMedia:
    """Decode and hash. Raises `RefusalError` for what is not hashed, MemoryError where memory ran out."""
    progressive = False
    if format_ is Format.JPEG:
        progressive = _check_scans(media, limits)
    content = bytes(media)
    try:
        return _hash(content, format_, limits, profile, progressive=progressive)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as bomb:
        raise RefusalError(Reason.PIXEL_LIMIT) from bomb
    except DECODER_FAULTS as fault:
        raise RefusalError(Reason.BROKEN) from fault


def _hash(
    content: bytes, format_: Format, limits: Limits, profile: Profile, *, progressive: bool
) -> HashedMedia:
    partial = False
    try:
        image = _open(content, format_, limits, progressive=progressive)
        size = image.size
        image.draft("RGB", (_DRAFT_SIDE, _DRAFT_SIDE))
        image.load()
    except DECODER_FAULTS as fault:
        if isinstance(fault, UnidentifiedImageError):
            raise
        # Browsers show the part of a damaged picture that arrived, so refusing it would be a way past the bank.
        partial = True
        image, size = _load_damaged(content, format_, limits, progressive=progressive)
        if _share_decoded(image) < _LEAST_SHARE:
            raise RefusalError(Reason.TRUNCATED) from fault
    frames = 1 if partial else _frame_count(image)
    hashes = pdq.hash_image(image, frame_time=0.0 if frames > 1 else None)
    copies = hash_copies(image, hashes[0].quality, profile)[: limits.edited_views]
    duration, cut = 0.0, None
    if frames > 1:
        more, duration, cut = _hash_more_frames(image, frames, hashes, limits)
        hashes += more
    return HashedMedia(
        kind=Kind.IMAGE,
        reason=cut or "",
        hashes=(*hashes, *copies),
        partial=partial or cut is not None,
        width=size[0],
        height=size[1],
        duration=duration,
    )


def _share_decoded(image: Image.Image) -> float:
    """The share of rows that a broken-off decode filled: what it never reached is one flat colour to the end."""
    rows = np.asarray(image.convert("L"), dtype=np.int16)
    flat = (np.ptp(rows, axis=1) <= _FLAT) & (np.abs(rows[:, 0] - rows[-1, 0]) <= _FLAT)
    filled = np.flatnonzero(~flat)
    return (int(filled[-1]) + 1) / len(rows) if filled.size else 0.0


def _open(content: bytes, format_: Format, limits: Limits, *, progressive: bool) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=_OPENERS[format_])
    shrinks = format_ is Format.JPEG and not progressive
    if max(image.size) > (limits.jpeg_side if format_ is Format.JPEG else limits.image_side):
        raise RefusalError(Reason.SIDE_LIMIT)
    if image.width * image.height > (limits.jpeg_pixels if shrinks else limits.image_pixels):
        raise RefusalError(Reason.PIXEL_LIMIT)
    return image


def _load_damaged(
    content: bytes, format_: Format, limits: Limits, *, progressive: bool
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode as much as there is; refuse where that is nothing."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        image = _open(content, format_, limits, progressive=progressive)
        size = image.size
        image.draft("RGB", (_DRAFT_SIDE, _DRAFT_SIDE))
        image.load()
        extrema = image.convert("L").getextrema() if image.mode not in {"L", "I", "F"} else image.getextrema()
    except UnidentifiedImageError:
        raise
    except DECODER_FAULTS as fault:
        raise RefusalError(Reason.BROKEN) from fault
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    if extrema[0] == extrema[1]:
        raise RefusalError(Reason.TRUNCATED)
    return image, size


def _frame_count(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except DECODER_FAULTS:
        return 1


def _hash_more_frames(
    image: Image.Image, frames: int, last: list[ViewHash], limits: Limits
) -> tuple[list[ViewHash], float, Reason | str | None]:
    """Hash frames spread over an animated picture after its first.

    Returns the hashes, the seconds walked through, and why not all frames were: None when they were, '' for
    damage, else the limit. A frame is composed from those before it, so the walk is bounded, not only the hashes.
    """
    affordable = max(2, limits.image_frame_pixels // max(1, image.width * image.height))
    reach = min(frames, limits.image_frames_walked, affordable)
    hashed = min(reach, limits.image_frames)
    wanted = {round(at * (reach - 1) / (hashed - 1)) for at in range(1, hashed)}
    seconds = _frame_seconds(image)
    hashes: list[ViewHash] = []
    for at in range(1, reach):
        try:
            image.seek(at)
            if image.width * image.height > limits.image_pixels:
                return hashes, seconds, Reason.PIXEL_LIMIT
            views = pdq.hash_image(image, frame_time=seconds) if at in wanted else []
        except DECODER_FAULTS:
            return hashes, seconds, ""
        if views and not pdq.is_repeat(views, last):
            hashes += views
            last = views
        seconds += _frame_seconds(image)
    return hashes, seconds, None if reach == frames else Reason.FRAME_LIMIT


def _frame_seconds(image: Image.Image) -> float:
    milliseconds = image.info.get("duration", 0)
    usable = isinstance(milliseconds, int | float) and 0 <= milliseconds < 86_400_000
    return milliseconds / 1000 if usable else 0.0


def _check_scans(media: mmap, limits: Limits) -> bool:
    """Count the scans of a JPEG before any is decoded; True when it is progressive.

    Segments are walked by their lengths, so bytes in a thumbnail or behind the end are not mistaken for scans.
    """
    at, scans, progressive = 2, 0, False
    while (found := _JPEG_MARKER.search(media, at)) is not None:
        marker, at = media[found.start() + 1], found.end()
        if marker == _END_OF_IMAGE:
            break
        if marker == _START_OF_SCAN:
            scans += 1
            if scans > limits.jpeg_scans:
                raise RefusalError(Reason.SCAN_LIMIT)
        progressive = progressive or marker in _PROGRESSIVE
        if marker not in _WITHOUT_LENGTH:
            at += max(2, int.from_bytes(media[at : at + 2], "big"))
    return progressive
