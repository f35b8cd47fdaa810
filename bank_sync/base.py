"""Builds a base: the files of every live entry, streamed out of the database in bounded memory."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Text, cast, func, select

from bank_sync import loaded
from bank_sync.index.buckets import bucket_lengths, build_buckets
from bank_sync.index.protocol import HASH_BYTES
from bank_sync.lineage import new_lineage
from bank_sync.loaded import frame_rows
from bank_sync.manifest import BASE_WIDTHS, Base, EpochError, File
from bank_sync.signals import MD5_BYTES, PDQ, PDQ_BYTES, VIDEO_MD5, VPDQ

FLOAT = struct.Struct("<f")

_BLOCK = 2**20
_NUMBER_BYTES = 4
_HEADER = 19
"""Bytes before the first row of a binary COPY without extensions (PostgreSQL manual, COPY, "Binary Format")."""
_TRAILER = b"\xff\xff"
_ROW = struct.Struct(">hiqi")
"""What comes before the signal: the number of fields, 8, the entry id, the signal's length."""


def build_base(connection: Connection, folder: Path, *, buckets: bool) -> Base:
    """Writes the files of a base into `folder`, named as in BASE_WIDTHS, and returns what a manifest says of it.

    Reads what the connection's transaction sees, for some statements; who is not in REPEATABLE READ may find rows in
    it that changed after the base's snapshot: a delta since that snapshot makes them void. Memory is bounded by a few
    megabytes, whatever the size: buckets are sorted in the mapped file. Raises EpochError and OSError.
    """
    # Taken before the entries are read: the base holds at least what this snapshot shows.
    snapshot = session_snapshot(connection)
    lineage = new_lineage(connection)
    built_at = connection.scalar(select(func.clock_timestamp()))
    counts = dict.fromkeys(("entries", PDQ, "frames", VIDEO_MD5), 0)
    last_entry = 0
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(Writer(folder / name))
            for name in BASE_WIDTHS
            if not name.endswith(("offsets", "rows"))
        }
        for signal_type, width in ((PDQ, PDQ_BYTES), (VIDEO_MD5, MD5_BYTES)):
            for entries, signals in _fixed_rows(connection, signal_type, width):
                writers[f"{signal_type}.entries"].write(entries.astype("<i8").tobytes())
                writers[f"{signal_type}.hashes"].write(signals)
                counts[signal_type] += len(entries)
                last_entry = max(last_entry, int(entries.max(initial=0)))
            counts["entries"] += counts[signal_type]
        for entry_id, signal in _rows(connection, VPDQ):
            rows = frame_rows(signal)
            counts["entries"] += bool(rows)
            last_entry = max(last_entry, entry_id)
            for frame, seconds in rows:
                writers["frames.hashes"].write(frame)
                writers["frames.entries"].write(entry_id.to_bytes(8, "little"))
                writers["frames.times"].write(FLOAT.pack(seconds))
                counts["frames"] += 1
        files = {name: writer.finish() for name, writer in writers.items()}
    for name in (PDQ, "frames"):
        for part, file in _write_buckets(folder, name, wanted=buckets).items():
            files[f"{name}.{part}"] = file
    return {
        "snapshot": snapshot,
        "lineage": lineage,
        "buckets": buckets,
        "last_entry": last_entry,
        "built_at": built_at.isoformat() if built_at else "",
        "counts": counts,
        "files": files,
    }


def session_snapshot(connection: Connection) -> str:
    """What is committed now (pg_snapshot), as text."""
    return str(connection.execute(select(cast(func.pg_current_snapshot(), Text))).scalar_one())


class Writer:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, raw: bytes) -> None:
        self._file.write(raw)
        self._digest.update(raw)
        self._bytes += len(raw)

    def finish(self) -> File:
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"sha256": self._digest.hexdigest(), "bytes": self._bytes}


def _write_buckets(folder: Path, name: str, *, wanted: bool) -> dict[str, File]:
    hashes = folder / f"{name}.hashes"
    count = hashes.stat().st_size // HASH_BYTES
    paths = {part: folder / f"{name}.{part}" for part in ("offsets", "rows")}
    if not wanted or count <= loaded.FLAT_UP_TO:
        for path in paths.values():
            path.touch()
    else:
        for path, size in zip(paths.values(), bucket_lengths(count), strict=True):
            with path.open("wb") as file:
                # A full disk is an error here; found out by writing to the mapping it would kill the process.
                os.posix_fallocate(file.fileno(), 0, size * _NUMBER_BYTES)
        offsets, rows = (np.memmap(path, dtype="<u4", mode="r+") for path in paths.values())
        build_buckets(
            np.memmap(hashes, dtype=np.uint8, mode="r").reshape(-1, HASH_BYTES), into=(offsets, rows)
        )
        offsets.flush()
        rows.flush()
    return {part: described(path) for part, path in paths.items()}


def described(path: Path) -> File:
    """Length and SHA-256 of a finished file, once it is safe on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def _fixed_rows(
    connection: Connection, signal_type: str, width: int
) -> Iterator[tuple[npt.NDArray[np.int64], bytes]]:
    """Entry ids and signals of one length, many rows at a time."""
    row = np.dtype(
        [("fields", ">i2"), ("eight", ">i4"), ("id", ">i8"), ("length", ">i4"), ("signal", f"V{width}")]
    )
    rest = b""
    for block in _copied(connection, signal_type):
        block = rest + block
        whole = len(block) // row.itemsize
        rows = np.frombuffer(block, dtype=row, count=whole)
        rest = block[whole * row.itemsize :]
        if ((rows["fields"] != 2) | (rows["eight"] != 8) | (rows["length"] != width)).any():
            raise unreadable(signal_type)
        yield rows["id"].astype(np.int64), rows["signal"].tobytes()
    if rest != _TRAILER:
        raise unreadable(signal_type)


def _rows(connection: Connection, signal_type: str) -> Iterator[tuple[int, bytes]]:
    """Entry ids and signals of any length, one by one."""
    rest = b""
    for block in _copied(connection, signal_type):
        rest += block
        at = 0
        while len(rest) >= at + _ROW.size:
            fields, eight, entry_id, length = _ROW.unpack_from(rest, at)
            if (fields, eight) != (2, 8) or length < 0:
                raise unreadable(signal_type)
            end = at + _ROW.size + length
            if len(rest) < end:
                break
            yield entry_id, rest[at + _ROW.size : end]
            at = end
        rest = rest[at:]
    if rest != _TRAILER:
        raise unreadable(signal_type)


def _copied(connection: Connection, signal_type: str) -> Iterator[bytes]:
    """The rows of a binary COPY of the live entries of one type, a megabyte or so at a time."""
    # PostgreSQL orders bytea byte by byte, as the exact index needs it.
    order = "signal, id" if signal_type == VIDEO_MD5 else "id"
    query = (
        f"COPY (SELECT id, signal FROM bank_entries WHERE live AND signal_type = %(type)s "  # noqa: S608
        f"ORDER BY {order}) TO STDOUT (FORMAT BINARY)"
    )
    driver: Any = connection.connection.driver_connection
    skip = _HEADER
    parts: list[bytes] = []
    size = 0
    with (
        driver.cursor() as cursor,
        cursor.copy(query, {"type": signal_type}) as copy,
    ):
        for part in copy:
            parts.append(bytes(part))
            size += len(part)
            if size >= _BLOCK:
                yield b"".join(parts)[skip:]
                skip, size = 0, 0
                parts.clear()
    yield b"".join(parts)[skip:]


def unreadable(signal_type: str) -> EpochError:
    """The error of an entry that has not the length of its type."""
    return EpochError(
        f"An entry of type {signal_type} in the database has a signal of a wrong length; the epoch in force stays.",
        next_step="Restore the database, or correct the entry: octet_length(signal) shows it.",
        fault="unreadable",
    )
