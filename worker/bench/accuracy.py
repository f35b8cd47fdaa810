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
from PIL import Image

from bank_sync.loaded import Columns, LoadedEpoch, Segment
from config.policy import RuleSettings
from worker.bench.edits import HELD_OUT, edited
from worker.bench.figures import HASHWARDEN, THREATEXCHANGE, Figure
from worker.bench.pages import text_pages
from worker.bench.peer import peer_hash
from worker.domain import CloserLook, HashedMedia, Profile
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
    """Bits to the nearest hash of anything else, by a view that counts; 256 where none does."""
    other_name: str

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
    paths: Sequence[Path], profiles: Sequence[Profile], edits: Sequence[str], processes: int
) -> list[Trial]:
    """Every photograph in every edit and profile, and pages of text, in so many processes."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        bank = np.stack(pool.map(_reference_hash, [str(path) for path in paths], chunksize=1))
        names = [path.name for path in paths]
        pages = [_png(page) for page in text_pages(PAGES)]
        page_hashes = np.stack(pool.map(_hash_of_bytes, pages, chunksize=4))
        known = _Known(np.concatenate([bank, page_hashes]), (*names, *(f"page {at}" for at in range(PAGES))))
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
    for hit in epoch.search_pdq(queries, _NOTHING // 2):
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
