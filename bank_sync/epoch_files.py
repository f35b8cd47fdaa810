"""The folder of epochs on disk: files, then the manifest, then the pointer, each safe before the next is written.

A file is named by its SHA-256 and never changes, so epochs share what is equal. A number is never used twice, and a
fault of the disk leaves the epoch in force untouched.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bank_sync.manifest import FORMAT, EpochError, File, Manifest, files_of, parse_manifest, refused
from config.words import _

POINTER = "CURRENT"
FILES = "files"

FILE_MODE = 0o640
_FOLDER_MODE = 0o750

_LOCK_FILE = ".lock"
_BUILDING = ".building-"
_NAME = re.compile(r"epoch-(\d{8,18})\.json")
_FORMER_NAME = re.compile(r"epoch-(\d{8,18})")
"""The folders in which epochs of format 3 and older lay."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """What CURRENT says: the epoch in force, its manifest's SHA-256, and when it last equalled the database."""

    number: int
    manifest_sha256: str
    confirmed_at: datetime
    snapshot: str
    """What the database had committed at least when it was confirmed (pg_snapshot)."""

    def packed(self) -> bytes:
        return json.dumps(
            {
                "format": FORMAT,
                "number": self.number,
                "manifest_sha256": self.manifest_sha256,
                "confirmed_at": self.confirmed_at.isoformat(),
                "snapshot": self.snapshot,
            }
        ).encode()


def manifest_name(number: int) -> str:
    """The name of epoch `number`'s manifest in the folder."""
    return f"epoch-{number:08d}.json"


def number_in(name: str) -> int | None:
    """The number of the epoch whose manifest has this name; None for another name."""
    match = _NAME.fullmatch(name)
    return int(match.group(1)) if match else None


def path_of(folder: Path, file: File) -> Path:
    """Where a file with this content is kept."""
    return folder / FILES / file["sha256"]


def published_numbers(folder: Path) -> list[int]:
    """Numbers of the epochs kept in `folder`, ascending."""
    if not folder.is_dir():
        return []
    return sorted(number for path in folder.iterdir() if (number := number_in(path.name)) is not None)


def read_pointer(folder: Path) -> Pointer:
    """What CURRENT says. Raises EpochError when nothing is published or the pointer can't be read."""
    try:
        raw = (folder / POINTER).read_bytes()
    except FileNotFoundError:
        raise EpochError(
            _("No epoch is published yet."),
            next_step=_("Run `hashwarden bank sync --all` first."),
            fault="none",
        ) from None
    except OSError as error:
        raise EpochError(
            _(
                "The epoch pointer in %(folder)s can't be read: %(fault)s.",
                folder=folder,
                fault=error.strerror,
            ),
            next_step=_("Correct the folder's permissions or mount."),
            fault="unreadable",
        ) from None
    return parse_pointer(raw, str(folder))


def parse_pointer(raw: bytes, where: str) -> Pointer:
    """The pointer in `raw`; `where` names its place in the error. Raises EpochError."""
    try:
        told = json.loads(raw)
        pointer = Pointer(
            int(told["number"]),
            str(told["manifest_sha256"]),
            datetime.fromisoformat(told["confirmed_at"]),
            str(told["snapshot"]),
        )
        sound = told["format"] == FORMAT and pointer.number > 0 and pointer.confirmed_at.tzinfo is not None
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise EpochError(
            _("The epoch pointer in %(folder)s is not valid.", folder=where),
            next_step=_("Run `hashwarden index publish` to write it anew."),
            fault="corrupt",
        )
    return pointer


def read_manifest(folder: Path, number: int, expected_sha256: str | None = None) -> Manifest:
    """The manifest of one epoch, checked for itself; its files are not looked at. Raises EpochError."""
    try:
        raw = (folder / manifest_name(number)).read_bytes()
    except OSError as error:
        raise refused(number, f"its manifest can't be read ({error.strerror})", "partial") from None
    return parse_manifest(raw, number, expected_sha256)


def make_folder(path: Path) -> None:
    """Makes a folder for hashes, which is not for everybody to read; one that is there stays as it is."""
    path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """For the block, nobody else on this host changes `folder`; its disk faults become one EpochError."""
    with disk_faults(folder):
        make_folder(folder)
        make_folder(folder / FILES)
        with (folder / _LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def disk_faults(folder: Path) -> Iterator[None]:
    """Turns the faults of a disk into one EpochError that says what to do."""
    try:
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
    """A folder beside the epochs to build files in; gone afterwards. Enter it within `changing`, which may end first.

    What a killed process leaves of it is swept.
    """
    path = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=folder))
    try:
        with (path / _LOCK_FILE).open("a") as lock:
            # Whoever sweeps leaves it alone while this is held; the system lets go of it for a killed process.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def keep_file(folder: Path, path: Path, file: File) -> None:
    """Moves a finished file to where its content is kept; also over one that is there, which may be damaged."""
    path.chmod(FILE_MODE)
    path.rename(path_of(folder, file))


def install(folder: Path, raw: bytes, pointer: Pointer) -> None:
    """Puts an epoch in force whose files are all kept: `raw` is its manifest."""
    sync_folder(folder / FILES)
    write(folder / manifest_name(pointer.number), raw)
    sync_folder(folder)
    point(folder, pointer)


def point(folder: Path, pointer: Pointer) -> None:
    """Puts an epoch in force, or says anew that it is up to date, by one atomic rename."""
    write(folder / POINTER, pointer.packed())
    sync_folder(folder)


def next_number(folder: Path, last: int = 0) -> int:
    """A number above `last` and above every epoch that was ever in the folder, as far as it can be told."""
    known = published_numbers(folder)
    known += [
        int(match.group(1)) for path in folder.iterdir() if (match := _FORMER_NAME.fullmatch(path.name))
    ]
    with suppress(EpochError):
        known.append(read_pointer(folder).number)
    return max([last, *known]) + 1


def kept_manifests(folder: Path) -> dict[int, Manifest]:
    """The manifests in the folder that are sound for themselves, by number."""
    found = {}
    for number in published_numbers(folder):
        with suppress(EpochError):
            found[number] = read_manifest(folder, number)
    return found


def needed_files(manifests: Iterable[Manifest]) -> set[str]:
    """SHA-256s of the files that these epochs name, and of those of a base that one was rolled away from."""
    needed = set()
    for manifest in manifests:
        needed |= {file["sha256"] for _, file, _ in files_of(manifest)}
        if "rolled_away" in manifest:
            needed |= {file["sha256"] for file in manifest["rolled_away"]["base"]["files"].values()}
    return needed


def sweep(folder: Path, drop: Iterable[int] = ()) -> None:
    """Removes these epochs, files that no kept epoch names, and what a killed process left. Call it within `changing`.

    Who has a file mapped keeps its content.
    """
    for number in drop:
        (folder / manifest_name(number)).unlink(missing_ok=True)
    needed = needed_files(kept_manifests(folder).values())
    for path in (folder / FILES).iterdir():
        if path.name not in needed:
            path.unlink(missing_ok=True)
    for path in folder.iterdir():
        if _FORMER_NAME.fullmatch(path.name) or (path.name.startswith(_BUILDING) and _left(path)):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.endswith(".new"):
            path.unlink(missing_ok=True)


def write(path: Path, raw: bytes) -> None:
    """Writes a whole file so that it is there with all of its content, or not at all, even after a power cut."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder safe on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def whole(folder: Path, files: Mapping[str, File]) -> bool:
    """Whether every file is there at its length; what it holds is not read."""
    try:
        return all(path_of(folder, file).stat().st_size == file["bytes"] for file in files.values())
    except OSError:
        return False


def _left(path: Path) -> bool:
    """Whether the process that built here is gone."""
    try:
        with (path / _LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
