"""Epochs: publish the live bank entries as one verified set of files, and swap it in where it is searched.

A reader never meets half an epoch, and never one that says less than the one it has without a newer number:
`epoch_files` keeps the order in which things reach the disk.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import structlog
from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from bank_sync import epoch_files, locks
from bank_sync.bank import BankCheckpoint, BankEntry
from bank_sync.epoch_files import Pointer, published_numbers, read_pointer
from bank_sync.index.protocol import HASH_BYTES
from bank_sync.loaded import (
    WIDTHS,
    EpochError,
    Hit,
    LoadedEpoch,
    buckets_if_worth,
    epoch_from_file,
    frame_rows,
    load_epoch,
    verify_epoch,
)
from bank_sync.signals import PDQ, VIDEO_MD5, VPDQ

__all__ = [
    "EpochError",
    "EpochReader",
    "Hit",
    "LoadedEpoch",
    "Pointer",
    "Published",
    "epoch_from_file",
    "publish",
    "publish_if_changed",
    "published_numbers",
    "read_pointer",
    "rollback",
]

_ROWS = 5000
_FLOAT = struct.Struct("<f")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Published:
    """The epoch in force after a call, and whether the call made it."""

    number: int
    new: bool


def publish(
    session: Session,
    folder: Path,
    *,
    keep: int = 3,
    banks: Collection[str] | None = None,
    buckets: bool = True,
) -> int:
    """Publishes the live entries as a new epoch and returns its number.

    `banks` limits it to these banks (those that are on); None takes all. Without `buckets` it is searched by FAISS flat
    alone, whatever its size. Reads what the session's transaction
    sees, so commit first; ends no transaction, but the advisory lock it takes lasts until that ends.
    Raises EpochError and leaves the epoch in force as it was.
    """
    return _publish(session, folder, keep, banks, buckets, only_if_changed=False).number


def publish_if_changed(
    session: Session,
    folder: Path,
    *,
    keep: int = 3,
    banks: Collection[str] | None = None,
    buckets: bool = True,
) -> Published:
    """Publishes only if the live entries differ from the epoch in force; else confirms that it is up to date.

    Compares what would be published byte by byte, so a publication that was lost to a crash is made up for.
    After a roll-back the content that was rolled away from does not count as different.
    """
    return _publish(session, folder, keep, banks, buckets, only_if_changed=True)


def rollback(folder: Path, number: int, *, keep: int = 3) -> int:
    """Publishes the content of an earlier epoch under a new number, and returns that. Raises EpochError.

    Needs no database. A sync that brings changes publishes over it; one that brings none does not.
    """
    with epoch_files.changing(folder):
        if number not in published_numbers(folder):
            raise EpochError(
                f"Epoch {number} is not in {folder}.",
                next_step="`hashwarden index status` lists what is kept.",
            )
        source = epoch_files.path_of(folder, number)
        old = verify_epoch(source, number)
        current = _current(folder)
        with epoch_files.building(folder) as building:
            for name in WIDTHS:
                epoch_files.link(source / name, building / name)
            about = {
                "counts": old["counts"],
                "checkpoints": old["checkpoints"],
                "snapshot": old["snapshot"],
                "copy_of": number,
                "rolled_away_from": current[1]["content"] if current else None,
            }
            return epoch_files.install(folder, building, about, datetime.now(UTC), keep)


class EpochReader:
    """Keeps the epoch in force at hand: polls the pointer, verifies, maps, swaps. Safe from several threads.

    A new epoch that is corrupt, partial or older than the one at hand is refused: the last good one stays,
    and `fault` says why until a good one comes.
    """

    def __init__(
        self, folder: Path, poll_every: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._poll_every = poll_every
        self._clock = clock
        self._lock = threading.Lock()
        self._epoch: LoadedEpoch | None = None
        self._manifest_sha256 = ""
        self._polled_at: float | None = None
        self._error: EpochError | None = None
        self._confirmed_at: datetime | None = None

    @property
    def fault(self) -> str:
        """Why the newest epoch is not the one at hand: none, older, partial, corrupt, unreadable; '' if it is."""
        error = self._error
        return error.fault if error else ""

    @property
    def confirmed_at(self) -> datetime | None:
        """When the epoch at hand was last known to equal the database: the age that matters of an index."""
        return self._confirmed_at

    def current(self) -> LoadedEpoch:
        """The epoch to search now. Raises EpochError only when there never was a usable one."""
        # While one thread loads, the others go on with what is there.
        if self._lock.acquire(blocking=self._epoch is None):
            try:
                if self._polled_at is None or self._clock() - self._polled_at >= self._poll_every:
                    self._poll()
                    self._polled_at = self._clock()
            finally:
                self._lock.release()
        if self._epoch is None:
            raise self._error or EpochError("No epoch is loaded.")
        return self._epoch

    def _poll(self) -> None:
        try:
            pointer = read_pointer(self._folder)
            if pointer.manifest_sha256 != self._manifest_sha256:
                if self._epoch is not None and pointer.number <= self._epoch.number:
                    raise EpochError(
                        f"Epoch {pointer.number} is older than epoch {self._epoch.number}, which is in use.",
                        next_step="Publish the old content anew with `hashwarden index rollback`.",
                        fault="older",
                    )
                self._epoch = load_epoch(
                    epoch_files.path_of(self._folder, pointer.number), pointer.number, pointer.manifest_sha256
                )
                self._manifest_sha256 = pointer.manifest_sha256
                log.info("epoch_loaded", epoch=pointer.number, **self._epoch.counts)
            self._confirmed_at = pointer.confirmed_at
            self._error = None
        except EpochError as error:
            if self._error is None or self._error.message != error.message:
                log.error("epoch_refused", fault=error.fault, reason=error.message)
            self._error = error


def _publish(
    session: Session,
    folder: Path,
    keep: int,
    banks: Collection[str] | None,
    buckets: bool,
    *,
    only_if_changed: bool,
) -> Published:
    locks.take(session, "epoch")
    with epoch_files.changing(folder), epoch_files.building(folder) as building:
        # Taken before the entries are read: the epoch holds at least what this snapshot shows.
        snapshot = session.execute(select(cast(func.pg_current_snapshot(), Text))).scalar_one()
        counts = _write_columns(session, building, banks)
        if buckets:
            _write_buckets(building, "pdq")
            _write_buckets(building, "frames")
        now = session.execute(select(func.clock_timestamp())).scalar_one()
        current = _current(folder) if only_if_changed else None
        if current is not None:
            pointer, manifest = current
            if epoch_files.content(building) in (manifest["content"], manifest.get("rolled_away_from")):
                epoch_files.point(folder, Pointer(pointer.number, pointer.manifest_sha256, now))
                return Published(pointer.number, new=False)
        checkpoints = {
            row.bank: {
                "next_start": row.next_start,
                "drained_at": row.drained_at.isoformat() if row.drained_at else None,
            }
            for row in session.execute(
                select(BankCheckpoint.bank, BankCheckpoint.next_start, BankCheckpoint.drained_at)
            )
        }
        about = {"counts": counts, "checkpoints": checkpoints, "snapshot": snapshot}
        number = epoch_files.install(folder, building, about, now, keep)
    log.info("epoch_published", epoch=number, **counts)
    return Published(number, new=True)


def _current(folder: Path) -> tuple[Pointer, dict[str, Any]] | None:
    """The epoch in force with its manifest, if every file of it is sound."""
    try:
        pointer = read_pointer(folder)
        where = epoch_files.path_of(folder, pointer.number)
        return pointer, verify_epoch(where, pointer.number, pointer.manifest_sha256)
    except EpochError:
        return None


def _write_columns(session: Session, folder: Path, banks: Collection[str] | None) -> dict[str, int]:
    """Streams the live entries into the epoch's files; in an order that depends on them alone."""
    counts = dict.fromkeys(("entries", PDQ, "frames", VIDEO_MD5), 0)
    files: dict[str, BinaryIO] = {}
    try:
        for name in WIDTHS:
            files[name] = (folder / name).open("wb")
        for entry_id, signal in _live(session, PDQ, banks):
            files["pdq.hashes"].write(signal)
            files["pdq.entries"].write(entry_id.to_bytes(8, "little"))
            counts[PDQ] += 1
        for entry_id, signal in _live(session, VPDQ, banks):
            counts["entries"] += 1
            for frame, seconds in frame_rows(signal):
                files["frames.hashes"].write(frame)
                files["frames.entries"].write(entry_id.to_bytes(8, "little"))
                files["frames.times"].write(_FLOAT.pack(seconds))
                counts["frames"] += 1
        for entry_id, signal in _live(session, VIDEO_MD5, banks):
            files["video_md5.hashes"].write(signal)
            files["video_md5.entries"].write(entry_id.to_bytes(8, "little"))
            counts[VIDEO_MD5] += 1
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in files.values():
            file.close()
    counts["entries"] += counts[PDQ] + counts[VIDEO_MD5]
    return counts


def _write_buckets(folder: Path, name: str) -> None:
    path = folder / f"{name}.hashes"
    if not path.stat().st_size:
        return
    hashes = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, HASH_BYTES)
    for part, numbers in zip(("offsets", "rows"), buckets_if_worth(hashes) or (), strict=False):
        with (folder / f"{name}.{part}").open("wb") as file:
            numbers.tofile(file)
            file.flush()
            os.fsync(file.fileno())


def _live(session: Session, signal_type: str, banks: Collection[str] | None) -> Iterator[tuple[int, bytes]]:
    query = select(BankEntry.id, BankEntry.signal).where(BankEntry.live, BankEntry.signal_type == signal_type)
    if banks is not None:
        query = query.where(BankEntry.bank.in_(banks))
    # The exact index needs its digests sorted; PostgreSQL orders bytea byte by byte.
    query = (
        query.order_by(BankEntry.signal, BankEntry.id)
        if signal_type == VIDEO_MD5
        else query.order_by(BankEntry.id)
    )
    for row in session.execute(query.execution_options(yield_per=_ROWS)):
        yield row[0], row[1]
