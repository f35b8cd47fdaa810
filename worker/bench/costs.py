"""What hashing costs: pictures a second beside python-threatexchange, and a profile's views and look-ups at a million.

CPU time of this process is measured, not the clock: other work on the machine does not count.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pdqhash
from PIL import Image

from bank_sync.index.flat import FlatIndex
from worker.bench.figures import HASHWARDEN, THREATEXCHANGE, Figure
from worker.bench.peer import implementation, peer_hash
from worker.domain import Profile
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from
from worker.media.pdq import distance, nearest_512
from worker.second_look import NEAR

TWELVE_MEGAPIXELS = 12_000_000
TWO_MEGAPIXELS = 2_000_000
_SECONDS = 0.5
_LEAST_RUNS = 2
_MOST_RUNS = 9

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
    """CPU of each profile for a 2 MP JPEG: decode and views, and their look-ups among so many random hashes."""
    bank = np.random.default_rng(1).integers(0, 256, (hashes, 32), dtype=np.uint8)
    index = FlatIndex(bank)
    figures = []
    for profile in Profile:
        making, looking, count = [], [], []
        radius = 40 if profile is Profile.PLAIN else NEAR
        for path in paths:
            body = jpeg_of(path, TWO_MEGAPIXELS)
            with InProcessSandbox() as sandbox, memfd_from([body]) as media:
                spent, found = _timed(partial(sandbox.hash, media, profile))
            making.append(spent)
            count.append(len(found.hashes))
            queries = np.frombuffer(b"".join(view.hash for view in found.hashes), dtype=np.uint8)
            before = time.process_time()
            index.search(queries.reshape(-1, 32), radius)
            looking.append(time.process_time() - before)
        params = {"profile": profile.value, "pixels": TWO_MEGAPIXELS, "views": int(np.median(count))}
        figures.append(
            Figure(HASHWARDEN, "hash_cpu", round(1000 * float(np.median(making)), 1), "ms", params)
        )
        look_ups = {**params, "hashes": hashes, "radius": radius, "engine": "faiss-flat"}
        figures.append(
            Figure(HASHWARDEN, "lookup_cpu", round(1000 * float(np.median(looking)), 1), "ms", look_ups)
        )
    return figures


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
