"""Render stills of a video for a reviewer's eyes: few, small, and around the seconds that matched.

This runs in the sandbox's child.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

import av
import av.container
import av.error
import av.video.stream
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from worker.domain import Kind
from worker.media.container import open_container
from worker.media.limits import Limits, Reason, RefusalError
from worker.media.orientation import to_stored
from worker.media.rungs import LONGEST_SIDE, MOST_STILLS, Raster, Rung, Showing, Shown
from worker.media.sniff import sniff
from worker.media.still import draw, fitted, show_picture
from worker.media.video import choose, claimed_seconds, frames_of

_BUDGET_SHARE = 0.7
"""Of the CPU time; what is decoded by then is shown."""
_FRAMES_TO_SECOND = 600
"""Decoded on the way to one still, at most: ten seconds from a keyframe at sixty a second. Then the last one is it."""
_DEPTH = LONGEST_SIDE[Rung.WHOLE]
"""Longest side to which a frame is reduced before a region is cut from it."""
_TURNS = {90: 8, 180: 3, -180: 3, -90: 6}
"""The orientation, as Exif counts them, that a display matrix's angle stands for."""


def show_video(media: mmap | bytes, limits: Limits, showing: Showing) -> Shown:
    """Render a still at each asked second, or evenly; of a file with nothing but a cover, that.

    Raises `RefusalError` for what can't be shown, MemoryError where memory ran out.
    """
    with open_container(media, limits) as container:
        chosen = choose(container, limits)
        if chosen.films:
            return _show_film(_Film(container, chosen.films[0], limits), showing)
        for packet in container.demux(chosen.covers) if chosen.covers else ():
            cover = bytes(packet)
            format_ = sniff(cover)
            if format_.kind is Kind.IMAGE:
                return _as_still(show_picture(cover, format_, limits, _of_a_cover(showing)))
        raise RefusalError(chosen.missed or Reason.NO_VIDEO_STREAM)


def _of_a_cover(showing: Showing) -> Showing:
    return Showing(showing.rung, showing.cut)


def _as_still(shown: Shown) -> Shown:
    """A cover no larger than a still of the film would be."""
    raster = shown.rasters[0]
    size = fitted((raster.width, raster.height), Showing(Rung.WHOLE).longest_side(Kind.VIDEO))
    mode = "L" if raster.channels == 1 else "RGB"
    image = Image.frombytes(mode, (raster.width, raster.height), raster.pixels)
    small = image.resize(size, Image.Resampling.LANCZOS)
    return Shown(
        (Raster(small.width, small.height, raster.channels, small.tobytes(), 0.0),),
        shown.width,
        shown.height,
    )


@dataclass(slots=True)
class _Film:
    container: av.container.InputContainer
    stream: av.video.stream.VideoStream
    limits: Limits

    def seconds_of(self, frame: av.VideoFrame) -> float:
        """From the start, as the hashes count them; 0 where the frame has no usable timestamp."""
        start = float((self.stream.start_time or 0) * (self.stream.time_base or 0))
        return max(0.0, (frame.time or 0.0) - start)

    def frames(self) -> Iterator[av.VideoFrame]:
        """Frames from where the container stands; damage costs its own frames and ends the film at worst."""
        packets = self.container.demux(self.stream)
        idle = 0
        while idle < self.limits.video_idle_packets:
            try:
                packet = next(packets)
            except (StopIteration, av.error.FFmpegError):
                return
            decoded, _ = frames_of(packet)
            idle = 0 if decoded else idle + 1
            yield from decoded

    def seek(self, seconds: float) -> None:
        """To the keyframe before; a container that can't stays where it is."""
        base = float(self.stream.time_base or 0)
        if base <= 0:
            return
        try:
            self.container.seek(
                int(seconds / base) + (self.stream.start_time or 0), stream=self.stream, backward=True
            )
        except (av.error.FFmpegError, OverflowError, ValueError):
            return

    def at(self, seconds: float, deadline: float) -> av.VideoFrame | None:
        """The frame that is shown then, or the last one that came before the budget was spent."""
        self.seek(seconds)
        shown: av.VideoFrame | None = None
        for number, frame in enumerate(self.frames()):
            if shown is not None and self.seconds_of(frame) > seconds:
                break
            shown = frame
            if number >= _FRAMES_TO_SECOND or time.process_time() > deadline:
                break
        return shown


def _show_film(film: _Film, showing: Showing) -> Shown:
    deadline = time.process_time() + film.limits.stills_cpu * _BUDGET_SHARE
    rasters: dict[float, Raster] = {}
    width = height = 0
    colours = VideoReformatter()
    for seconds in _wanted(film, showing):
        frame = film.at(seconds, deadline)
        if frame is None:
            continue
        at = film.seconds_of(frame)
        if at not in rasters:
            orientation = _TURNS.get(frame.rotation, 1)
            size = (frame.width, frame.height)
            width, height = size if orientation < 5 else size[::-1]
            rasters[at] = _still(frame, at, orientation, showing, colours)
        if time.process_time() > deadline:
            break
    if not rasters:
        raise RefusalError(Reason.BROKEN)
    return Shown(tuple(rasters[at] for at in sorted(rasters)), width, height)


def _wanted(film: _Film, showing: Showing) -> list[float]:
    """The seconds to show, in order; of a film of unknown length its first ones."""
    if showing.seconds:
        return sorted(set(showing.seconds))
    length = claimed_seconds(film.container)
    return [(at + 0.5) * length / MOST_STILLS if length else float(at) for at in range(MOST_STILLS)]


def _still(
    frame: av.VideoFrame, seconds: float, orientation: int, showing: Showing, colours: VideoReformatter
) -> Raster:
    width, height = fitted((frame.width, frame.height), _DEPTH)
    try:
        # By default the conversion starts a thread a core; the child may start none.
        reduced = colours.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1
        )
    except av.error.FFmpegError as fault:
        raise RefusalError(Reason.BROKEN) from fault
    image = Image.fromarray(reduced.to_ndarray())
    region = (0.0, 0.0, 1.0, 1.0)
    if showing.cut is not None:
        stored = showing.cut.region
        region = to_stored(stored, orientation) if showing.cut.upright else stored
    return draw(image, region, orientation, showing, Kind.VIDEO, seconds)
