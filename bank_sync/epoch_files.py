"""The folder of epochs on disk: files, then the manifest, then the pointer, each safe before the next is written.

A number is never used twice, a fault of the disk leaves the epoch in force untouched, and no pickle is read.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bank_sync.loaded import FORMAT, MANIFEST, WIDTHS, EpochError

POINTER = "CURRENT"

_LOCK_FILE = ".lock"
_BUILDING = ".building-"
_NAME = re.compile(r"epoch-(\d{8,18})")
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Pointer:
    """What CURRENT says: the epoch in force, its manifest's SHA-256, and when it last equalled the database."""

    number: int
    manifest_sha256: str
    confirmed_at: datetime


def path_of(folder: Path, number: int) -> Path:
    """Where epoch `number` is kept."""
    return folder / f"epoch-{number:08d}"


def published_numbers(folder: Path) -> list[int]:
    """Numbers of the epochs kept in `folder`, ascending."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match.group(1)) for match in names if match)


def read_pointer(folder: Path) -> Pointer:
    """What CURRENT says. Raises EpochError when nothing is published or the pointer can't be read."""
    try:
        raw = (folder / POINTER).read_bytes()
    except FileNotFoundError:
        raise EpochError(
            "No epoch is published yet.", next_step="Run `hashwarden bank sync --all` first.", fault="none"
        ) from None
    except OSError as error:
        raise EpochError(
            f"The epoch pointer in {folder} can't be read: {error.strerror}.",
            next_step="Correct the folder's permissions or mount.",
            fault="unreadable",
        ) from None
    try:
        told = json.loads(raw)
        pointer = Pointer(
            int(told["number"]), str(told["manifest_sha256"]), datetime.fromisoformat(told["confirmed_at"])
        )
        sound = told["format"] == FORMAT and pointer.number > 0 and pointer.confirmed_at.tzinfo is not None
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise EpochError(
            f"The epoch pointer in {folder} is not valid.",
            next_step="Run `hashwarden index publish` to write it anew.",
            fault="corrupt",
        )
    return pointer


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """For the block, nobody else on this host changes `folder`; its disk faults become one EpochError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise EpochError(
            f"No epoch can be written to {folder}: {error.strerror}; the one in force stays.",
            next_step=(
                "Free some space on that disk and publish again."
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else "Correct the folder's path or permissions and publish again."
            ),
            fault="unwritable",
        ) from None


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A folder beside the epochs to build one in; gone afterwards unless it was installed."""
    for left in folder.glob(f"{_BUILDING}*"):
        shutil.rmtree(left, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=folder))
    try:
        # Workers may run as another user of the group; mkdtemp gives only the owner access.
        path.chmod(0o750)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def content(path: Path) -> str:
    """One SHA-256 over all files of an epoch: equal content, equal value."""
    return _content(_describe(path))


def install(folder: Path, path: Path, about: Mapping[str, Any], created_at: datetime, keep: int) -> int:
    """Gives the epoch built in `path` the next number and puts it in force; its number."""
    files = _describe(path)
    number = _next_number(folder)
    manifest = {
        "format": FORMAT,
        "number": number,
        "created_at": created_at.isoformat(),
        "files": files,
        "content": _content(files),
        **about,
    }
    raw = json.dumps(manifest, indent=1, sort_keys=True).encode()
    _write(path / MANIFEST, raw)
    _sync_folder(path)
    path.rename(path_of(folder, number))
    _sync_folder(folder)
    point(folder, Pointer(number, hashlib.sha256(raw).hexdigest(), created_at))
    for old in published_numbers(folder)[:-keep]:
        shutil.rmtree(path_of(folder, old), ignore_errors=True)
    return number


def point(folder: Path, pointer: Pointer) -> None:
    """Puts an epoch in force, or says anew that it is up to date, by one atomic rename."""
    raw = json.dumps(
        {
            "format": FORMAT,
            "number": pointer.number,
            "manifest_sha256": pointer.manifest_sha256,
            "confirmed_at": pointer.confirmed_at.isoformat(),
        }
    ).encode()
    fresh = folder / f"{POINTER}.new"
    _write(fresh, raw)
    fresh.rename(folder / POINTER)
    _sync_folder(folder)


def link(source: Path, target: Path) -> None:
    """The same file under another name where the file system can, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _next_number(folder: Path) -> int:
    known = published_numbers(folder)
    with suppress(EpochError):
        known.append(read_pointer(folder).number)
    return max(known, default=0) + 1


def _describe(path: Path) -> dict[str, dict[str, Any]]:
    files = {}
    for name in sorted(WIDTHS):
        digest = hashlib.sha256()
        size = 0
        with (path / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        files[name] = {"sha256": digest.hexdigest(), "bytes": size}
    return files


def _content(files: Mapping[str, Mapping[str, Any]]) -> str:
    return hashlib.sha256(
        "\n".join(f"{name} {files[name]['sha256']}" for name in sorted(files)).encode()
    ).hexdigest()


def _write(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
