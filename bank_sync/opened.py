"""Verifies an epoch's files and maps them read-only.

What fails a check is never searched: a file that is short, long or altered refuses the whole epoch.
"""

from __future__ import annotations

import hashlib
import mmap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bank_sync.epoch_files import path_of, read_manifest
from bank_sync.index.buckets import Numbers
from bank_sync.index.protocol import HASH_BYTES
from bank_sync.loaded import Columns, LoadedEpoch, Segment
from bank_sync.manifest import BASE_WIDTHS, Base, File, Manifest, files_of, refused
from bank_sync.signals import MD5_BYTES, PDQ, VIDEO_MD5

_CHUNK = 2**20
_LET_GO = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Opened:
    """An epoch that was verified, ready to be searched, and its base, which the next one may share."""

    manifest: Manifest
    base: Segment
    epoch: LoadedEpoch


def load_epoch(folder: Path, number: int, expected_sha256: str | None = None) -> LoadedEpoch:
    """Verifies every file of an epoch in `folder` and maps it. Raises EpochError; nothing is half loaded."""
    return open_epoch(folder, read_manifest(folder, number, expected_sha256)).epoch


def verify_epoch(folder: Path, number: int, expected_sha256: str | None = None) -> Manifest:
    """The manifest of an epoch, once every file proved to be what it says. Raises EpochError."""
    manifest = read_manifest(folder, number, expected_sha256)
    for name, file, _ in files_of(manifest):
        verify_file(folder, number, name, file)
    return manifest


def bytes_to_verify(manifest: Manifest, former: Opened | None) -> int:
    """Bytes to be read before this epoch is open, when `former` is."""
    shared = former is not None and _shares_base(manifest, former)
    return sum(file["bytes"] for name, file, _ in files_of(manifest) if not shared or name not in BASE_WIDTHS)


def open_epoch(folder: Path, manifest: Manifest, former: Opened | None = None) -> Opened:
    """Verifies and maps the epoch's files; not those of a base that `former` has open. Raises EpochError."""
    number = manifest["number"]
    try:
        if former is not None and _shares_base(manifest, former):
            base = former.base
        else:
            for name, file in manifest["base"]["files"].items():
                verify_file(folder, number, name, file)
            columns = map_base(folder, manifest["base"])
            _touch(columns)
            base = Segment(columns)
        delta_files = manifest["delta"]["files"]
        for name, file in delta_files.items():
            verify_file(folder, number, f"delta.{name}", file)
        delta = Segment(_columns(folder, delta_files))
        tombstones = _map(folder, delta_files["tombstones"], np.int64)
    except OSError as error:
        raise refused(number, f"a file of it can't be read ({error.strerror})", "partial") from None
    except ValueError:
        raise refused(number, "its files don't belong together", "corrupt") from None
    counts = {name: manifest["counts"][name] for name in (PDQ, "frames", VIDEO_MD5)}
    holds = manifest.get("copy_of", number)
    created_at = datetime.fromisoformat(manifest["created_at"])
    return Opened(manifest, base, LoadedEpoch(number, created_at, base, delta, tombstones, counts, holds))


def map_base(folder: Path, base: Base) -> Columns:
    """The arrays of a base; nothing of it is read yet. Raises OSError, and ValueError if they don't fit together."""
    return _columns(folder, base["files"])


def let_go(former: Opened, current: Opened) -> None:
    """Gives back the pages of a base that is searched no more; a look-up that still does reads them again.

    Else all of it is unmapped at once, by whichever look-up is the last to leave: 20 ms at ten million hashes.
    """
    if former.base is current.base:
        return
    for array in _arrays(former.base.columns):
        mapped = array.base
        while isinstance(mapped, np.ndarray):
            mapped = mapped.base
        if isinstance(mapped, mmap.mmap):
            for first in range(0, len(mapped), _LET_GO):
                mapped.madvise(mmap.MADV_DONTNEED, first, min(_LET_GO, len(mapped) - first))
                # The call keeps the interpreter, and so would this loop.
                time.sleep(0)


def _touch(columns: Columns) -> None:
    """Reads a byte of each page. The first look-up would otherwise wait for some thousand page faults."""
    for array in _arrays(columns):
        if len(array):
            # In one piece: numpy lets go of the interpreter, and taking it up again between pieces would keep
            # a look-up of another thread from its turn.
            np.add.reduce(np.frombuffer(array, dtype=np.uint8)[:: mmap.PAGESIZE], dtype=np.uint8)


def _arrays(columns: Columns) -> Iterator[npt.NDArray[Any]]:
    for column in (getattr(columns, field.name) for field in fields(columns)):
        if column is not None:
            yield from column if isinstance(column, tuple) else (column,)


def verify_file(folder: Path, number: int, name: str, file: File) -> None:
    """Raises EpochError unless the file has the length and the content that the manifest of epoch `number` says."""
    path = path_of(folder, file)
    digest = hashlib.sha256()
    seen = 0
    try:
        with path.open("rb") as opened:
            # hashlib lets go of the interpreter for such pieces: look-ups of other threads go on.
            while chunk := opened.read(_CHUNK):
                seen += len(chunk)
                digest.update(chunk)
    except OSError as error:
        raise refused(number, f"{name} can't be read ({error.strerror})", "partial") from None
    if seen != file["bytes"]:
        raise refused(number, f"{name} has the wrong length", "partial")
    if digest.hexdigest() != file["sha256"]:
        raise refused(number, f"{name} is not what was published", "corrupt")


def _shares_base(manifest: Manifest, former: Opened) -> bool:
    return manifest["base"]["files"] == former.manifest["base"]["files"]


def _columns(folder: Path, files: Mapping[str, File]) -> Columns:
    columns = Columns(
        _map(folder, files["pdq.hashes"], np.uint8, HASH_BYTES),
        _map(folder, files["pdq.entries"], np.int64),
        _map(folder, files["frames.hashes"], np.uint8, HASH_BYTES),
        _map(folder, files["frames.entries"], np.int64),
        _map(folder, files["frames.times"], np.float32),
        _map(folder, files["video_md5.hashes"], np.uint8, MD5_BYTES),
        _map(folder, files["video_md5.entries"], np.int64),
        _buckets(folder, files, "pdq"),
        _buckets(folder, files, "frames"),
    )
    if len(columns.pdqs) != len(columns.pdq_entries) or not (
        len(columns.frames) == len(columns.frame_entries) == len(columns.frame_times)
    ):
        raise ValueError("columns of different lengths")
    return columns


def _map(folder: Path, file: File, dtype: type[np.generic], width: int = 0) -> npt.NDArray[Any]:
    # An empty file can't be mapped.
    flat: npt.NDArray[Any] = (
        np.memmap(path_of(folder, file), dtype=np.dtype(dtype).newbyteorder("<"), mode="r")
        if file["bytes"]
        else np.empty(0, dtype=dtype)
    )
    return flat.reshape(-1, width) if width else flat


def _buckets(folder: Path, files: Mapping[str, File], name: str) -> tuple[Numbers, Numbers] | None:
    if f"{name}.offsets" not in files or not files[f"{name}.offsets"]["bytes"]:
        return None
    return _map(folder, files[f"{name}.offsets"], np.uint32), _map(folder, files[f"{name}.rows"], np.uint32)
