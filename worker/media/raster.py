"""The record of a showing: a fixed header and raw rows of pixels, no more of them than the rung allows.

As with the record of hashes the child is assumed to be hostile: nothing leaves `parse` before its bounds are
checked. What passes is pixels and nothing else, whatever they show.
"""

import math
import struct

from worker.domain import Kind
from worker.media.limits import Reason
from worker.media.record import RecordError
from worker.media.rungs import Raster, Showing, Shown

_MAGIC = b"HWS1"
_HEADER = struct.Struct("<4sBBxxII")
"""Magic, index of the reason, number of rasters, width and height of the picture."""
_RASTER = struct.Struct("<HHd")
"""Width, height, and seconds (`_STILL` for a picture), followed by the rows."""
_REASONS = ("", *Reason)
_STILL = -1.0
_LONGEST_SECONDS = 10 * 366 * 86_400.0
_LARGEST_SIDE = 1 << 20


def longest(showing: Showing, kind: Kind) -> int:
    """Bytes of the longest record that a healthy child can write."""
    side = showing.longest_side(kind)
    each = _RASTER.size + side * side * showing.channels
    return _HEADER.size + showing.most_stills(kind) * each


def pack(shown: Shown) -> bytes:
    """Lay out what was rendered."""
    header = _HEADER.pack(_MAGIC, _REASONS.index(shown.reason), len(shown.rasters), shown.width, shown.height)
    return header + b"".join(
        _RASTER.pack(each.width, each.height, _STILL if each.seconds is None else each.seconds) + each.pixels
        for each in shown.rasters
    )


def parse(untrusted_record: bytes, showing: Showing, kind: Kind) -> Shown:
    """Read the answer to `showing` of media of this kind.

    Raises `RecordError` at the first value out of bounds; nothing of such a record is used.
    """
    if not _HEADER.size <= len(untrusted_record) <= longest(showing, kind):
        raise RecordError("length")
    untrusted_magic, untrusted_reason, untrusted_count, untrusted_width, untrusted_height = (
        _HEADER.unpack_from(untrusted_record)
    )
    if untrusted_magic != _MAGIC or untrusted_reason >= len(_REASONS):
        raise RecordError("header")
    if untrusted_width > _LARGEST_SIDE or untrusted_height > _LARGEST_SIDE:
        raise RecordError("size")
    if untrusted_count > showing.most_stills(kind) or bool(untrusted_count) is bool(untrusted_reason):
        raise RecordError("count")
    rasters, at = [], _HEADER.size
    for _ in range(untrusted_count):
        raster, at = _parse_raster(untrusted_record, at, showing, kind)
        rasters.append(raster)
    if at != len(untrusted_record):
        raise RecordError("length")
    return Shown(tuple(rasters), untrusted_width, untrusted_height, _REASONS[untrusted_reason])


def _parse_raster(untrusted_record: bytes, at: int, showing: Showing, kind: Kind) -> tuple[Raster, int]:
    if at + _RASTER.size > len(untrusted_record):
        raise RecordError("length")
    untrusted_width, untrusted_height, untrusted_seconds = _RASTER.unpack_from(untrusted_record, at)
    side = showing.longest_side(kind)
    if not (1 <= untrusted_width <= side and 1 <= untrusted_height <= side):
        raise RecordError("size of a raster")
    if untrusted_seconds != _STILL and not (
        math.isfinite(untrusted_seconds) and 0 <= untrusted_seconds <= _LONGEST_SECONDS
    ):
        raise RecordError("seconds")
    start = at + _RASTER.size
    end = start + untrusted_width * untrusted_height * showing.channels
    if end > len(untrusted_record):
        raise RecordError("length")
    seconds = None if untrusted_seconds == _STILL else untrusted_seconds
    return Raster(
        untrusted_width, untrusted_height, showing.channels, untrusted_record[start:end], seconds
    ), end
