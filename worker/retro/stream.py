"""Reads a day of the ledger as one binary COPY, in the order of its contents and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy import Engine

from bank_sync.index.protocol import Hashes, Integers

BLOCK = 100_000
"""Rows at a time: 5 MB as they come, and as much again taken apart."""

_HEADER = 19
"""Signature, flags and length of the extension, which is empty."""
_END = 2
_ROW = np.dtype(
    [("fields", ">i2"), ("id_bytes", ">i4"), ("content_id", ">i8"), ("hash_bytes", ">i4"), ("hash", "u1", 32)]
)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows of the ledger in the order of their contents: content ids, int64[n], and hashes, uint8[n, 32]."""

    content_ids: Integers
    hashes: Hashes


def blocks(engine: Engine, table: str, after: int, rows: int = BLOCK) -> Iterator[Block]:
    """The rows of one day with content ids over `after`. Nothing when the day was dropped meanwhile."""
    query = sql.SQL(
        "COPY (SELECT content_id, hash FROM {} WHERE content_id > {} ORDER BY content_id, part) "
        "TO STDOUT (FORMAT binary)"
    ).format(sql.Identifier(table), sql.Literal(after))
    pooled = engine.raw_connection()
    try:
        connection = pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)  # noqa: S101 (the engine takes no other driver)
        with connection.cursor() as cursor:
            # By the primary key: a sort of a whole day would go to the disk and give nothing before it is done.
            cursor.execute("SET LOCAL enable_sort = off")
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            try:
                with cursor.copy(query) as copy:
                    yield from _blocks(copy, rows)
            except psycopg.errors.UndefinedTable:
                return
    finally:
        # Also when the reader stopped half-way: what is left of the COPY is not read.
        pooled.invalidate()
        pooled.close()


def _blocks(copy: psycopg.Copy, rows: int) -> Iterator[Block]:
    buffer = bytearray()
    begun = False
    for data in copy:
        buffer += data
        if not begun:
            del buffer[:_HEADER]
            begun = True
        if len(buffer) >= rows * _ROW.itemsize:
            yield _block(buffer)
            buffer = bytearray()
    del buffer[max(0, len(buffer) - _END) :]
    if buffer:
        yield _block(buffer)


def _block(raw: bytearray) -> Block:
    found = np.frombuffer(raw, dtype=_ROW)
    return Block(found["content_id"].astype(np.int64), np.ascontiguousarray(found["hash"]))
