"""Decode a video and hash frames chosen by presentation time.

A container is opened by `container.open_container` alone. This runs in the sandbox's child.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from mmap import mmap
from typing import cast

import av
import av.container
import av.error
import av.stream
import av.video.stream
from av.video.reformatter import Interpolation, VideoReformatter

from worker.domain import HashedMedia, Kind, ViewHash
from worker.media import frames, pdq
from worker.media.container import open_container
from worker.media.covers import Covers
from worker.media.limits import Limits, Reason, RefusalError

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
_EXACT = Interpolation.POINT | Interpolation.ACCURATE_RND
_EXACT_SIDE = 16
"""Bit for bit the colours that the published vPDQ hashes were made from: rounded exactly where the width is a multiple
of this, and as FFmpeg's plain C code does where it is not. Dim frames drift by up to 74 bits otherwise."""
_FALLBACK_FPS = 25.0
_MOST_FRAMES_APART = 120
"""A frame is hashed at least this often, whatever the timestamps claim."""
_MOST_READ_FAULTS = 100
_THRIFTY_SHARE = 0.5
"""Of the CPU or wall budget; beyond it only keyframes are decoded."""
_LAST_SHARE = 0.9
_FINEST_INTERVAL = 1 / 64
"""Seconds between kept frames from which thinning starts where every frame is looked at."""
_LEAST_SHARE = 0.5
"""Of the packets or of the claimed seconds: with less of a video seen it is not cleared."""
_NOT_MISSED = 1.0
"""Seconds at the end of a video that its claim may exceed it by."""
_LONGEST_SECONDS = 10 * 365 * 86_400.0


class _Budget:
    """What is left to spend: CPU, wall clock, decoded frames and pixels, places for covers."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cpu = time.process_time()
        self._wall = time.monotonic()
        self.frames = 0
        self.pixels = 0
        self.covers = 0

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
        if self.frames >= self._limits.video_decoded_frames:
            return Reason.FRAME_LIMIT
        if self.pixels >= self._limits.video_decoded_pixels:
            return Reason.PIXEL_LIMIT
        return None


@dataclass(slots=True)
class _Sampler:
    """Which frames of one stream are hashed, and what was found.

    For look-ups every frame that moved is wanted, up to a rate: a bank's frames are a second apart, and in a moving
    picture the frames beside them are already too far from them. When there are too many, they are thinned to twice
    the interval, so that a container's claims about itself decide nothing.
    """

    start: float
    fallback_step: float
    interval: float
    places: int
    """Frames that may be kept for look-ups."""
    step: int
    """Every so many frames one goes into a bank's vPDQ; 0 where the stream is not the one that vPDQ reads."""
    bank_places: int
    colours: VideoReformatter = field(default_factory=VideoReformatter)
    kept: list[list[ViewHash]] = field(default_factory=list)
    vpdq: list[ViewHash] = field(default_factory=list)
    last: list[ViewHash] = field(default_factory=list)
    seen: int = 0
    due: float = 0.0
    before: float = 0.0
    until: float = 0.0
    """How far the frames reach that were seen, in seconds."""
    skipped: int = 0
    thrifty: bool = False
    """Only keyframes are decoded: counting them says nothing any more."""

    def time_of(self, frame: av.VideoFrame) -> float:
        """Seconds from the start; counted where the frame has no usable timestamp."""
        stamp = frame.time
        seconds = self.seen * self.fallback_step if stamp is None else stamp - self.start
        self.seen += 1
        seconds = seconds if 0 <= seconds <= _LONGEST_SECONDS else 0.0
        shown = float((frame.duration or 0) * (frame.time_base or 0))
        self.until = max(self.until, seconds + min(max(shown, self.fallback_step), _LONGEST_SECONDS))
        return seconds

    def wants(self, seconds: float) -> bool:
        wanted = seconds >= self.due or seconds < self.before - 1 or self.skipped >= _MOST_FRAMES_APART
        self.before = seconds
        self.skipped = 0 if wanted else self.skipped + 1
        if wanted and self.interval:
            self.due = (seconds // self.interval + 1) * self.interval
        return wanted

    def selects(self, seconds: float) -> bool:
        """Whether vPDQ selects the frame that was seen last: by count, however long each was shown."""
        if not self.step or len(self.vpdq) >= self.bank_places:
            return False
        if self.thrifty:
            return not self.vpdq or seconds >= (self.vpdq[-1].frame_time or 0.0) + 1
        return (self.seen - 1) % self.step == 0

    def keep(self, views: list[ViewHash]) -> None:
        self.last = views
        self.kept.append(views)
        while len(self.kept) > self.places:
            self.interval = max(self.interval * 2, _FINEST_INTERVAL)
            first: dict[float, list[ViewHash]] = {}
            for each in self.kept:
                first.setdefault((each[0].frame_time or 0.0) // self.interval, each)
            self.kept = list(first.values())


@dataclass(slots=True)
class _Decoded:
    """How a decode went: the limit that ended it, packets read and lost, and whether only keyframes were seen."""

    cut: Reason | None = None
    read: int = 0
    lost: int = 0
    thrifty: bool = False


def hash_video(media: mmap | bytes, limits: Limits) -> HashedMedia:
    """Decode and hash. Raises `RefusalError` for what is not hashed, MemoryError where memory ran out."""
    container = open_container(media, limits)
    with container:
        return _hash_streams(container, limits)


@dataclass(slots=True)
class Chosen:
    """The streams that are hashed, and why others are not."""

    films: list[av.video.stream.VideoStream] = field(default_factory=list)
    covers: list[av.video.stream.VideoStream] = field(default_factory=list)
    missed: Reason | None = None


def _hash_streams(container: av.container.InputContainer, limits: Limits) -> HashedMedia:
    chosen = choose(container, limits)
    if not chosen.films and not chosen.covers:
        raise RefusalError(chosen.missed or Reason.NO_VIDEO_STREAM)
    duration = claimed_seconds(container)
    samplers = _samplers(chosen, limits)
    covers = Covers(limits)
    decoded = _decode(container, chosen, samplers, covers, limits)
    # One stream after another: matching looks at a stream's frames in their order.
    hashes = covers.hashes + [
        each for sampler in samplers.values() for views in sampler.kept for each in views
    ]
    if not hashes:
        raise RefusalError(decoded.cut or chosen.missed or covers.missed or Reason.BROKEN)
    seen = 1.0 if decoded.cut or decoded.thrifty else _seen_share(container, chosen.films, samplers)
    reason = decoded.cut or chosen.missed or covers.missed
    if reason is None and seen < _LEAST_SHARE:
        reason = Reason.TRUNCATED
    if reason is None and decoded.lost > decoded.read * (1 - _LEAST_SHARE):
        reason = Reason.BROKEN
    last = max((sampler.until for sampler in samplers.values()), default=0.0)
    shown = chosen.films[0] if chosen.films else chosen.covers[0]
    return HashedMedia(
        kind=Kind.VIDEO,
        reason=reason or "",
        hashes=tuple(hashes),
        partial=reason is not None or decoded.lost > 0 or seen < 1 or covers.damaged,
        width=shown.codec_context.width,
        height=shown.codec_context.height,
        duration=min(max(duration, last), _LONGEST_SECONDS),
        vpdq=tuple(each for sampler in samplers.values() for each in sampler.vpdq),
    )


def _samplers(chosen: Chosen, limits: Limits) -> dict[int, _Sampler]:
    """A sampler for each stream; covers, where there are any, have places of their own."""
    interval = 1 / limits.video_rate if limits.video_rate else 0.0
    places = limits.video_frames - _cover_places(chosen, limits)
    samplers = {}
    for at, stream in enumerate(chosen.films):
        rate = float(stream.average_rate or stream.base_rate or _FALLBACK_FPS)
        samplers[stream.index] = _Sampler(
            start=float((stream.start_time or 0) * (stream.time_base or 0)),
            fallback_step=1 / max(rate, 0.001),
            interval=interval,
            places=max(1, places // len(chosen.films)),
            # As the reference: the first stream's frames, at their number a second without its fraction.
            step=0 if at else max(1, int(rate)),
            bank_places=limits.video_bank_frames,
        )
    return samplers


def _cover_places(chosen: Chosen, limits: Limits) -> int:
    if not chosen.films:
        return limits.video_frames
    return min(limits.image_frames, limits.video_frames // 2) if chosen.covers else 0


def choose(container: av.container.InputContainer, limits: Limits) -> Chosen:
    """The video streams and covers that may be decoded, the latter as pictures, which they are."""
    chosen = Chosen()
    if len(container.streams) >= limits.container_streams:
        # Some demuxers leave out the streams that are too many without a word.
        chosen.missed = Reason.STREAM_LIMIT
    for stream in container.streams.video:
        cover = bool(stream.disposition & av.stream.Disposition.attached_pic)
        reason = None if cover else _refusal(stream, limits)
        places = chosen.covers if cover else chosen.films
        if reason is None and len(places) >= limits.video_streams:
            reason = Reason.STREAM_LIMIT
        if reason is None:
            places.append(stream)
        else:
            chosen.missed = chosen.missed or reason
    for stream in chosen.films:
        # PyAV passes this on only when it is set on the codec itself, before the first packet.
        stream.codec_context.options = {"max_pixels": str(limits.video_pixels)}
        stream.codec_context.thread_count = 1
    for other in container.streams:
        if other not in chosen.films and other not in chosen.covers:
            other.discard = av.stream.Discard.all
    return chosen


def _refusal(stream: av.video.stream.VideoStream, limits: Limits) -> Reason | None:
    codec = stream.codec_context
    if codec is None or codec.name not in _CODECS:
        return Reason.CODEC_NOT_ALLOWED
    if max(codec.width, codec.height) > limits.video_side:
        return Reason.SIDE_LIMIT
    if codec.width * codec.height > limits.video_pixels:
        return Reason.PIXEL_LIMIT
    return None


def _decode(
    container: av.container.InputContainer,
    chosen: Chosen,
    samplers: dict[int, _Sampler],
    covers: Covers,
    limits: Limits,
) -> _Decoded:
    """Decode packet by packet, so that one broken packet costs its own frames only."""
    budget, so_far = _Budget(limits), _Decoded()
    streams = [*chosen.films, *chosen.covers]
    packets, faults, idle = container.demux(streams), 0, 0
    while so_far.cut is None:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError:
            # The generator is over; reading on behind the damage needs a new one.
            packets, faults = container.demux(streams), faults + 1
            so_far.lost += 1
            if faults > _MOST_READ_FAULTS:
                so_far.cut = Reason.BROKEN
            continue
        so_far.read += 1
        sampler = samplers.get(packet.stream.index)
        if sampler is None:
            budget.covers += covers.take(packet, _cover_places(chosen, limits) - budget.covers)
            continue
        frames, intact = frames_of(cast("av.Packet[av.video.stream.VideoStream]", packet))
        so_far.lost += not intact
        idle = 0 if frames else idle + 1
        if idle > limits.video_idle_packets:
            so_far.cut = Reason.PACKET_LIMIT
        for frame in frames:
            so_far.lost += not _take(frame, sampler, budget)
            so_far.cut = Reason.DURATION_LIMIT if sampler.before > limits.video_seconds else budget.spent()
            if so_far.cut is not None:
                break
            if not so_far.thrifty and (budget.thrifty or sampler.before > limits.video_full_seconds):
                so_far.thrifty = True
                for stream in chosen.films:
                    stream.codec_context.skip_frame = "NONKEY"
                    samplers[stream.index].thrifty = True
    return so_far


def frames_of(packet: "av.Packet[av.video.stream.VideoStream]") -> tuple[list[av.VideoFrame], bool]:
    """The frames that a packet completes, and whether it could be decoded."""
    try:
        return packet.decode(), True
    except MemoryError:
        raise
    except av.error.FFmpegError:
        return [], False


def _seen_share(
    container: av.container.InputContainer,
    films: Iterable[av.video.stream.VideoStream],
    samplers: dict[int, _Sampler],
) -> float:
    """The share of the claimed seconds that frames were seen of; 1 where that is nearly all or nothing is claimed.

    A container's own claim may be that of its sound, so it counts only where there is none.
    """
    share = 1.0
    for stream in films:
        claimed = float((stream.duration or 0) * (stream.time_base or 0))
        if not claimed and not container.streams.audio:
            claimed = claimed_seconds(container)
        seen = samplers[stream.index].until
        if _NOT_MISSED < claimed <= _LONGEST_SECONDS and seen < claimed - _NOT_MISSED:
            share = min(share, seen / claimed)
    return share


def _take(frame: av.VideoFrame, sampler: _Sampler, budget: _Budget) -> bool:
    """Hash the frame if a bank would hold it, or if it is wanted and new; whether it is undamaged."""
    budget.frames += 1
    budget.pixels += frame.width * frame.height
    seconds = sampler.time_of(frame)
    selected, wanted = sampler.selects(seconds), sampler.wants(seconds)
    if not selected and not wanted:
        return not frame.is_corrupt
    try:
        views = frames.hash_frame(frames.luma_of(frame, sampler.colours), frame_time=seconds)
        if selected:
            views[0] = _vpdq_frame(frame, sampler, seconds)
    except av.error.FFmpegError:
        return False
    # A bank's frame is kept in any case: who looks at the hashes finds there what a bank would hold.
    if selected or not sampler.last or not frames.is_repeat(views, sampler.last):
        sampler.keep(views)
    return not frame.is_corrupt


def _vpdq_frame(frame: av.VideoFrame, sampler: _Sampler, seconds: float) -> ViewHash:
    """Hash a frame as a bank does, and put it with those of the video that a bank would hold."""
    rounding = Interpolation.POINT if frame.width % _EXACT_SIDE else _EXACT
    # By default the conversion starts a thread a core; the child may start none.
    shown = sampler.colours.reformat(frame, format="rgb24", interpolation=rounding, threads=1)
    found = pdq.vpdq_frame(cast(pdq.Pixels, shown.to_ndarray()), frame_time=seconds)
    sampler.vpdq.append(found)
    return found


def claimed_seconds(container: av.container.InputContainer) -> float:
    """Seconds that the container claims; 0 where it claims nothing usable."""
    claimed = (container.duration or 0) / 1_000_000
    return claimed if 0 < claimed <= _LONGEST_SECONDS else 0.0
