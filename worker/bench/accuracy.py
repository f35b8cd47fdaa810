"""How many edited copies are found, and what is matched that should not be: the whole way from bytes to matches.

Each photograph is edited in every way of `edits`, hashed, looked at closer where it came near and looked up among the
hashes of all the photographs, exactly as an upload is. The peer is python-threatexchange's way: one hash of the picture
at full size, a match at 31 bits (its `pdq_hasher.py` and `PDQ_CONFIDENT_MATCH_THRESHOLD`).
"""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pdqhash
from PIL import Image, ImageOps

from bank_sync.index.protocol import HASH_BYTES
from bank_sync.loaded import Columns, LoadedEpoch, Segment
from config.policy import RuleSettings
from worker.bench.edits import HELD_OUT, edited
from worker.bench.figures import HASHWARDEN, THREATEXCHANGE, Figure
from worker.bench.pages import text_pages
from worker.bench.peer import peer_hash
from worker.domain import CloserLook, HashedMedia, Profile
from worker.media.axis import SIDE
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from
from worker.media.pdq import distance
from worker.second_look import second_look

Hashes = npt.NDArray[np.uint8]

HOLD_RADIUS = RuleSettings().radius
REVIEW_RADIUS = RuleSettings().review_radius
PAGES = 60
_LONGEST = 1600
_PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".webp"}
_HELD_OUT_SHARE = 3
_NOTHING = 256
_SHOWN = 64
"""Bits beyond which it does not matter how far off a hash is."""
CROPS = 400
"""Crops of each stranger in the bank."""
_LEAST_CROP = 0.35
_LEAST_QUALITY = 50


@dataclass(frozen=True, slots=True)
class Trial:
    """One edited copy, or one page of text under the edit "page": how near it came to its original and to others."""

    photo: str
    edit: str
    profile: str
    own: int
    """Bits to the original's hash by the nearest view that counts; 256 where none does."""
    peer: int
    """The same for the peer's one hash."""
    other: int
    """Bits to the nearest hash of anything else, by a view that counts; 256 where none is near."""
    other_name: str
    bank: int = 0
    """How many hashes of anything else there were."""

    @property
    def held_out(self) -> bool:
        """Whether the views were tuned without this edit and this photograph."""
        return self.edit in HELD_OUT or photo_is_held_out(self.photo)


def photo_is_held_out(name: str) -> bool:
    """A fixed third of all photographs, by name."""
    return crc32(name.encode()) % _HELD_OUT_SHARE == 0


def photographs(folder: Path, limit: int | None = None) -> list[Path]:
    """The photographs under a folder, in an order that mixes its subfolders; the same each time."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in _PHOTOGRAPHS and path.is_file()]
    return sorted(found, key=lambda path: crc32(path.name.encode()))[:limit]


def measure(
    paths: Sequence[Path],
    profiles: Sequence[Profile],
    edits: Sequence[str],
    processes: int,
    strangers: Sequence[Path] = (),
) -> list[Trial]:
    """Every photograph in every edit and profile, and pages of text, in so many processes.

    The bank also holds many crops of each of the `strangers`, photographs of which no copy is uploaded.
    """
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        bank = np.stack(pool.map(_reference_hash, [str(path) for path in paths], chunksize=1))
        names = [path.name for path in paths]
        pages = [_png(page) for page in text_pages(PAGES)]
        page_hashes = np.stack(pool.map(_hash_of_bytes, pages, chunksize=4))
        names += [f"page {at}" for at in range(PAGES)]
        crops = pool.map(_crop_hashes, [str(path) for path in strangers], chunksize=1)
        names += [f"crop of {path.name}" for path, of in zip(strangers, crops, strict=True) for _ in of]
        known = _Known(np.concatenate([bank, page_hashes, *crops]), tuple(names))
        jobs = [
            _Job(known, at, str(path), None, tuple(profiles), tuple(edits)) for at, path in enumerate(paths)
        ]
        jobs += [
            _Job(known, len(paths) + at, f"page {at}", page, tuple(profiles), ())
            for at, page in enumerate(pages)
        ]
        return [trial for trials in pool.imap(_try, jobs, chunksize=1) for trial in trials]


@dataclass(frozen=True, slots=True)
class _Known:
    """All hashes of the bank and whose they are."""

    hashes: Hashes
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    known: _Known
    number: int
    path: str
    page: bytes | None
    profiles: tuple[Profile, ...]
    edits: tuple[str, ...]


def _try(job: _Job) -> list[Trial]:
    epoch = _epoch(job.known.hashes)
    trials = []
    name = Path(job.path).name
    if job.page is not None:
        copies: Iterable[tuple[str, bytes]] = [("page", job.page)]
    else:
        photo = _opened(job.path)
        copies = ((edit, edited(edit, photo, name)) for edit in job.edits)
    for edit, body in copies:
        peer = distance(peer_hash(body), job.known.hashes[job.number].tobytes())
        for profile in job.profiles:
            nearest = _nearest(body, profile, epoch, len(job.known.hashes))
            others = np.delete(nearest, job.number)
            other = int(others.argmin())
            trials.append(
                Trial(
                    photo=name,
                    edit=edit,
                    profile=profile.value,
                    own=int(nearest[job.number]),
                    peer=peer,
                    other=int(others[other]),
                    other_name=job.known.names[other + (other >= job.number)],
                    bank=len(others),
                )
            )
    return trials


def copy_distance(original: bytes, upload: bytes, profile: Profile) -> int:
    """Bits between the hash of one picture and the nearest view of another that counts; 256 where none does."""
    return int(_nearest(upload, profile, _epoch(_hash_of_bytes(original)[np.newaxis]), 1)[0])


def _nearest(body: bytes, profile: Profile, epoch: LoadedEpoch, count: int) -> npt.NDArray[np.int64]:
    """Of each hash of the bank, the bits to the nearest view that counts."""
    with InProcessSandbox() as sandbox, memfd_from([body]) as media:

        def look_closer(closer: CloserLook) -> HashedMedia:
            return sandbox.hash(media, profile, closer)

        found = second_look(sandbox.hash(media, profile), look_closer, epoch, HOLD_RADIUS, REVIEW_RADIUS)
    nearest = np.full(count, _NOTHING, dtype=np.int64)
    queries = np.frombuffer(b"".join(view.hash for view in found.hashes), dtype=np.uint8).reshape(-1, 32)
    for hit in epoch.search_pdq(queries, _SHOWN):
        nearest[hit.entry_id] = min(nearest[hit.entry_id], hit.distance)
    return nearest


def _epoch(hashes: Hashes) -> LoadedEpoch:
    nothing = np.empty(0, dtype=np.int64)
    columns = Columns(
        pdqs=hashes,
        pdq_entries=np.arange(len(hashes), dtype=np.int64),
        frames=np.empty((0, 32), dtype=np.uint8),
        frame_entries=nothing,
        frame_times=np.empty(0, dtype=np.float32),
        md5s=np.empty((0, 16), dtype=np.uint8),
        md5_entries=nothing,
    )
    return LoadedEpoch(1, datetime.now(UTC), Segment(columns))


def _reference_hash(path: str) -> Hashes:
    body = io.BytesIO()
    _opened(path).save(body, "PNG")
    return _hash_of_bytes(body.getvalue())


def _hash_of_bytes(body: bytes) -> Hashes:
    with InProcessSandbox() as sandbox, memfd_from([body]) as media:
        return np.frombuffer(sandbox.hash(media).hashes[0].hash, dtype=np.uint8)


def _crop_hashes(path: str) -> Hashes:
    """Of crops of a third of each side or more, and as many mirrored; uint8[n, 32], without those of low quality."""
    photo = _opened(path)
    random = np.random.default_rng(crc32(Path(path).name.encode()))
    found = []
    for _ in range(CROPS):
        wide, high = random.uniform(_LEAST_CROP, 1, 2)
        left, top = random.uniform(0, 1 - wide), random.uniform(0, 1 - high)
        shares = (left, top, left + wide, top + high)
        box = [round(share * side) for share, side in zip(shares, photo.size * 2, strict=True)]
        crop = photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(box[0], box[1], box[2], box[3]))
        if random.random() < 0.5:
            crop = ImageOps.mirror(crop)
        hash_, quality = pdqhash.compute(np.asarray(crop))
        if quality >= _LEAST_QUALITY:
            found.append(np.packbits(hash_))
    return np.array(found, dtype=np.uint8).reshape(-1, HASH_BYTES)


def _opened(path: str) -> Image.Image:
    photo = Image.open(path).convert("RGB")
    photo.thumbnail((_LONGEST, _LONGEST))
    return photo


def _png(picture: Image.Image) -> bytes:
    body = io.BytesIO()
    picture.save(body, "PNG")
    return body.getvalue()


def figures(trials: Sequence[Trial]) -> list[Figure]:
    """Recall of each edit and profile at both radii, tuned and held out, the peer's beside; and what else matched."""
    found: list[Figure] = []
    copies = [trial for trial in trials if trial.edit != "page"]
    for profile in dict.fromkeys(trial.profile for trial in trials):
        of_profile = [trial for trial in copies if trial.profile == profile]
        for edit in dict.fromkeys(trial.edit for trial in of_profile):
            for held_out in (False, True):
                chosen = [each for each in of_profile if (each.edit, each.held_out) == (edit, held_out)]
                found += [
                    _recall(
                        HASHWARDEN, [each.own for each in chosen], edit, profile, radius, held_out=held_out
                    )
                    for radius in (HOLD_RADIUS, REVIEW_RADIUS)
                    if chosen
                ]
        everything = [trial for trial in trials if trial.profile == profile]
        false = [trial for trial in everything if trial.other <= REVIEW_RADIUS]
        params: dict[str, Any] = {"profile": profile, "radius": REVIEW_RADIUS, "looked_up": len(everything)}
        params["bank"] = max(trial.bank for trial in everything)
        params["pairs"] = sorted({f"{each.photo} ({each.edit}): {each.other_name}" for each in false})
        found.append(Figure(HASHWARDEN, "false_matches", len(false), "uploads", params))
    first = next(iter(dict.fromkeys(trial.profile for trial in copies)), None)
    for edit in dict.fromkeys(trial.edit for trial in copies):
        for held_out in (False, True):
            chosen = [
                each for each in copies if (each.profile, each.edit, each.held_out) == (first, edit, held_out)
            ]
            if chosen:
                peers = [each.peer for each in chosen]
                found.append(_recall(THREATEXCHANGE, peers, edit, "", HOLD_RADIUS, held_out=held_out))
    return found


def _recall(
    subject: str, bits: Sequence[int], edit: str, profile: str, radius: int, *, held_out: bool
) -> Figure:
    share = sum(each <= radius for each in bits) / len(bits)
    params: dict[str, Any] = {"edit": edit, "radius": radius, "held_out": held_out, "copies": len(bits)}
    if profile:
        params["profile"] = profile
    return Figure(subject, "recall", round(share, 4), "share", params)
