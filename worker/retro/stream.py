"""Reads a day of the ledger as one binary COPY, in the order of its contents and in bounded memory.

By libpq itself: a row is a message of its own, and taking each through psycopg's own COPY would cost as much as
searching it.
"""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn
from sqlalchemy import Engine

from bank_sync.index.protocol import Hashes, Integers

BLOCK = 100_000
"""Rows at a time: 6 MB as they come, and as much again taken apart."""

_HEADER = 19
"""Signature, flags and length of the extension, which is empty."""
_END = 2
_UNDEFINED_TABLE = b"42P01"
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("id_bytes", ">i4"),
        ("content_id", ">i8"),
        ("hash_bytes", ">i4"),
        ("hash", "u1", 32),
        ("quality_bytes", ">i4"),
        ("quality", ">i2"),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows of the ledger in the order of their contents: content ids, hashes, uint8[n, 32], and qualities, int64[n]."""

    content_ids: Integers
    hashes: Hashes
    qualities: Integers


def blocks(engine: Engine, table: str, after: int, rows: int = BLOCK) -> Iterator[Block]:
    """The rows of one day with content ids over `after`. Nothing when the day was dropped meanwhile.

    Raises OperationalError of psycopg when the database fails.
    """
    query = sql.SQL(
        "COPY (SELECT content_id, hash, quality FROM {} WHERE content_id > {} ORDER BY content_id, part) "
        "TO STDOUT (FORMAT binary)"
    ).format(sql.Identifier(table), sql.Literal(after))
    pooled = engine.raw_connection()
    whole = False
    try:
        connection = pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)  # noqa: S101 (the engine takes no other driver)
        # By the primary key: a sort of a whole day would go to the disk and give nothing before it is done.
        connection.execute("SET LOCAL enable_sort = off")
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        yield from _copied(connection.pgconn, query.as_bytes(connection), rows)
        whole = True
    finally:
        if not whole:
            # The reader stopped half-way: what is left of the COPY is not read.
            pooled.invalidate()
        pooled.close()


def _copied(connection: PGconn, query: bytes, rows: int) -> Iterator[Block]:
    begun = connection.exec_(query)
    if begun.status != ExecStatus.COPY_OUT:
        _check(begun.error_field(DiagnosticField.SQLSTATE))
        return
    buffer = bytearray()
    behind = _HEADER
    for message in _messages(connection):
        buffer += message[behind:]
        behind = 0
        if len(buffer) >= rows * _ROW.itemsize:
            yield _block(buffer)
            buffer = bytearray()
    while (result := connection.get_result()) is not None:
        if result.status != ExecStatus.COMMAND_OK:
            _check(result.error_field(DiagnosticField.SQLSTATE))
    del buffer[max(0, len(buffer) - _END) :]
    if buffer:
        yield _block(buffer)


def _messages(connection: PGconn) -> Iterator[memoryview]:
    """What the server sends, until it ends. Waits without keeping other threads of the process from running."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.socket, selectors.EVENT_READ)
        while True:
            size, data = connection.get_copy_data(1)
            if size > 0:
                yield data
            elif size < 0:
                return
            else:
                selector.select()
                connection.consume_input()


def _check(state: bytes | None) -> None:
    if state != _UNDEFINED_TABLE:
        raise psycopg.OperationalError("The ledger could not be read to its end.")


def _block(raw: bytearray) -> Block:
    found = np.frombuffer(raw, dtype=_ROW)
    return Block(
        found["content_id"].astype(np.int64),
        np.ascontiguousarray(found["hash"]),
        found["quality"].astype(np.int64),
    )
