"""Whether an uploaded video and a bank's video show the same film, wholly or in part.

vPDQ compares bags of frames: the share of the upload's frames that the bank's video has, and the reverse. Its usual
thresholds ask for one of the two and so miss either a short clip inside a long upload or a cut from a longer bank
video; here the larger share counts, with a minimum of distinct frames and seconds against chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from config.policy import RuleSettings
from worker.domain import ViewHash

_DISTINCT_BITS = 31
"""Frames nearer than that are one picture: PDQ's own threshold."""
_BANK_STEP = 1.0
"""Seconds between the frames of a bank's video: a frame that agrees speaks for as much before and after it."""
_LAST_FRAME = 0.04

_Hashes = npt.NDArray[np.uint8]
_Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame of the upload near a frame of the bank's video: row of the query, bits, seconds into the latter."""

    query: int
    distance: int
    bank_time: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two videos agree by one view of the upload: the larger share, 0 to 1, and the closest frame."""

    share: float
    nearest: Shot


class Film:
    """The frames of an upload as they were looked up: rows of `views`, eight turns and more a frame."""

    def __init__(self, views: Sequence[ViewHash], duration: float) -> None:
        self.views = views
        self._duration = duration

    @cached_property
    def frame_of(self) -> npt.NDArray[np.int64]:
        """The number of the frame that each row shows; a frame's first row is the frame as it is."""
        return np.cumsum([view.view == "" for view in self.views]) - 1

    @cached_property
    def _frames(self) -> list[ViewHash]:
        return [view for view in self.views if view.view == ""]

    @cached_property
    def _shown(self) -> tuple[_Seconds, _Seconds]:
        """From when to when each frame stands: folded ones repeat the last one kept. Stills stand for no time."""
        times = np.array([np.nan if view.frame_time is None else view.frame_time for view in self._frames])
        order = np.sort(times[~np.isnan(times)])
        if not order.size:
            return times, times
        following = np.append(order, max(self._duration, order[-1] + _LAST_FRAME))
        ends = following[np.searchsorted(order, times, side="right").clip(max=order.size)]
        return times, ends

    def good(self, min_quality: int) -> npt.NDArray[np.bool_]:
        """Which frames are of a film and of enough quality to count."""
        quality = np.array([view.quality for view in self._frames])
        return np.asarray((quality >= min_quality) & ~np.isnan(self._shown[0]))

    def hashes(self, frames: npt.NDArray[np.int64]) -> _Hashes:
        return np.frombuffer(b"".join(self._frames[at].hash for at in frames), dtype=np.uint8).reshape(-1, 32)

    def seconds(self, frames: npt.NDArray[np.int64]) -> float:
        """From the first of these frames to the end of the last."""
        starts, ends = self._shown
        return float(ends[frames].max() - starts[frames].min())

    def span(self, frames: npt.NDArray[np.int64]) -> float:
        """From the first of these frames to the last."""
        return float(np.ptp(self._shown[0][frames]))

    def share(self, frames: npt.NDArray[np.int64], good: npt.NDArray[np.bool_]) -> float:
        """The share of the seconds of all good frames that these speak for."""
        starts, ends = self._shown
        counted = starts[good], ends[good]
        agreed = starts[frames] - _BANK_STEP, ends[frames] + _BANK_STEP
        points = np.unique(np.concatenate([*counted, *agreed]))
        lengths = np.diff(points)
        within = _covered(*counted, points)
        return float(lengths[within & _covered(*agreed, points)].sum() / lengths[within].sum())


@dataclass(frozen=True, eq=False)
class BankFilm:
    """The good frames of a bank's video, each hash once, and the seconds of each."""

    hashes: _Hashes
    times: npt.NDArray[np.float32]


def agreements(
    upload: Film, bank: BankFilm, shots: Sequence[Shot], rule: RuleSettings
) -> Iterator[Agreement]:
    """By each view: how far the two agree, where that is `video_review_share` or more and not by too few frames.

    A video that is too short for `video_frames` and `video_seconds` needs what is sure to be left of it after a trim:
    all but one of its distinct frames, and one for each of its full seconds.
    """
    good = upload.good(rule.min_quality)
    by_view: dict[str, list[Shot]] = {}
    for shot in shots:
        if good[upload.frame_of[shot.query]]:
            by_view.setdefault(upload.views[shot.query].view, []).append(shot)
    if not by_view:
        return
    every = np.flatnonzero(good)
    length, bank_length = upload.seconds(every), float(np.ptp(bank.times))
    shown = _distinct(upload.hashes(every), rule.video_frames + 1)
    held = _distinct(bank.hashes, rule.video_frames + 1)
    needed = min(rule.video_frames, max(1, int(length)), max(1, shown - 1), max(1, held - 1))
    seconds = min(rule.video_seconds, length - 2 * _BANK_STEP, bank_length - _BANK_STEP)
    for found in by_view.values():
        frames = np.unique(upload.frame_of[[shot.query for shot in found]])
        rows = np.flatnonzero(np.isin(bank.times, [shot.bank_time for shot in found]))
        distinct = min(_distinct(upload.hashes(frames), needed), _distinct(bank.hashes[rows], needed))
        span = max(upload.span(frames), float(np.ptp(bank.times[rows])))
        share = max(upload.share(frames, good), len(rows) / len(bank.times))
        if distinct >= needed and span >= seconds and share >= rule.video_review_share:
            yield Agreement(share, min(found, key=lambda shot: (shot.distance, shot.query)))


def _distinct(hashes: _Hashes, most: int) -> int:
    """How many of the hashes are further than PDQ's threshold from each other; counted up to `most`."""
    kept = 0
    while len(hashes) and kept < most:
        kept += 1
        hashes = hashes[np.bitwise_count(hashes ^ hashes[0]).sum(axis=1) > _DISTINCT_BITS]
    return kept


def _covered(starts: _Seconds, ends: _Seconds, points: _Seconds) -> npt.NDArray[np.bool_]:
    """Which of the spaces between ascending `points` lie in an interval; all starts and ends are among the points."""
    steps = np.zeros(len(points), dtype=np.int64)
    np.add.at(steps, np.searchsorted(points, starts), 1)
    np.add.at(steps, np.searchsorted(points, ends), -1)
    return np.asarray(np.cumsum(steps)[:-1] > 0)
