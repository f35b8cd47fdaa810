"""Epochs in an S3 prefix: the same files, manifests and pointer as in a folder, for hosts that share no disk.

The prefix is the truth: what is published is there before it is in force on any host. Hosts pull it into their folder
and search that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3.exceptions
from botocore.exceptions import BotoCoreError, ClientError

from bank_sync import epoch_files
from bank_sync.epoch_files import FILES, POINTER, Pointer, parse_pointer, path_of, read_pointer
from bank_sync.manifest import EpochError, File, Manifest, files_of, parse_manifest, refused
from bank_sync.opened import verify_file
from config.object_store import make_client
from config.settings import StorageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

YOUNG = timedelta(hours=1)
"""Files that no epoch names are left alone for so long: a compaction may be putting them there."""

_PULL_LOCK = ".pull"
_PULLED = ".pulled"
_CHUNK = 2**20
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_UNCONDITIONAL = frozenset({"NotImplemented", "501"})
"""Stores that know no conditions."""
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


class Replica:
    """The epochs under `s3://bucket/prefix`. Thread-safe; one boto3 client a process, made at the first use."""

    def __init__(self, address: str, storage: StorageSettings) -> None:
        self._bucket, _, prefix = address.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._storage = storage
        self._making = threading.Lock()
        self._made: tuple[int, S3Client] | None = None

    def pull(self, folder: Path, *, every: float = 0.0) -> None:
        """Brings the newest epoch into `folder`; not while another process of this host does that, nor when one did
        within the last `every` seconds.

        Files are verified before they are kept, and the pointer comes last. Raises EpochError: none, older, partial,
        corrupt, unreachable; what is in force in `folder` stays.
        """
        with _alone(folder, wait=False) as alone:
            pulled = folder / _PULLED
            if alone and not (pulled.exists() and 0 <= time.time() - pulled.stat().st_mtime < every):
                self._pull(folder)
                pulled.touch()

    def pull_for_publishing(self, folder: Path) -> bool:
        """The same, and waits its turn: whether `folder` is now what is published there.

        False where nothing usable is, or something older: publishing mends it. Raises EpochError when the service
        can't be reached.
        """
        with _alone(folder, wait=True):
            try:
                self._pull(folder)
            except EpochError as error:
                if error.fault == "unreachable":
                    raise
                return False
        return True

    def fetch(self, folder: Path, number: int) -> None:
        """Brings a kept epoch into `folder`, for a roll-back; nothing happens if it is there or is not kept."""
        name = epoch_files.manifest_name(number)
        if (folder / name).exists():
            return
        raw = self._read(name)
        if raw is None:
            return
        manifest = parse_manifest(raw, number, None)
        with self._files(folder, manifest):
            epoch_files.write(folder / name, raw)

    def mend(self, folder: Path, manifest: Manifest) -> None:
        """Fetches those files of an epoch anew that are not what the manifest says. Raises EpochError."""
        with _alone(folder, wait=True):
            for name, file, _ in files_of(manifest):
                try:
                    verify_file(folder, manifest["number"], name, file)
                except EpochError:
                    path_of(folder, file).unlink(missing_ok=True)
            with self._files(folder, manifest):
                pass

    def push(self, folder: Path, manifest: Manifest, raw: bytes, pointer: Pointer) -> None:
        """Puts an epoch there whose files are in `folder`: missing files, then the manifest, then the pointer."""
        self.push_files(folder, {name: file for name, file, _ in files_of(manifest)})
        self._write_new(epoch_files.manifest_name(pointer.number), raw)
        self.point(pointer)

    def push_files(self, folder: Path, files: Mapping[str, File], *, names: bool = False) -> None:
        """Puts those of the files there that are not; with `names` they lie in `folder` under their names."""
        there = self._listed(f"{FILES}/")
        for name, file in files.items():
            key = f"{FILES}/{file['sha256']}"
            if key not in there:
                path = folder / name if names else path_of(folder, file)
                with self._reaching():
                    self._client.upload_file(str(path), self._bucket, self._prefix + key)
                there[key] = datetime.now(UTC)

    def point(self, pointer: Pointer) -> None:
        """Puts an epoch in force, or says anew that it is up to date."""
        self._write(POINTER, pointer.packed())

    def last_number(self) -> int:
        """The largest number that an epoch has there, whether it is sound or not; 0 without any."""
        numbers = [epoch_files.number_in(name) or 0 for name in self._listed("epoch-")]
        with suppress(EpochError):
            numbers.append(parse_pointer(self._read(POINTER) or b"", "index.publish_to").number)
        return max(numbers, default=0)

    def kept(self) -> dict[int, Manifest]:
        """The manifests that are there and sound for themselves, by number."""
        found = {}
        for name in self._listed("epoch-"):
            number = epoch_files.number_in(name)
            raw = None if number is None else self._read(name)
            if number is not None and raw is not None:
                with suppress(EpochError):
                    found[number] = parse_manifest(raw, number, None)
        return found

    def sweep(self, keep: int, drop: Collection[int] = ()) -> bool:
        """Removes epochs but the newest `keep`, those to drop, and files that no other epoch names.

        Whether no such file is left: young ones are not touched.
        """
        listed = self._listed("")
        numbers = {name: number for name in listed if (number := epoch_files.number_in(name)) is not None}
        newest = sorted(numbers, key=numbers.__getitem__)[-keep:]
        gone = [name for name, number in numbers.items() if name not in newest or number in drop]
        with self._reaching():
            for name in gone:
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
        needed = {f"{FILES}/{sha256}" for sha256 in epoch_files.needed_files(self.kept().values())}
        unneeded = [name for name in listed if name.startswith(f"{FILES}/") and name not in needed]
        before = datetime.now(UTC) - YOUNG
        old = [name for name in unneeded if listed[name] < before]
        with self._reaching():
            for name in old:
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
        return len(old) == len(unneeded)

    def _pull(self, folder: Path) -> None:
        raw = self._read(POINTER)
        if raw is None:
            raise EpochError(
                "No epoch is published in index.publish_to yet.",
                next_step="Run `hashwarden bank sync --all` first.",
                fault="none",
            )
        pointer = parse_pointer(raw, "index.publish_to")
        try:
            here: Pointer | None = read_pointer(folder)
        except EpochError:
            here = None
        if here is not None and here.manifest_sha256 == pointer.manifest_sha256:
            if _is_whole(folder, here):
                if here.confirmed_at < pointer.confirmed_at:
                    with epoch_files.changing(folder):
                        if read_pointer(folder) == here:
                            epoch_files.point(folder, pointer)
                return
        elif here is not None and pointer.number <= here.number:
            raise EpochError(
                f"Epoch {pointer.number} in index.publish_to is older than epoch {here.number} on this host.",
                next_step="Run `hashwarden index publish` on a host that publishes.",
                fault="older",
            )
        raw = self._read(epoch_files.manifest_name(pointer.number))
        if raw is None:
            raise refused(pointer.number, "its manifest is missing in index.publish_to", "partial")
        manifest = parse_manifest(raw, pointer.number, pointer.manifest_sha256)
        with self._files(folder, manifest):
            with suppress(EpochError):
                if read_pointer(folder).number > pointer.number:
                    return
            epoch_files.install(folder, raw, pointer)
            # A roll-back fetches earlier ones.
            former = [number for number in epoch_files.published_numbers(folder) if number != pointer.number]
            epoch_files.sweep(folder, former)

    @contextmanager
    def _files(self, folder: Path, manifest: Manifest) -> Iterator[None]:
        """Downloads what is missing, and then holds the folder with every file of the epoch kept."""
        number = manifest["number"]
        with ExitStack() as stack:
            with epoch_files.changing(folder):
                building = stack.enter_context(epoch_files.building(folder))
            fetched: dict[str, File] = {}
            for name, file, _ in files_of(manifest):
                if not epoch_files.whole(folder, {name: file}):
                    self._download(number, name, file, building / file["sha256"])
                    fetched[file["sha256"]] = file
            stack.enter_context(epoch_files.changing(folder))
            for sha256, file in fetched.items():
                epoch_files.keep_file(folder, building / sha256, file)
            if not epoch_files.whole(folder, {name: file for name, file, _ in files_of(manifest)}):
                raise refused(number, "a file of it was removed meanwhile", "partial")
            yield

    def _download(self, number: int, name: str, file: File, to: Path) -> None:
        key = f"{self._prefix}{FILES}/{file['sha256']}"
        digest = hashlib.sha256()
        size = 0
        with self._reaching():
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            except ClientError as error:
                if _code(error) in _MISSING:
                    raise refused(number, f"{name} is missing in index.publish_to", "partial") from None
                raise
            with to.open("wb") as opened:
                for chunk in body.iter_chunks(_CHUNK):
                    opened.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                opened.flush()
                os.fsync(opened.fileno())
        if size != file["bytes"]:
            raise refused(number, f"{name} has the wrong length in index.publish_to", "partial")
        if digest.hexdigest() != file["sha256"]:
            raise refused(number, f"{name} in index.publish_to is not what was published", "corrupt")

    def _read(self, name: str) -> bytes | None:
        with self._reaching():
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def _write(self, name: str, raw: bytes) -> None:
        with self._reaching():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=raw)

    def _write_new(self, name: str, raw: bytes) -> None:
        """Writes what nobody has written yet, where the store can tell: two that publish one number would mix."""
        with self._reaching():
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + name, Body=raw, IfNoneMatch="*"
                )
                return
            except ClientError as error:
                if _code(error) in _TAKEN:
                    raise EpochError(
                        "Somebody else published an epoch at the same time; theirs is kept.",
                        next_step="Try again.",
                        fault="overtaken",
                    ) from None
                if _code(error) not in _UNCONDITIONAL:
                    raise
        self._write(name, raw)

    def _listed(self, under: str) -> dict[str, datetime]:
        """Names under the prefix, without it, and when each was put there."""
        found = {}
        with self._reaching():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + under
            )
            for page in pages:
                for item in page.get("Contents", []):
                    found[item["Key"].removeprefix(self._prefix)] = item["LastModified"]
        return found

    @property
    def _client(self) -> S3Client:
        with self._making:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), make_client(self._storage))
            return self._made[1]

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._unreachable(_code(error)) from None
        except (BotoCoreError, urllib3.exceptions.HTTPError) as error:
            raise self._unreachable(type(error).__name__) from None

    def _unreachable(self, why: str) -> EpochError:
        return EpochError(
            f"The epochs in bucket {self._bucket} can't be reached ({why}); the one in force stays.",
            next_step="Check index.publish_to, the storage settings and the right to get, put, list and delete there.",
            fault="unreachable",
        )


@contextmanager
def _alone(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Whether this process is the one of its host that pulls into `folder` now."""
    with epoch_files.disk_faults(folder):
        epoch_files.make_folder(folder)
        with (folder / _PULL_LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


def _is_whole(folder: Path, pointer: Pointer) -> bool:
    """Whether manifest and files of the epoch in force are there; else they are fetched again."""
    try:
        manifest = epoch_files.read_manifest(folder, pointer.number, pointer.manifest_sha256)
    except EpochError:
        return False
    return epoch_files.whole(folder, {name: file for name, file, _ in files_of(manifest)})


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
