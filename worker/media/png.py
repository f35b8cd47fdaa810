"""A PNG reduced to the chunks that its pixels are made of, whole and in order.

Texts and colour profiles unpack to a thousand times their size before a pixel is read, and no hash needs them:
what is not copied here is never unpacked.
"""

import struct
import zlib
from mmap import mmap

_SIGNATURE = 8
_CHUNK = struct.Struct(">I4s")
_STILL = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})


def bare(media: mmap | bytes, *, still: bool = False) -> tuple[bytes, bool]:
    """The PNG without anything but pixels, and whether it was damaged.

    Checksums are made anew, a chunk that breaks off is kept as far as it goes, a missing end is added, and what
    follows the end is left out. With `still` the animation is left out too: the picture that a viewer
    without animations shows.
    """
    kept = _STILL if still else _STILL | _ANIMATION
    chunks = [media[:_SIGNATURE]]
    at, name, damaged = _SIGNATURE, b"", False
    while at + _CHUNK.size <= len(media) and name != b"IEND":
        length, name = _CHUNK.unpack_from(media, at)
        at += _CHUNK.size
        if name in kept:
            body = media[at : at + length]
            sum_ = zlib.crc32(body, zlib.crc32(name)).to_bytes(4, "big")
            damaged = damaged or len(body) < length or media[at + length : at + length + 4] != sum_
            chunks += [_CHUNK.pack(len(body), name), body, sum_]
        at += length + 4
    if name != b"IEND":
        damaged = True
        chunks += [_CHUNK.pack(0, b"IEND"), zlib.crc32(b"IEND").to_bytes(4, "big")]
    return b"".join(chunks), damaged


def note(media: mmap | bytes, wanted: bytes) -> bytes:
    """The body of the first chunk of this name; empty without one."""
    at, name = _SIGNATURE, b""
    while at + _CHUNK.size <= len(media) and name != b"IEND":
        length, name = _CHUNK.unpack_from(media, at)
        at += _CHUNK.size
        if name == wanted:
            return media[at : at + length]
        at += length + 4
    return b""
