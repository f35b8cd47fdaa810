"""What one object may cost, and the typed reason for each limit and each refusal.

Every limit ends in a `Reason`, never in silence: an object over a limit is *not cleared*.
"""

from dataclasses import dataclass
from enum import StrEnum

from worker.domain import HashedMedia, Kind

_MIB = 1 << 20
_GIB = 1 << 30


class Reason(StrEnum):
    """Why an object has no hashes, or (beside hashes of a partial decode) what cut the decode short."""

    FILE_SIZE_LIMIT = "file_size_limit"
    PIXEL_LIMIT = "pixel_limit"
    SIDE_LIMIT = "side_limit"
    ASPECT_LIMIT = "aspect_limit"
    SCAN_LIMIT = "scan_limit"
    FRAME_LIMIT = "frame_limit"
    PACKET_LIMIT = "packet_limit"
    STREAM_LIMIT = "stream_limit"
    DURATION_LIMIT = "duration_limit"
    CPU_LIMIT = "cpu_limit"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    CRASHED = "crashed"
    BROKEN = "broken"
    TRUNCATED = "truncated"
    NO_VIDEO_STREAM = "no_video_stream"
    CODEC_NOT_ALLOWED = "codec_not_allowed"
    FORMAT_NOT_ALLOWED = "format_not_allowed"
    EMPTY = "empty"


UNSUPPORTED_REASONS = frozenset({Reason.FORMAT_NOT_ALLOWED, Reason.NO_VIDEO_STREAM, Reason.EMPTY})
"""Reasons of objects that are no picture and no video; every other reason means media that wasn't hashed."""


class RefusalError(Exception):
    """A result on its way out of a decoder: an object that is not hashed, with its typed reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one object. Sizes in bytes, times in seconds, sides and areas in pixels.

    The numbers hold phone photographs of 200 megapixels and videos of an hour, and stop the measured
    bombs: a 78 KB progressive JPEG that costs 6 s of CPU, a 1 KB AVIF that costs 580 MB, a 500 KB GIF
    that costs 30 s.
    """

    image_bytes: int = 40 * _MIB
    image_pixels: int = 64_000_000
    """Of any picture but a baseline JPEG, which the decoder shrinks while it reads."""
    image_side: int = 16_384
    image_aspect: int = 50
    """Longer side to shorter: a hash of a strip says nothing of the pictures that may stand along it."""
    jpeg_pixels: int = 225_000_000
    jpeg_side: int = 32_768
    jpeg_scans: int = 100
    """Each scan of a progressive JPEG is a pass over the whole picture; libjpeg has no limit of its own."""
    image_frames: int = 32
    """Frames hashed of an animated picture, the first and others spread over the rest; as many pictures of a file."""
    image_frames_walked: int = 2_000
    image_frame_pixels: int = 256_000_000
    """Frames composed on the way to the hashed ones, times the canvas."""
    edited_views: int = 8_000
    """Views of a picture as an edited copy that are looked up beside the plain ones."""
    image_cpu: float = 5.0
    image_wall: float = 10.0
    image_memory: int = 3 * _GIB // 2

    video_bytes: int = 512 * _MIB
    video_pixels: int = 40_000_000
    video_side: int = 8_192
    video_rate: float = 32.0
    """Frames looked at a second of presentation time, at most; 0 looks at every frame."""
    video_frames: int = 5_400
    """Distinct frames kept for look-ups: four a second for twenty minutes at the least. More are thinned."""
    video_bank_frames: int = 4_800
    """Frames kept as a bank would hold them, one a second."""
    video_full_seconds: float = 1_200.0
    """After this much presentation time only keyframes are decoded."""
    video_seconds: float = 14_400.0
    video_decoded_frames: int = 500_000
    video_decoded_pixels: int = 60_000_000_000
    video_idle_packets: int = 20_000
    """Packets in a row that give no frame."""
    video_streams: int = 4
    """Hashed; as many covers."""
    container_streams: int = 32
    probe_bytes: int = 5_000_000
    probe_seconds: float = 5.0
    video_cpu: float = 120.0
    video_wall: float = 180.0
    video_memory: int = 2 * _GIB

    stills_cpu: float = 12.0
    stills_wall: float = 20.0
    """For the stills of a video that a reviewer waits for."""


def refused(reason: Reason) -> HashedMedia:
    """The result for an object that has no hashes: UNSUPPORTED for what is no media, else UNSCANNABLE."""
    kind = Kind.UNSUPPORTED if reason in UNSUPPORTED_REASONS else Kind.UNSCANNABLE
    return HashedMedia(kind=kind, reason=reason)
