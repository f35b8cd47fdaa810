"""The segments of a JPEG, walked by their lengths before any is decoded."""

import re
from dataclasses import dataclass
from mmap import mmap

from worker.media.limits import Limits, Reason, RefusalError

# A marker inside entropy-coded data: 0xFF is followed there by 0, a restart marker or fill bytes only.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


# JFIF and Adobe say how colours are coded; all others are notes, which cost more than the picture to read.
_KEPT_NOTES = frozenset({0xE0, 0xEE})
_NOTES = frozenset({*range(0xE0, 0xF0), 0xFE}) - _KEPT_NOTES


@dataclass(frozen=True, slots=True)
class JpegShape:
    """What the segments say: whether it is progressive, and where it ends (bytes from its first)."""

    progressive: bool
    end: int


def walk(media: mmap | bytes, limits: Limits) -> JpegShape:
    """Walk to the end of the first picture; raises `RefusalError` over too many scans.

    Segments are walked by their lengths, so bytes in a thumbnail or behind the end are not mistaken for scans.
    """
    at, scans, progressive = 2, 0, False
    while (found := _MARKER.search(media, at)) is not None:
        marker, at = media[found.start() + 1], found.end()
        if marker == _END_OF_IMAGE:
            return JpegShape(progressive, at)
        if marker == _START_OF_SCAN:
            scans += 1
            if scans > limits.jpeg_scans:
                raise RefusalError(Reason.SCAN_LIMIT)
        progressive = progressive or marker in _PROGRESSIVE
        if marker not in _WITHOUT_LENGTH:
            at += max(2, int.from_bytes(media[at : at + 2], "big"))
    return JpegShape(progressive, len(media))


def bare(media: mmap | bytes) -> bytes:
    """The JPEG without Exif, profiles, comments and other notes before its first scan; what is behind stays.

    A note may come in thousands of segments, each of which a decoder appends to all before it.
    """
    kept, copied, at = [], 0, 2
    while (found := _MARKER.search(media, at)) is not None:
        marker, at = media[found.start() + 1], found.end()
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            break
        if marker in _WITHOUT_LENGTH:
            continue
        at += max(2, int.from_bytes(media[at : at + 2], "big"))
        if marker in _NOTES:
            kept.append(media[copied : found.start()])
            copied = at
    kept.append(media[copied:])
    return b"".join(kept)


def note(media: mmap | bytes, wanted: int, begins: bytes) -> bytes:
    """The first note of this marker before the first scan whose body begins with `begins`; empty without one."""
    at = 2
    while (found := _MARKER.search(media, at)) is not None:
        marker, at = media[found.start() + 1], found.end()
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            break
        if marker in _WITHOUT_LENGTH:
            continue
        length = max(2, int.from_bytes(media[at : at + 2], "big"))
        if marker == wanted and media[at + 2 : at + 2 + len(begins)] == begins:
            return media[at + 2 : at + length]
        at += length
    return b""
