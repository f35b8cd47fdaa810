"""Decode a picture of any allowed format and hash it: the first frame, and others of an animated one.

Decoders are hostile ground: this runs in the sandbox's child. It never picks a decoder by the file's name,
and never reads metadata beyond what the decoder needs.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

from worker.domain import CloserLook, HashedMedia, Kind, Profile, ViewHash
from worker.media import jpeg, pdq, png, tiff
from worker.media.copies import hash_copies
from worker.media.limits import Limits, Reason, RefusalError
from worker.media.sniff import Format

OPENERS: dict[Format, list[str]] = {
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
_DRAFT_MODE = "L"
"""The hash reads no colours."""
"""A JPEG is shrunk while decoding to no less than this: within 6 bits of hashing it at full size."""
_STRIP_SIDE = 512
"""Up to this long a narrow picture is a line or a gradient; over it, pictures may stand along it."""
_STANDS = 0.5
"""Seconds from which a frame of an animation is looked at rather than passed by."""


@contextmanager
def decoders_configured(limits: Limits) -> Iterator[None]:
    """Set the decoders' own limits, which are global to the process, and put them back afterwards."""
    before = Image.MAX_IMAGE_PIXELS
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = max(limits.image_pixels, limits.jpeg_pixels)
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def hash_picture(
    media: mmap | bytes,
    format_: Format,
    limits: Limits,
    profile: Profile = Profile.PLAIN,
    closer: CloserLook | None = None,
) -> HashedMedia:
    """Decode and hash. Raises `RefusalError` for what is not hashed, MemoryError where memory ran out.

    Only what the format itself calls its pictures is seen; `payloads` finds what else a file carries.
    """
    with faults_refused():
        return _hash(
            load_picture(media, format_, limits, _DRAFT_SIDE, _DRAFT_MODE), format_, limits, profile, closer
        )


@contextmanager
def faults_refused() -> Iterator[None]:
    """What decoders raise on hostile input as a `RefusalError`."""
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as bomb:
        raise RefusalError(Reason.PIXEL_LIMIT) from bomb
    except DECODER_FAULTS as fault:
        raise RefusalError(Reason.BROKEN) from fault


@dataclass(frozen=True, slots=True)
class Loaded:
    """A decoded picture. `size` is that of the file: a JPEG may be decoded smaller."""

    image: Image.Image
    size: tuple[int, int]
    content: bytes
    """What was decoded: the file without notes, texts and profiles."""
    partial: bool
    """It was decoded only as far as the damage allowed."""
    damaged: bool
    """What a decoder did not notice: a false checksum, a missing end."""


def load_picture(media: mmap | bytes, format_: Format, limits: Limits, side: int, mode: str) -> Loaded:
    """Decode the first frame; a baseline JPEG no larger than its sides are at least `side` pixels, in "L" or "RGB".

    Raises `RefusalError` over a limit and `DECODER_FAULTS`, for `faults_refused`, where nothing can be decoded.
    """
    progressive, damaged = False, False
    if format_ is Format.JPEG:
        progressive = jpeg.walk(media, limits).progressive
    if format_ is Format.PNG:
        content, damaged = png.bare(media)
    elif format_ is Format.JPEG:
        content = jpeg.bare(media)
    else:
        content = bytes(media)
    try:
        image = _open(content, format_, limits, progressive=progressive)
        size = image.size
        image.draft(mode, (side, side))
        pdq.load(image)
    except DECODER_FAULTS as fault:
        if isinstance(fault, UnidentifiedImageError):
            raise
        # Browsers show the part of a damaged picture that arrived, so refusing it would be a way past the bank.
        image, size = _load_damaged(content, format_, limits, side, mode, progressive=progressive)
        return Loaded(image, size, content, partial=True, damaged=damaged)
    return Loaded(image, size, content, partial=False, damaged=damaged)


def _hash(
    loaded: Loaded, format_: Format, limits: Limits, profile: Profile, closer: CloserLook | None
) -> HashedMedia:
    image = loaded.image
    if loaded.partial and _share_decoded(image) < _LEAST_SHARE:
        raise RefusalError(Reason.TRUNCATED)
    frames = 1 if loaded.partial or closer else frame_count(image, loaded.content, format_, limits)
    hashes = pdq.hash_image(image, frame_time=0.0 if frames > 1 else None)
    copies = hash_copies(image, hashes[0].quality, profile, closer)[: limits.edited_views]
    duration, cut = 0.0, None
    if frames > 1:
        more, duration, cut = _hash_more_frames(image, frames, hashes, limits)
        hashes += more
    return HashedMedia(
        kind=Kind.IMAGE,
        reason=cut or "",
        hashes=(*hashes, *copies),
        partial=loaded.partial or loaded.damaged or cut is not None,
        width=loaded.size[0],
        height=loaded.size[1],
        duration=duration,
    )


def _share_decoded(image: Image.Image) -> float:
    """The share of rows that a broken-off decode filled: what it never reached is one flat colour to the end."""
    rows = np.asarray(image.convert("L"), dtype=np.int16)
    flat = (np.ptp(rows, axis=1) <= _FLAT) & (np.abs(rows[:, 0] - rows[-1, 0]) <= _FLAT)
    filled = np.flatnonzero(~flat)
    return (int(filled[-1]) + 1) / len(rows) if filled.size else 0.0


def _open(content: bytes, format_: Format, limits: Limits, *, progressive: bool) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=OPENERS[format_])
    shrinks = format_ is Format.JPEG and not progressive
    if max(image.size) > (limits.jpeg_side if format_ is Format.JPEG else limits.image_side):
        raise RefusalError(Reason.SIDE_LIMIT)
    if image.width * image.height > (limits.jpeg_pixels if shrinks else limits.image_pixels):
        raise RefusalError(Reason.PIXEL_LIMIT)
    if max(image.size) > max(_STRIP_SIDE, min(image.size) * limits.image_aspect):
        raise RefusalError(Reason.ASPECT_LIMIT)
    return image


def _load_damaged(
    content: bytes, format_: Format, limits: Limits, side: int, mode: str, *, progressive: bool
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode as much as there is; refuse where that is nothing.

    Of a PNG whose animation is broken that is the picture which stands for it.
    """
    if format_ is Format.PNG:
        content, _ = png.bare(content, still=True)
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        image = _open(content, format_, limits, progressive=progressive)
        size = image.size
        image.draft(mode, (side, side))
        pdq.load(image)
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


def frame_count(image: Image.Image, content: bytes, format_: Format, limits: Limits) -> int:
    """How many pictures a file holds that are shown in turn, or side by side as pages."""
    if format_ is Format.TIFF:
        # Pillow reads every directory to count them.
        return tiff.pages(content, limits.image_frames_walked + 1)
    try:
        return int(getattr(image, "n_frames", 1))
    except DECODER_FAULTS:
        return 1


def _hash_more_frames(
    image: Image.Image, frames: int, last: list[ViewHash], limits: Limits
) -> tuple[list[ViewHash], float, Reason | str | None]:
    """Hash one frame of each of as many stretches of an animated picture after its first.

    It is the one that stands longest, if that is half a second or more, as a picture hidden in a lively animation must
    to be seen; else the last of the stretch. Returns the hashes, the seconds walked through, and why not all frames
    were: None when they were, '' for damage, else the limit. A frame is composed from those before it, so
    the walk is bounded, not only the hashes.
    """
    affordable = max(2, limits.image_frame_pixels // max(1, image.width * image.height))
    reach = min(frames, limits.image_frames_walked, affordable)
    hashed = min(reach, limits.image_frames)
    ends = {round(at * (reach - 1) / (hashed - 1)) for at in range(1, hashed)}
    seconds = frame_seconds(image)
    if isinstance(image, GifImagePlugin.GifImageFile) and image.mode == "L":
        # Pillow lays a GIF's further frames, which may have colours, onto colours only.
        image.im = image.im.convert("RGB")
        setattr(image, "_mode", "RGB")  # noqa: B010 - it has no public way
    hashes: list[ViewHash] = []
    best: list[ViewHash] = []
    longest = _STANDS
    for at in range(1, reach):
        try:
            image.seek(at)
            if image.width * image.height > limits.image_pixels:
                return hashes + best, seconds, Reason.PIXEL_LIMIT
            shown = frame_seconds(image)
            if shown > longest or (at in ends and (not best or shown == longest)):
                best, longest = pdq.hash_image(image, frame_time=seconds), shown
        except DECODER_FAULTS:
            return hashes + best, seconds, ""
        seconds += shown
        if at in ends:
            if not pdq.is_repeat(best, last):
                hashes += best
                last = best
            best, longest = [], _STANDS
    return hashes, seconds, None if reach == frames else Reason.FRAME_LIMIT


def frame_seconds(image: Image.Image) -> float:
    """How long the present frame of an animation stands."""
    milliseconds = image.info.get("duration", 0)
    usable = isinstance(milliseconds, int | float) and 0 <= milliseconds < 86_400_000
    return milliseconds / 1000 if usable else 0.0
