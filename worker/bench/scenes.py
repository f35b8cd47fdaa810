"""How often another picture of the same scene is taken for the one in the bank: two moments of one video shot.

Nothing tells a retouched copy from the next shot of a burst. What is alike enough to match is counted, not judged.
"""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
from PIL import Image

from worker.bench.accuracy import HOLD_RADIUS, REVIEW_RADIUS, copy_distance
from worker.bench.figures import HASHWARDEN, Figure
from worker.domain import Profile

GAPS = (1.0, 4.0)
"""Seconds between the picture in the bank and the upload."""
_EVERY = 3.0
_PAIRS = 6
"""Of one clip and gap at most."""
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Scene:
    """Two moments of one clip as JPEGs, and the seconds between them."""

    gap: float
    bank: bytes
    upload: bytes


def scenes(clips: Sequence[Path]) -> list[Scene]:
    """Pairs of moments of each clip, the later as the upload."""
    found = []
    for clip in clips:
        stills = _stills(clip)
        for gap in GAPS:
            pairs = [(at, at + gap) for at in stills if at % _EVERY == 0 and at + gap in stills]
            found += [Scene(gap, stills[first], stills[later]) for first, later in pairs[:_PAIRS]]
    return found


def scene_figures(clips: Sequence[Path], profiles: Sequence[Profile], processes: int) -> list[Figure]:
    """The share of uploads within each radius of another moment of their scene, for each gap and profile."""
    pairs = scenes(clips)
    if not pairs:
        return []
    figures = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for profile in profiles:
            nearest = pool.map(partial(_bits, profile=profile), pairs, chunksize=1)
            for gap in GAPS:
                bits = [near for near, pair in zip(nearest, pairs, strict=True) if pair.gap == gap]
                for radius in (HOLD_RADIUS, REVIEW_RADIUS):
                    if bits:
                        params = {
                            "profile": profile.value,
                            "seconds": gap,
                            "radius": radius,
                            "pairs": len(bits),
                        }
                        share = sum(each <= radius for each in bits) / len(bits)
                        figures.append(Figure(HASHWARDEN, "same_scene", round(share, 4), "share", params))
    return figures


def _bits(scene: Scene, profile: Profile) -> int:
    return copy_distance(scene.bank, scene.upload, profile)


def _stills(clip: Path) -> dict[float, bytes]:
    """A still for every whole second of a clip."""
    found: dict[float, bytes] = {}
    with av.open(str(clip), mode="r") as container:
        for frame in container.decode(video=0):
            second = float(int(frame.time or 0.0))
            if second not in found:
                body = io.BytesIO()
                image = Image.fromarray(frame.to_ndarray(format="rgb24"))
                image.save(body, "JPEG", quality=_QUALITY)
                found[second] = body.getvalue()
    return found
