"""Advisory locks of PostgreSQL: who may sync a bank, send its feedback or publish an epoch right now.

They belong to a connection or a transaction, so a killed process never leaves one behind.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

_NAMESPACE = 0x4857
"""First half of the lock's key: keeps clear of other users of the same database."""


def _key(name: str) -> int:
    """Second half: 32 signed bits of the name."""
    return zlib.crc32(name.encode()) - 2**31


@contextmanager
def held(engine: Engine, name: str) -> Iterator[bool]:
    """Holds a lock on a connection of its own for the block; yields False at once if another holds it."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        if not connection.scalar(select(func.pg_try_advisory_lock(_NAMESPACE, _key(name)))):
            yield False
            return
        try:
            yield True
        finally:
            # The server notices the end of a connection a little later; whoever asks next asks at once.
            with suppress(DBAPIError):
                connection.scalar(select(func.pg_advisory_unlock(_NAMESPACE, _key(name))))
            # Ending the connection ends the lock, also when the connection is already broken.
            connection.invalidate()
    finally:
        connection.close()


def take(session: Session, name: str) -> None:
    """Waits for a lock that lasts until the session's transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(_NAMESPACE, _key(name))))


def try_take(session: Session, name: str) -> bool:
    """Takes such a lock if nobody holds it; never waits."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(_NAMESPACE, _key(name)))))
