"""Video frames against the published per-frame vPDQ hashes of public clips."""

import itertools
from pathlib import Path

import pytest

from worker.domain import HashedMedia, Kind
from worker.media.frames import FOLD_BITS
from worker.media.limits import Limits
from worker.media.media import memfd_from
from worker.media.pdq import distance
from worker.media.sandbox import ZygoteSandbox

_CLIPS = (
    "chair-20-sd-bar",
    "chair-22-sd-grey-bar",
    "doorknob-hd-no-bar",
    "pattern-hd-no-bar",
    "pattern-sd-grey-bar",
    "test-padded-dimensions",
)
_USABLE_QUALITY = 50
"""vPDQ discards frames below it."""
_FPS = 30
"""Of the published clips: vPDQ at one frame a second selects every thirtieth."""
_DRIFT = 12
"""Bits that a hash read off the stored luma may be from the reference's; in the median it is 0."""


def _published(folder: Path, clip: str) -> list[tuple[int, bytes, float]]:
    """Quality, hash and seconds of each frame."""
    lines = (folder / f"video/{clip}.vpdq.txt").read_text().splitlines()
    rows = (line.split(",") for line in lines)
    return [(int(quality), bytes.fromhex(found), float(time)) for _, quality, found, time in rows]


def _hash(folder: Path, clip: str, limits: Limits) -> HashedMedia:
    content = (folder / f"video/{clip}.mp4").read_bytes()
    with ZygoteSandbox(limits) as sandbox, memfd_from([content]) as media:
        found = sandbox.hash(media)
    assert (found.kind, found.reason, found.partial) == (Kind.VIDEO, "", False)
    return found


@pytest.mark.parametrize("clip", _CLIPS)
def test_what_a_bank_would_hold_is_bit_for_bit_what_vpdq_selects_and_hashes(
    reference_data: Path, clip: str
) -> None:
    found = _hash(reference_data, clip, Limits())
    selected = _published(reference_data, clip)[::_FPS]
    assert [(frame.quality, frame.hash) for frame in found.vpdq] == [row[:2] for row in selected]
    times = [frame.frame_time or 0.0 for frame in found.vpdq]
    assert times == pytest.approx([time for _, _, time in selected], abs=0.05)
    # They are among the frames that are looked up, whatever was folded.
    looked_up = {(frame.frame_time, frame.hash) for frame in found.originals}
    assert {(frame.frame_time, frame.hash) for frame in found.vpdq} <= looked_up


@pytest.mark.parametrize("clip", _CLIPS)
def test_every_frame_is_looked_up_by_nearly_its_published_hash(reference_data: Path, clip: str) -> None:
    found = _hash(reference_data, clip, Limits(video_rate=0))
    frames = {round(frame.frame_time or 0.0, 2): frame.hash for frame in found.originals}
    kept = b""
    for quality, hash_, time in _published(reference_data, clip):
        at = round(time, 2)
        kept = frames.get(at, kept)
        if quality >= _USABLE_QUALITY:
            # A frame that was left out repeats the last one kept.
            assert distance(kept, hash_) <= (_DRIFT if at in frames else _DRIFT + FOLD_BITS), time


def test_a_clip_is_covered_to_its_end(reference_data: Path) -> None:
    found = _hash(reference_data, "pattern-sd-grey-bar", Limits())
    times = [frame.frame_time or 0.0 for frame in found.originals]
    assert times[0] == 0.0
    assert times[-1] > found.duration - 0.25
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 0.25
