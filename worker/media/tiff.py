"""How many pages a TIFF claims, counted by its chain of directories without reading any."""

import struct
from mmap import mmap

_ORDERS = {b"II": "<", b"MM": ">"}
_BIG = 43
"""The version of a BigTIFF."""


def pages(media: mmap | bytes, most: int) -> int:
    """The directories that follow each other, at most `most` and at least 1; a chain that turns back ends."""
    order = _ORDERS.get(bytes(media[:2]))
    if order is None or len(media) < 16:
        return 1
    big = struct.unpack_from(order + "H", media, 2)[0] == _BIG
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    at = struct.unpack_from(order + offset, media, 8 if big else 4)[0]
    seen: set[int] = set()
    while at and at not in seen and len(seen) < most:
        seen.add(at)
        try:
            entries = struct.unpack_from(order + count, media, at)[0]
            at = struct.unpack_from(
                order + offset, media, at + struct.calcsize(order + count) + entry * entries
            )[0]
        except struct.error:
            break
    return max(1, len(seen))
