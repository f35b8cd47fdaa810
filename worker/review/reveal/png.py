"""Writes pixels as a PNG. There is nothing here that could read one: the review pages parse no media."""

from __future__ import annotations

import struct
import zlib

from worker.review.reveal.watermark import Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_GREY, _RGB = 0, 2
_LEVEL = 6


def png(pixels: Pixels) -> bytes:
    """A PNG of rows x columns x 1 (grey) or 3 (RGB), and no chunk that says anything else."""
    rows, columns, channels = pixels.shape
    colour = _GREY if channels == 1 else _RGB
    header = _HEADER.pack(columns, rows, 8, colour, 0, 0, 0)
    # Each row begins with the number of its filter: 0, none.
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    return _SIGNATURE + b"".join(
        (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(lines, _LEVEL)), _chunk(b"IEND", b""))
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
