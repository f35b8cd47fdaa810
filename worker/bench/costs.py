"""What hashing costs: pictures a second beside python-threatexchange, and a profile's views and look-ups at a million.

CPU time of this process is measured, not the clock: other work on the machine does not count.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pdqhash
from PIL import Image

from bank_sync.index.buckets import BucketIndex, build_buckets
from bank_sync.index.flat import FlatIndex
from bank_sync.index.protocol import HASH_BYTES, Hashes, Index
from config.policy import RuleSettings
from worker.bench.figures import HASHWARDEN, THREATEXCHANGE, Figure
from worker.bench.peer import implementation, peer_hash
from worker.domain import CloserLook, Placement, Profile, ViewHash
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from
from worker.media.pdq import distance, nearest_512
from worker.second_look import near_enough

TWELVE_MEGAPIXELS = 12_000_000
TWO_MEGAPIXELS = 2_000_000
_SECONDS = 0.5
_LEAST_RUNS = 2
_MOST_RUNS = 9
_SEEDS = 3
_DRAWN = 12
"""Views of one family and picture that are drawn and hashed anew."""
HOLD_RADIUS = RuleSettings().radius
REVIEW_RADIUS = RuleSettings().review_radius

Result = TypeVar("Result")


def hash_figures(paths: Sequence[Path], pixels: int = TWELVE_MEGAPIXELS) -> list[Figure]:
    """Pictures a second of one core, ours and the peer's in turns, and bits from the banks' reference.

    The peer is what python-threatexchange's `PdqSignal.hash_from_bytes` does: decode at full size, `pdqhash.compute`.
    """
    ours, theirs, away, theirs_away = [], [], [], []
    for path in paths:
        body = jpeg_of(path, pixels)
        spent, found = _timed(partial(_hashwarden, body))
        ours.append(spent)
        spent, peer = _timed(partial(peer_hash, body))
        theirs.append(spent)
        with Image.open(io.BytesIO(body)) as full:
            vector, _ = pdqhash.compute(np.asarray(nearest_512(full.convert("RGB"))))
        reference = np.packbits(vector).tobytes()
        away.append(distance(found, reference))
        theirs_away.append(distance(peer, reference))
    figures = []
    for subject, times, bits in ((HASHWARDEN, ours, away), (THREATEXCHANGE, theirs, theirs_away)):
        params: dict[str, Any] = {"pixels": pixels, "pictures": len(paths)}
        if subject == THREATEXCHANGE:
            params["implementation"] = implementation()
        figures.append(
            Figure(subject, "pictures_per_second", round(1 / float(np.median(times)), 2), "1/s", params)
        )
        for statistic, value in (("median", np.median(bits)), ("max", np.max(bits))):
            figures.append(
                Figure(
                    subject,
                    "distance_to_reference",
                    float(value),
                    "bits",
                    {**params, "statistic": statistic},
                )
            )
    return figures


def view_figures(paths: Sequence[Path], hashes: int) -> list[Figure]:
    """CPU of each profile for a 2 MP JPEG: decode and views, their look-ups among so many random hashes, a closer look.

    The look-ups are those of the pipeline: all views to the radius that holds, telling what is met on the way, where
    copies are guessed at; and the plain views to the review radius.
    """
    bank = np.random.default_rng(1).integers(0, 256, (hashes, 32), dtype=np.uint8)
    engines: dict[str, Index] = {
        "buckets": BucketIndex(bank, *build_buckets(bank)),
        "faiss-flat": FlatIndex(bank),
    }
    figures = []
    for profile in Profile:
        making, count, closer = [], [], []
        looking: dict[str, list[float]] = {engine: [] for engine in engines}
        drifts: dict[str, list[int]] = {}
        for path in paths:
            body = jpeg_of(path, TWO_MEGAPIXELS)
            with InProcessSandbox() as sandbox, memfd_from([body]) as media:
                spent, found = _timed(partial(sandbox.hash, media, profile))
                seeds = [(view.view, view.placement) for view in found.hashes if view.placement is not None]
                if seeds:
                    look = CloserLook(0, tuple(seeds[:: max(1, len(seeds) // _SEEDS)][:_SEEDS]))
                    closer.append(_timed(partial(sandbox.hash, media, profile, look))[0] / len(look.seeds))
            making.append(spent)
            count.append(len(found.hashes))
            plain = _queries(view for view in found.hashes if view.placement is None)
            for engine, index in engines.items():
                before = time.process_time()
                if seeds:
                    index.search(_queries(found.hashes), HOLD_RADIUS, near_enough(hashes))
                index.search(plain, REVIEW_RADIUS)
                looking[engine].append(time.process_time() - before)
            for family, bits in view_drift(body, found.hashes).items():
                drifts.setdefault(family, []).extend(bits)
        params = {"profile": profile.value, "pixels": TWO_MEGAPIXELS, "views": int(np.median(count))}
        figures.append(_milliseconds("hash_cpu", making, params))
        for engine, times in looking.items():
            about = {**params, "hashes": hashes, "engine": engine}
            figures.append(_milliseconds("lookup_cpu", times, about))
        if closer:
            figures.append(_milliseconds("closer_look_cpu", closer, {**params, "per": "seed"}))
        for family, bits in drifts.items():
            for statistic, value in (("median", np.median(bits)), ("max", np.max(bits))):
                about = {"profile": profile.value, "family": family, "statistic": statistic, "of": len(bits)}
                figures.append(Figure(HASHWARDEN, "view_drift", float(value), "bits", about))
    return figures


def _queries(views: Iterable[ViewHash]) -> Hashes:
    return np.frombuffer(b"".join(view.hash for view in views), dtype=np.uint8).reshape(-1, HASH_BYTES)


def view_drift(body: bytes, views: Sequence[ViewHash]) -> dict[str, list[int]]:
    """Bits between views and pdqhash of the same part of the picture, drawn for real, by the view's first word.

    Views that reach over the edge or fill something in show what no other decoder could, and are left out.
    """
    with Image.open(io.BytesIO(body)) as opened:
        picture = opened.convert("RGB")
    drifts: dict[str, list[int]] = {}
    chosen: dict[str, list[ViewHash]] = {}
    for view in views:
        shown = view.placement
        if view.view == "" or (
            shown and not shown.cover and min(shown.corners) >= 0 and max(shown.corners) <= 1
        ):
            chosen.setdefault(view.view.split(",")[0].split(" ")[0] or "as uploaded", []).append(view)
    for family, members in chosen.items():
        for view in members[:: max(1, len(members) // _DRAWN)][:_DRAWN]:
            drawn = _drawn(picture, view.placement) if view.placement else picture
            vector, _ = pdqhash.compute(np.asarray(nearest_512(drawn)))
            drifts.setdefault(family, []).append(distance(np.packbits(vector).tobytes(), view.hash))
    return drifts


def _drawn(picture: Image.Image, placement: Placement) -> Image.Image:
    corners = np.array(placement.corners).reshape(4, 2)[:, ::-1] * picture.size
    top_left, top_right, bottom_right, bottom_left = (tuple(corner) for corner in corners)
    size = (
        max(64, round(float(np.hypot(*np.subtract(top_right, top_left))))),
        max(64, round(float(np.hypot(*np.subtract(bottom_left, top_left))))),
    )
    quad = (*top_left, *bottom_left, *bottom_right, *top_right)
    return picture.transform(size, Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)


def _milliseconds(metric: str, seconds: Sequence[float], params: dict[str, Any]) -> Figure:
    return Figure(HASHWARDEN, metric, round(1000 * float(np.median(seconds)), 1), "ms", params)


def jpeg_of(path: Path, pixels: int) -> bytes:
    """The photograph as a JPEG of about this many pixels, with a little noise where it had to grow."""
    with Image.open(path) as opened:
        photo = opened.convert("RGB")
    scale = (pixels / (photo.width * photo.height)) ** 0.5
    sized = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
    if scale > 1:
        noise = np.random.default_rng(1).integers(-3, 4, (sized.height, sized.width, 1), dtype=np.int16)
        grown: npt.NDArray[np.int16] = np.clip(np.asarray(sized, dtype=np.int16) + noise, 0, 255)
        sized = Image.fromarray(grown.astype(np.uint8))
    body = io.BytesIO()
    sized.save(body, "JPEG", quality=90)
    return body.getvalue()


def _hashwarden(body: bytes) -> bytes:
    with InProcessSandbox() as sandbox, memfd_from([body]) as media:
        return sandbox.hash(media).hashes[0].hash


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds of the median of at least three runs, and what the last gave."""
    spent: list[float] = []
    started = time.process_time()
    while len(spent) < _LEAST_RUNS or (time.process_time() - started < _SECONDS and len(spent) < _MOST_RUNS):
        before = time.process_time()
        result = work()
        spent.append(time.process_time() - before)
    return float(np.median(spent)), result
