"""Video frames against the published per-frame vPDQ hashes of public clips."""

import itertools
from pathlib import Path

import pytest

from worker.domain import Kind
from worker.media.limits import Limits
from worker.media.media import memfd_from
from worker.media.pdq import REPEAT_BITS, distance
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


@pytest.mark.parametrize("clip", _CLIPS)
def test_frames_hash_as_published(reference_data: Path, clip: str) -> None:
    rows = [line.split(",") for line in (reference_data / f"video/{clip}.vpdq.txt").read_text().splitlines()]
    published = {
        round(float(time), 2): (int(quality), bytes.fromhex(hex_)) for _, quality, hex_, time in rows
    }
    with (
        ZygoteSandbox(Limits(video_rate=0)) as sandbox,
        memfd_from([(reference_data / f"video/{clip}.mp4").read_bytes()]) as media,
    ):
        found = sandbox.hash(media)
    assert (found.kind, found.reason, found.partial) == (Kind.VIDEO, "", False)
    frames = {round(frame.frame_time or 0.0, 2): frame.hash for frame in found.originals}
    assert set(frames) <= set(published)
    kept = b""
    for time, (quality, hash_) in sorted(published.items()):
        kept = frames.get(time, kept)
        if quality >= _USABLE_QUALITY:
            # A frame that was left out repeats the last one kept.
            assert distance(kept, hash_) <= (6 if time in frames else 6 + REPEAT_BITS), time


def test_the_default_rate_covers_a_clip(reference_data: Path) -> None:
    content = (reference_data / "video/pattern-sd-grey-bar.mp4").read_bytes()
    with ZygoteSandbox() as sandbox, memfd_from([content]) as media:
        found = sandbox.hash(media)
    times = [frame.frame_time or 0.0 for frame in found.originals]
    assert times[0] == 0.0
    assert times[-1] > found.duration - 1
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 1.1
