"""Decode a video and hash frames chosen by presentation time.

FFmpeg opens playlists, sockets and neighbouring files when asked politely, so a container is opened only by
`_open_container`, which allows a handful of demuxers and no protocol at all. This runs in the sandbox's child.
"""

import errno
import io
import time
from dataclasses import dataclass, field
from mmap import mmap
from typing import NoReturn, cast

import av
import av.container
import av.error
import av.stream
import av.video.stream
from av.video.reformatter import Interpolation, VideoReformatter

from worker.domain import HashedMedia, Kind, ViewHash
from worker.media import pdq
from worker.media.image import RefusalError
from worker.media.limits import Limits, Reason

_DEMUXERS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf"
_CONTAINERS = frozenset({*_DEMUXERS.split(","), "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
_CODECS = frozenset(
    {
        "h264",
        "hevc",
        "vp8",
        "vp9",
        "av1",
        "libdav1d",
        "libvpx",
        "libvpx-vp9",
        "libaom-av1",
        "mpeg4",
        "mpeg2video",
        "mpeg1video",
        "h263",
        "mjpeg",
        "prores",
        "wmv1",
        "wmv2",
        "wmv3",
        "vc1",
        "theora",
        "flv",
        "flv1",
        "msmpeg4v1",
        "msmpeg4v2",
        "msmpeg4",
        "msmpeg4v3",
    }
)
_CONVERSION = Interpolation.POINT | Interpolation.ACCURATE_RND
"""Bit for bit the colours that the published vPDQ hashes were made from; without exact rounding dim frames drift."""
_PROBE_BYTES = "5000000"
_PROBE_MICROSECONDS = "5000000"
_IO_SECONDS = 5.0
_FALLBACK_FPS = 25.0
_MOST_FRAMES_APART = 120
"""A frame is hashed at least this often, whatever the timestamps claim."""
_MOST_READ_FAULTS = 100
_THRIFTY_SHARE = 0.5
"""Of the CPU or wall budget; beyond it only keyframes are decoded."""
_LAST_SHARE = 0.9
_LONGEST_SECONDS = 10 * 365 * 86_400.0


class _Upload(io.RawIOBase):
    """The mapped bytes as a file with a name of ours: FFmpeg chooses some demuxers by name."""

    name = "<upload>"

    def __init__(self, media: mmap) -> None:
        super().__init__()
        self._media = media
        self._size = len(media)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        chunk = self._media[self._at : end] if self._at < end else b""
        self._at += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def _deny(*_request: object) -> NoReturn:
    raise PermissionError(errno.EACCES, "no second file")


class _Budget:
    """What is left to spend: CPU, wall clock, decoded frames and pixels, kept hashes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cpu = time.process_time()
        self._wall = time.monotonic()
        self.frames = 0
        self.pixels = 0
        self.kept = 0

    def _share(self) -> tuple[float, float]:
        return (
            (time.process_time() - self._cpu) / self._limits.video_cpu,
            (time.monotonic() - self._wall) / self._limits.video_wall,
        )

    @property
    def thrifty(self) -> bool:
        return max(self._share()) > _THRIFTY_SHARE

    def spent(self) -> Reason | None:
        """The limit that ends the decode now, before the kernel ends it and takes the hashes along."""
        cpu, wall = self._share()
        if cpu > _LAST_SHARE:
            return Reason.CPU_LIMIT
        if wall > _LAST_SHARE:
            return Reason.WALL_LIMIT
        if self.kept >= self._limits.video_frames or self.frames >= self._limits.video_decoded_frames:
            return Reason.FRAME_LIMIT
        if self.pixels >= self._limits.video_decoded_pixels:
            return Reason.PIXEL_LIMIT
        return None


@dataclass(slots=True)
class _Sampler:
    """Which frames of one stream are hashed, and what was found."""

    start: float
    fallback_step: float
    interval: float
    colours: VideoReformatter = field(default_factory=VideoReformatter)
    hashes: list[ViewHash] = field(default_factory=list)
    last: list[ViewHash] = field(default_factory=list)
    seen: int = 0
    due: float = 0.0
    before: float = 0.0
    skipped: int = 0

    def time_of(self, frame: av.VideoFrame) -> float:
        """Seconds from the start; counted where the frame has no usable timestamp."""
        stamp = frame.time
        seconds = self.seen * self.fallback_step if stamp is None else stamp - self.start
        self.seen += 1
        return seconds if 0 <= seconds <= _LONGEST_SECONDS else 0.0

    def wants(self, seconds: float) -> bool:
        wanted = seconds >= self.due or seconds < self.before - 1 or self.skipped >= _MOST_FRAMES_APART
        self.before = seconds
        self.skipped = 0 if wanted else self.skipped + 1
        if wanted and self.interval:
            self.due = (seconds // self.interval + 1) * self.interval
        return wanted


def hash_video(media: mmap, limits: Limits) -> HashedMedia:
    """Decode and hash. Raises `RefusalError` for what is not hashed, MemoryError where memory ran out."""
    container = _open_container(media, limits)
    with container:
        return _hash_streams(container, limits)


def _open_container(media: mmap, limits: Limits) -> av.container.InputContainer:
    """Open with an allow-list of demuxers, no protocol, no second file, and our name for the upload.

    A refused demuxer ends with EINVAL before it reads a byte (measured with HLS, DASH, concat and SDP).
    """
    try:
        container: av.container.InputContainer = av.open(
            mode="r",
            file=cast(io.BufferedReader, _Upload(media)),
            options={
                "format_whitelist": _DEMUXERS,
                "protocol_whitelist": "none",
                "probesize": _PROBE_BYTES,
                "analyzeduration": _PROBE_MICROSECONDS,
                "max_streams": str(limits.container_streams),
            },
            io_open=_deny,
            timeout=(_IO_SECONDS, _IO_SECONDS),
        )
    except av.error.FFmpegError as fault:
        refused = fault.errno == errno.EINVAL
        raise RefusalError(Reason.FORMAT_NOT_ALLOWED if refused else Reason.BROKEN) from fault
    if container.format.name not in _CONTAINERS:
        container.close()
        raise RefusalError(Reason.FORMAT_NOT_ALLOWED)
    return container


def _hash_streams(container: av.container.InputContainer, limits: Limits) -> HashedMedia:
    streams = _chosen(container, limits)
    duration = _duration(container)
    interval = _interval(duration, limits)
    samplers = {
        stream.index: _Sampler(
            start=float((stream.start_time or 0) * (stream.time_base or 0)),
            fallback_step=1 / max(float(stream.average_rate or _FALLBACK_FPS), 0.001),
            interval=interval,
        )
        for stream in streams
    }
    cut = _decode(container, streams, samplers, limits)
    hashes = sorted(
        (each for sampler in samplers.values() for each in sampler.hashes),
        key=lambda each: each.frame_time or 0.0,
    )
    if not hashes:
        raise RefusalError(cut if isinstance(cut, Reason) else Reason.BROKEN)
    last = max(sampler.before for sampler in samplers.values())
    return HashedMedia(
        kind=Kind.VIDEO,
        reason=cut or "",
        hashes=tuple(hashes),
        partial=cut is not None,
        width=streams[0].codec_context.width,
        height=streams[0].codec_context.height,
        duration=min(max(duration, last), _LONGEST_SECONDS),
    )


def _chosen(container: av.container.InputContainer, limits: Limits) -> list[av.video.stream.VideoStream]:
    """The real video streams; the picture of an album cover is not one."""
    pictures = av.stream.Disposition.attached_pic
    found = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not found:
        raise RefusalError(Reason.NO_VIDEO_STREAM)
    allowed = [
        stream
        for stream in found
        if stream.codec_context is not None and stream.codec_context.name in _CODECS
    ][: limits.video_streams]
    if not allowed:
        raise RefusalError(Reason.CODEC_NOT_ALLOWED)
    for stream in allowed:
        codec = stream.codec_context
        if max(codec.width, codec.height) > limits.video_side:
            raise RefusalError(Reason.SIDE_LIMIT)
        if codec.width * codec.height > limits.video_pixels:
            raise RefusalError(Reason.PIXEL_LIMIT)
        # PyAV passes this on only when it is set on the codec itself, before the first packet.
        codec.options = {"max_pixels": str(limits.video_pixels)}
        codec.thread_count = 1
    for other in container.streams:
        if other not in allowed:
            other.discard = av.stream.Discard.all
    return allowed


def _decode(
    container: av.container.InputContainer,
    streams: list[av.video.stream.VideoStream],
    samplers: dict[int, _Sampler],
    limits: Limits,
) -> Reason | str | None:
    """Decode packet by packet, so that one broken packet costs its own frames only.

    Returns None when everything was decoded, '' when damage was stepped over, else the limit that ended it.
    """
    budget = _Budget(limits)
    damaged, idle, thrifty = False, 0, False
    packets, faults = container.demux(streams), 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return "" if damaged else None
        except av.error.FFmpegError:
            # The generator is over; reading on behind the damage needs a new one.
            packets, faults, damaged = container.demux(streams), faults + 1, True
            if faults > _MOST_READ_FAULTS:
                return ""
            continue
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.error.FFmpegError:
            damaged, frames = True, []
        idle = 0 if frames else idle + 1
        if idle > limits.video_idle_packets:
            return Reason.BROKEN
        for frame in frames:
            sampler = samplers[packet.stream.index]
            intact = _take(cast(av.VideoFrame, frame), sampler, budget)
            damaged = damaged or not intact
            if sampler.before > limits.video_seconds:
                return Reason.FRAME_LIMIT
            ended = budget.spent()
            if ended is not None:
                return ended
            if not thrifty and (budget.thrifty or sampler.before > limits.video_full_seconds):
                thrifty = True
                for stream in streams:
                    stream.codec_context.skip_frame = "NONKEY"


def _take(frame: av.VideoFrame, sampler: _Sampler, budget: _Budget) -> bool:
    """Hash the frame if it is wanted and new; whether it is undamaged."""
    budget.frames += 1
    budget.pixels += frame.width * frame.height
    seconds = sampler.time_of(frame)
    if not sampler.wants(seconds):
        return not frame.is_corrupt
    try:
        # By default the conversion starts a thread a core; the child may start none.
        shown = sampler.colours.reformat(frame, format="rgb24", interpolation=_CONVERSION, threads=1)
    except av.error.FFmpegError:
        return False
    views = pdq.hash_frame(cast(pdq.Pixels, shown.to_ndarray()), frame_time=seconds)
    if not sampler.last or not pdq.is_repeat(views, sampler.last):
        sampler.last = views
        sampler.hashes += views
        budget.kept += 1
    return not frame.is_corrupt


def _duration(container: av.container.InputContainer) -> float:
    """Seconds that the container claims; 0 where it claims nothing usable."""
    claimed = (container.duration or 0) / 1_000_000
    return claimed if 0 < claimed <= _LONGEST_SECONDS else 0.0


def _interval(claimed_duration: float, limits: Limits) -> float:
    """Seconds between hashed frames; wider where the claimed duration would not fit the frame budget."""
    if not limits.video_rate:
        return 0.0
    return max(1 / limits.video_rate, min(claimed_duration, limits.video_seconds) / limits.video_frames)
