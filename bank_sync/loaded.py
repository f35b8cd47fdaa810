"""One epoch in memory: verified, mapped read-only and ready to be searched; also straight from a bank file.

What fails a check is never searched: a file that is short, long or altered refuses the whole epoch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bank_sync.exchanges.files import read_signals
from bank_sync.index.buckets import BucketIndex, Numbers, build_buckets
from bank_sync.index.exact import ExactIndex
from bank_sync.index.flat import FlatIndex
from bank_sync.index.protocol import HASH_BYTES, Hashes, Index, Integers
from bank_sync.signals import MD5_BYTES, PDQ, VIDEO_MD5, VPDQ, unpack_frames
from config.errors import HashwardenError

FORMAT = 3
MANIFEST = "manifest.json"
MIN_FRAME_QUALITY = 50
"""vPDQ's own rule: frames below it (black, blurred) look like anything and are not indexed."""

WIDTHS = {
    "pdq.hashes": HASH_BYTES,
    "pdq.entries": 8,
    "pdq.offsets": 4,
    "pdq.rows": 4,
    "frames.hashes": HASH_BYTES,
    "frames.entries": 8,
    "frames.times": 4,
    "frames.offsets": 4,
    "frames.rows": 4,
    "video_md5.hashes": MD5_BYTES,
    "video_md5.entries": 8,
}
"""Every file of an epoch with the bytes of one row; numbers are little-endian. Offsets and rows are
empty where a flat index does as well."""

FLAT_UP_TO = 10_000
"""Hashes up to which FAISS flat is as quick as buckets, one query or many (measured: 0.016 and 0.019 ms for one)."""

_CHUNK = 2**20


class EpochError(HashwardenError):
    """No usable epoch, or one can't be published. `fault` says which check failed."""

    code = "epoch"

    def __init__(self, message: str, *, next_step: str = "", fault: str = "unusable") -> None:
        super().__init__(message, next_step=next_step)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Hit:
    """One bank hash near one query: row of the query, entry, distance in bits, seconds into a bank video."""

    query: int
    entry_id: int
    distance: int
    frame_time: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The arrays of an epoch, named like its files. `md5s` are sorted by bytes.

    The buckets are those of `build_buckets`, or None where a flat index shall do.
    """

    pdqs: Hashes
    pdq_entries: Integers
    frames: Hashes
    frame_entries: Integers
    frame_times: npt.NDArray[np.float32]
    md5s: Hashes
    md5_entries: Integers
    pdq_buckets: tuple[Numbers, Numbers] | None = None
    frame_buckets: tuple[Numbers, Numbers] | None = None


class LoadedEpoch:
    """A fixed set of live bank hashes. Safe from several threads."""

    def __init__(self, number: int, created_at: datetime, columns: Columns) -> None:
        self.number = number
        self.created_at = created_at
        self.counts: Mapping[str, int] = {
            PDQ: len(columns.pdqs),
            "frames": len(columns.frames),
            VIDEO_MD5: len(columns.md5s),
        }
        self._columns = columns
        self._pdqs = _index(columns.pdqs, columns.pdq_buckets)
        self._frames = _index(columns.frames, columns.frame_buckets)
        self._md5s = ExactIndex(columns.md5s, columns.md5_entries)

    @property
    def size(self) -> int:
        """How many PDQ hashes are searched, of pictures and of frames."""
        return len(self._pdqs) + len(self._frames)

    def search_pdq(self, queries: Hashes, radius: int, met: int = 0) -> list[Hit]:
        """Every bank PDQ and bank video frame at most `radius` bits from each row of uint8[n, 32].

        Beyond it, up to `met` bits, those that the index meets on its way: most of them, or all.
        Ordered by query, distance, entry. A video entry may be hit by several of its frames.
        """
        columns = self._columns
        still = self._pdqs.search(queries, radius, met)
        hits = [
            Hit(int(query), int(columns.pdq_entries[row]), int(distance), None)
            for query, row, distance in zip(still.query, still.row, still.distance, strict=True)
        ]
        moving = self._frames.search(queries, radius, met)
        hits += [
            Hit(int(query), int(columns.frame_entries[row]), int(distance), float(columns.frame_times[row]))
            for query, row, distance in zip(moving.query, moving.row, moving.distance, strict=True)
        ]
        hits.sort(key=lambda hit: (hit.query, hit.distance, hit.entry_id, hit.frame_time or 0.0))
        return hits

    def frames_of(self, entry_id: int) -> tuple[Hashes, npt.NDArray[np.float32]]:
        """The indexed frames of one bank video, uint8[n, 32], and the seconds of each."""
        rows = np.flatnonzero(self._columns.frame_entries == entry_id)
        return self._columns.frames[rows], self._columns.frame_times[rows]

    def search_md5(self, md5: bytes) -> list[int]:
        """The entries of the bank videos with exactly these 16 bytes of MD5."""
        return self._md5s.lookup(md5)


def frame_rows(signal: bytes) -> list[tuple[bytes, float]]:
    """The frames of a packed vPDQ worth indexing: good enough, each hash once, at its first time."""
    rows: dict[bytes, float] = {}
    for frame in unpack_frames(signal):
        if frame.quality >= MIN_FRAME_QUALITY:
            rows.setdefault(frame.hash, frame.time)
    return list(rows.items())


def epoch_from_file(path: Path) -> LoadedEpoch:
    """An epoch of the signals of one `type value` file, without a database; entry ids are line numbers.

    Raises BankFileError.
    """
    pdqs: list[tuple[bytes, int]] = []
    frames: list[tuple[bytes, int, float]] = []
    md5s: list[tuple[bytes, int]] = []
    for number, signal_type, signal in read_signals(path):
        if signal_type == PDQ:
            pdqs.append((signal, number))
        elif signal_type == VIDEO_MD5:
            md5s.append((signal, number))
        elif signal_type == VPDQ:
            frames += [(frame, number, time) for frame, time in frame_rows(signal)]
    md5s.sort()
    stills, moving = (_hashes((row[0] for row in rows), HASH_BYTES) for rows in (pdqs, frames))
    columns = Columns(
        stills,
        np.array([row[1] for row in pdqs], dtype=np.int64),
        moving,
        np.array([row[1] for row in frames], dtype=np.int64),
        np.array([row[2] for row in frames], dtype=np.float32),
        _hashes((row[0] for row in md5s), MD5_BYTES),
        np.array([row[1] for row in md5s], dtype=np.int64),
        buckets_if_worth(stills),
        buckets_if_worth(moving),
    )
    return LoadedEpoch(0, datetime.now(UTC), columns)


def load_manifest(folder: Path, number: int, expected_sha256: str | None) -> dict[str, Any]:
    """The manifest of one epoch, with format, number and file list checked. Raises EpochError."""
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _refuse(number, f"its manifest can't be read ({error.strerror})", "partial") from None
    if expected_sha256 is not None and hashlib.sha256(raw).hexdigest() != expected_sha256:
        raise _refuse(number, "its manifest is not the one that was published", "corrupt")
    try:
        manifest = json.loads(raw)
        usable = (
            manifest["format"] == FORMAT
            and manifest["number"] == number
            and isinstance(manifest["content"], str)
            and set(manifest["files"]) == set(WIDTHS)
            and all(
                isinstance(f["bytes"], int) and len(f["sha256"]) == 64 for f in manifest["files"].values()
            )
            and datetime.fromisoformat(manifest["created_at"]).tzinfo is not None
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise _refuse(number, "its manifest is not valid", "corrupt")
    checked: dict[str, Any] = manifest
    return checked


def verify_epoch(folder: Path, number: int, expected_sha256: str | None = None) -> dict[str, Any]:
    """The manifest of the epoch in `folder`, once every file proved to be what it says. Raises EpochError."""
    manifest = load_manifest(folder, number, expected_sha256)
    for name, about in manifest["files"].items():
        _verify(folder / name, number, about["bytes"], about["sha256"], WIDTHS[name])
    return manifest


def load_epoch(folder: Path, number: int, expected_sha256: str | None = None) -> LoadedEpoch:
    """Verifies every file of the epoch in `folder` and maps it. Raises EpochError; nothing is half loaded."""
    manifest = verify_epoch(folder, number, expected_sha256)
    columns = Columns(
        _map(folder / "pdq.hashes", np.uint8, HASH_BYTES),
        _map(folder / "pdq.entries", np.int64),
        _map(folder / "frames.hashes", np.uint8, HASH_BYTES),
        _map(folder / "frames.entries", np.int64),
        _map(folder / "frames.times", np.float32),
        _map(folder / "video_md5.hashes", np.uint8, MD5_BYTES),
        _map(folder / "video_md5.entries", np.int64),
        _map_buckets(folder, "pdq"),
        _map_buckets(folder, "frames"),
    )
    if not (
        len(columns.pdqs) == len(columns.pdq_entries)
        and len(columns.frames) == len(columns.frame_entries) == len(columns.frame_times)
        and len(columns.md5s) == len(columns.md5_entries)
    ):
        raise _refuse(number, "its files don't belong together", "corrupt")
    try:
        return LoadedEpoch(number, datetime.fromisoformat(manifest["created_at"]), columns)
    except ValueError:
        raise _refuse(number, "its buckets are not those of its hashes", "corrupt") from None


def buckets_if_worth(hashes: Hashes) -> tuple[Numbers, Numbers] | None:
    """The buckets of so many hashes that FAISS flat would be slower; else None."""
    return build_buckets(hashes) if len(hashes) > FLAT_UP_TO else None


def _verify(path: Path, number: int, size: int, sha256: str, width: int) -> None:
    digest = hashlib.sha256()
    seen = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                seen += len(chunk)
                digest.update(chunk)
    except OSError as error:
        raise _refuse(number, f"{path.name} can't be read ({error.strerror})", "partial") from None
    if seen != size or size % width:
        raise _refuse(number, f"{path.name} has the wrong length", "partial")
    if digest.hexdigest() != sha256:
        raise _refuse(number, f"{path.name} is not what was published", "corrupt")


def _map(path: Path, dtype: type[np.generic], width: int = 0) -> npt.NDArray[Any]:
    # An empty file can't be mapped.
    flat: npt.NDArray[Any] = (
        np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r")
        if path.stat().st_size
        else np.empty(0, dtype=dtype)
    )
    return flat.reshape(-1, width) if width else flat


def _map_buckets(folder: Path, name: str) -> tuple[Numbers, Numbers] | None:
    offsets, rows = (_map(folder / f"{name}.{part}", np.uint32) for part in ("offsets", "rows"))
    return (offsets, rows) if len(offsets) or len(rows) else None


def _index(hashes: Hashes, buckets: tuple[Numbers, Numbers] | None) -> Index:
    return BucketIndex(hashes, *buckets) if buckets else FlatIndex(hashes)


def _hashes(rows: Iterable[bytes], width: int) -> Hashes:
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, width)


def _refuse(number: int, why: str, fault: str) -> EpochError:
    return EpochError(
        f"Epoch {number} is not usable: {why}.",
        next_step="Run `hashwarden index publish`, or `hashwarden index rollback` to an earlier one.",
        fault=fault,
    )
