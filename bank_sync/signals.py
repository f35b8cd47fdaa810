"""Signal types: how a hash is written as text on a wire or in a file, and packed as bytes in the bank.

Lengths are strict: a hash of the wrong length is refused, never padded or cut, and no error text quotes it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from config.errors import HashwardenError

PDQ = "pdq"
VIDEO_MD5 = "video_md5"
VPDQ = "vpdq"
SIGNAL_TYPES = (PDQ, VIDEO_MD5, VPDQ)

PDQ_BYTES = 32
MD5_BYTES = 16

MAX_FRAMES = 100_000
"""Frames a vPDQ signal may hold: more than 13 hours at two a second."""

MAX_TIME = 1e7
"""Seconds a frame's time may reach: four months."""

_FRAME = struct.Struct("<32sBf")
FRAME_BYTES = _FRAME.size


class SignalError(HashwardenError):
    """A hash is not what its signal type says it is."""

    code = "signal"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a vPDQ signal: 32 bytes of PDQ, quality 0..100, seconds from the start."""

    hash: bytes
    quality: int
    time: float


def parse(signal_type: str, text: str) -> bytes:
    """The packed bytes of a hash written as text; upper-case hex is accepted.

    pdq: 32 bytes; video_md5: 16 bytes; vpdq: 37 bytes a frame. Raises SignalError.
    """
    if signal_type == PDQ:
        return _parse_hex(text, PDQ_BYTES, signal_type)
    if signal_type == VIDEO_MD5:
        return _parse_hex(text, MD5_BYTES, signal_type)
    if signal_type == VPDQ:
        return _parse_vpdq(text)
    raise SignalError(
        "The signal type is not known.", next_step=f"Known signal types are {', '.join(SIGNAL_TYPES)}."
    )


def write(signal_type: str, signal: bytes) -> str:
    """The text of a packed signal: lower-case hex, or the JSON array of a vPDQ. Raises SignalError."""
    if signal_type == PDQ and len(signal) == PDQ_BYTES:
        return signal.hex()
    if signal_type == VIDEO_MD5 and len(signal) == MD5_BYTES:
        return signal.hex()
    if signal_type == VPDQ:
        return json.dumps([f"{f.hash.hex()},{f.quality},{f.time:.9g}" for f in unpack_frames(signal)])
    raise _wrong(signal_type, "its packed length is wrong")


def pack_frames(frames: Iterable[Frame]) -> bytes:
    """Packs frames as little-endian records of 37 bytes: hash, u8 quality, f32 seconds. Raises SignalError."""
    packed = []
    for frame in frames:
        if len(frame.hash) != PDQ_BYTES or not 0 <= frame.quality <= 100 or not 0 <= frame.time <= MAX_TIME:
            raise _wrong(VPDQ, "a frame is out of bounds")
        packed.append(_FRAME.pack(frame.hash, frame.quality, frame.time))
    if not 0 < len(packed) <= MAX_FRAMES:
        raise _wrong(VPDQ, f"it needs 1 to {MAX_FRAMES} frames")
    return b"".join(packed)


def unpack_frames(signal: bytes) -> list[Frame]:
    """The frames of a packed vPDQ signal. Raises SignalError on a length that is no whole number of frames."""
    if not signal or len(signal) % _FRAME.size:
        raise _wrong(VPDQ, "its packed length is wrong")
    return [Frame(*fields) for fields in _FRAME.iter_unpack(signal)]


def signal_key(signal: bytes) -> bytes:
    """What tells one signal of a type from another: itself up to 32 bytes, else its SHA-256."""
    return signal if len(signal) <= PDQ_BYTES else hashlib.sha256(signal).digest()


def _parse_hex(text: str, size: int, signal_type: str) -> bytes:
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    # bytes.fromhex lets white space through, which makes what it packs shorter.
    if len(text) != size * 2 or len(packed) != size:
        raise _wrong(signal_type, f"it is not {size * 2} hex digits")
    return packed


def _parse_vpdq(text: str) -> bytes:
    try:
        lines = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong(VPDQ, "it is not a JSON array") from None
    if not isinstance(lines, list) or not 0 < len(lines) <= MAX_FRAMES:
        raise _wrong(VPDQ, f"it is not a JSON array of 1 to {MAX_FRAMES} frames")
    return pack_frames(_parse_frame(line) for line in lines)


def _parse_frame(line: object) -> Frame:
    """A frame as python-threatexchange writes it, or as a line of vPDQ's own text output."""
    match line.split(",") if isinstance(line, str) else []:
        case [found, quality, time]:
            pass
        case [number, quality, found, time] if number.strip().isdecimal():
            pass
        case _:
            raise _wrong(
                VPDQ, "a frame is neither 'hash,quality,timestamp' nor 'frame,quality,hash,timestamp'"
            )
    try:
        return Frame(_parse_hex(found.strip(), PDQ_BYTES, VPDQ), int(quality), float(time))
    except ValueError:
        raise _wrong(VPDQ, "a frame's quality or timestamp is not a number") from None


def _wrong(signal_type: str, what: str) -> SignalError:
    return SignalError(
        f"A signal of type {signal_type} can't be read: {what}.",
        next_step="Correct it where it comes from; it was not taken.",
    )
