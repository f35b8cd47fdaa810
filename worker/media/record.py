"""The record that a decoding child hands back: fixed layout, fixed meaning, bounded length.

The child is assumed to be hostile: no value leaves `parse` before its bounds are checked, and nothing is
ever unpickled or evaluated.
"""

import math
import struct
from collections.abc import Sequence

from worker.domain import HashedMedia, Kind, Placement, ViewHash
from worker.media.limits import UNSUPPORTED_REASONS, Limits, Reason
from worker.media.sniff import Format
from worker.media.views import CODES, DIHEDRAL, NAMES, PLAIN_VIEWS

_MAGIC = b"HWR5"
_HEADER = struct.Struct("<4sBBBxIIdII")
PLACEMENT = "8h4B2B8b"
"""The layout of `pack_placement`."""
_HASH = struct.Struct(f"<32sBBxxd{PLACEMENT}")
_KINDS = (Kind.IMAGE, Kind.VIDEO, Kind.UNSUPPORTED, Kind.UNSCANNABLE)
_REASONS = ("", *Reason)
_PARTIAL = 1
_STILL = -1.0
_LONGEST_SECONDS = 10 * 366 * 86_400.0
_LARGEST_SIDE = 1 << 20
_CORNER_UNIT = 1 / 4096
_NO_CORNERS = (0,) * 8
_NO_COVER = (0,) * 4
_NO_OUTSIDE = (0,) * 10
_NO_PLACEMENT = _NO_CORNERS + _NO_COVER + _NO_OUTSIDE
_RIMS = 3
_COVER_SIDE = 64
_FAR = 32_767


class RecordError(ValueError):
    """A record that a healthy child would not have written."""


def longest(format_: Format, limits: Limits) -> int:
    """Bytes of the longest record a healthy child can write for an object of this format."""
    return _HEADER.size + (_most_hashes(format_, limits) + limits.video_bank_frames) * _HASH.size


def _most_hashes(format_: Format, limits: Limits) -> int:
    frames = limits.image_frames if format_.kind is Kind.IMAGE else limits.video_frames
    views = PLAIN_VIEWS if format_.kind is Kind.IMAGE else len(DIHEDRAL)
    edited = limits.edited_views if format_.kind is Kind.IMAGE else 0
    return frames * views + edited


def pack(media: HashedMedia) -> bytes:
    """Lay out what was found. Complements must not be among the hashes: the reader makes them."""
    header = _HEADER.pack(
        _MAGIC,
        _KINDS.index(media.kind),
        _REASONS.index(media.reason),
        _PARTIAL if media.partial else 0,
        media.width,
        media.height,
        media.duration,
        len(media.hashes),
        len(media.vpdq),
    )
    return header + b"".join(
        _HASH.pack(
            each.hash,
            CODES[each.view],
            each.quality,
            _STILL if each.frame_time is None else each.frame_time,
            *pack_placement(each.placement),
        )
        for each in (*media.hashes, *media.vpdq)
    )


def parse(untrusted_record: bytes, format_: Format, limits: Limits) -> HashedMedia:
    """Read a record about an object of `format_`.

    Raises `RecordError` at the first value out of bounds; nothing of such a record is used.
    """
    if not _HEADER.size <= len(untrusted_record) <= longest(format_, limits):
        raise RecordError("length")
    (
        untrusted_magic,
        untrusted_kind,
        untrusted_reason,
        untrusted_flags,
        untrusted_width,
        untrusted_height,
        untrusted_duration,
        untrusted_count,
        untrusted_vpdq_count,
    ) = _HEADER.unpack_from(untrusted_record)
    if untrusted_magic != _MAGIC or untrusted_flags > _PARTIAL:
        raise RecordError("header")
    if untrusted_kind >= len(_KINDS) or untrusted_reason >= len(_REASONS):
        raise RecordError("kind or reason")
    if untrusted_width > _LARGEST_SIDE or untrusted_height > _LARGEST_SIDE:
        raise RecordError("size")
    if not _is_time(untrusted_duration):
        raise RecordError("duration")
    untrusted_counts = untrusted_count + untrusted_vpdq_count
    if len(untrusted_record) != _HEADER.size + untrusted_counts * _HASH.size:
        raise RecordError("count")
    if untrusted_count > _most_hashes(format_, limits) or untrusted_vpdq_count > limits.video_bank_frames:
        raise RecordError("count")
    untrusted_hashes = _HASH.iter_unpack(memoryview(untrusted_record)[_HEADER.size :])
    hashes = tuple([_parse_hash(*untrusted_fields) for untrusted_fields in untrusted_hashes])
    media = HashedMedia(
        kind=_KINDS[untrusted_kind],
        reason=_REASONS[untrusted_reason],
        hashes=hashes[:untrusted_count],
        vpdq=hashes[untrusted_count:],
        partial=untrusted_flags == _PARTIAL,
        width=untrusted_width,
        height=untrusted_height,
        duration=untrusted_duration,
    )
    _check_meaning(media, format_)
    return media


def _check_meaning(media: HashedMedia, format_: Format) -> None:
    """A child can't call media clean that it did not hash, nor call a picture a video."""
    if any(each.view or each.frame_time is None for each in media.vpdq):
        raise RecordError("a frame of a bank that is none")
    if media.kind in {Kind.IMAGE, Kind.VIDEO}:
        if media.kind is not format_.kind or not media.originals or (media.reason and not media.partial):
            raise RecordError("hashed without hashes, or of another kind")
        return
    unsupported = media.reason in UNSUPPORTED_REASONS
    if media.hashes or media.vpdq or not media.reason or unsupported is not (media.kind is Kind.UNSUPPORTED):
        raise RecordError("refusal")


def _parse_hash(
    untrusted_hash: bytes,
    untrusted_view: int,
    untrusted_quality: int,
    untrusted_time: float,
    *untrusted_place: int,
) -> ViewHash:
    if untrusted_view >= len(NAMES) or untrusted_quality > 100:
        raise RecordError("view or quality")
    if untrusted_time != _STILL and not _is_time(untrusted_time):
        raise RecordError("frame time")
    return ViewHash(
        untrusted_hash,
        untrusted_quality,
        NAMES[untrusted_view],
        None if untrusted_time == _STILL else untrusted_time,
        parse_placement(untrusted_place),
    )


def pack_placement(placement: Placement | None) -> Sequence[int]:
    """Eight corners of 16 bits, a cover of four bytes, two rims counted from one and eight shades; zeros for none."""
    if placement is None:
        return _NO_PLACEMENT
    corners = [round(side / _CORNER_UNIT) for side in placement.corners]
    if min(corners) < -_FAR or max(corners) > _FAR:
        corners = [max(-_FAR, min(_FAR, side)) for side in corners]
    outside = placement.outside
    beyond = (outside[0] + 1, outside[1] + 1, *outside[2:]) if outside else _NO_OUTSIDE
    return (*corners, *(placement.cover or _NO_COVER), *beyond)


def parse_placement(untrusted_place: Sequence[int]) -> Placement | None:
    """The placement in twenty-two numbers; corners are bounded to eight times the upload by their 16 bits.

    Raises `RecordError` for a cover that is not inside the view or a rim that is none.
    """
    untrusted_corners = untrusted_place[:8]
    if not any(untrusted_corners):
        return None
    corners = tuple([side * _CORNER_UNIT for side in untrusted_corners])
    untrusted_cover, untrusted_rims = untrusted_place[8:12], untrusted_place[12:14]
    cover = None
    if any(untrusted_cover):
        top, left, bottom, right = untrusted_cover
        if not (top < bottom <= _COVER_SIDE and left < right <= _COVER_SIDE):
            raise RecordError("cover")
        cover = (top, left, bottom, right)
    if not any(untrusted_rims):
        return Placement(corners, cover)
    if not all(1 <= rim <= _RIMS for rim in untrusted_rims):
        raise RecordError("rim")
    return Placement(corners, cover, (*(rim - 1 for rim in untrusted_rims), *untrusted_place[14:]))


def _is_time(untrusted_seconds: float) -> bool:
    return math.isfinite(untrusted_seconds) and 0 <= untrusted_seconds <= _LONGEST_SECONDS
