"""Many records on their way into the bank's tables: by COPY into a staging table, and from there by one statement.

The staging table is the connection's own and empty again after each transaction. No error text quotes a record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy.exc
from sqlalchemy.orm import Session

from config.errors import DatabaseError

StagedRow = tuple[str, bytes, bytes, bool, str, str, str, str, int, int]
"""signal_type, signal_key, signal, live, raw_status, case_numbers, regions and feedback as JSON text, last_modified,
quality. A signal comes once."""

SNAPSHOT = ("live", "raw_status", "case_numbers", "regions", "feedback", "last_modified", "quality")
"""The columns of what a bank says of a signal, in the order of a StagedRow."""

_COLUMNS = f"signal_type, signal_key, signal, {', '.join(SNAPSHOT)}"

_TABLE = b"""
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_records (
        signal_type text NOT NULL, signal_key bytea NOT NULL, signal bytea NOT NULL, live boolean NOT NULL,
        raw_status text NOT NULL, case_numbers jsonb NOT NULL, regions jsonb NOT NULL, feedback jsonb NOT NULL,
        last_modified bigint NOT NULL, quality smallint NOT NULL
    ) ON COMMIT DELETE ROWS
"""


class RecordsRefusedError(DatabaseError):
    """The database is there and well, and refused what a bank gave."""

    code = "records_refused"


@contextmanager
def refused_records() -> Iterator[None]:
    """Turns what the database says against values, not a lost connection, into one RecordsRefusedError."""
    try:
        yield
    except (sqlalchemy.exc.DataError, sqlalchemy.exc.IntegrityError) as error:
        raise _refused(error.orig) from None


def _refused(error: BaseException | None) -> RecordsRefusedError:
    # Its text and its details may quote a record.
    return RecordsRefusedError(
        f"The database refused a batch of records (SQLSTATE {getattr(error, 'sqlstate', None) or 'none'}).",
        next_step="Nothing of the batch was taken. Run `hashwarden doctor`; if it finds nothing, report the code.",
    )


@contextmanager
def staged(session: Session, rows: Iterable[StagedRow]) -> Iterator[psycopg.Cursor[Any]]:
    """The rows in the table `staged_records`, and a cursor in the session's transaction to take them from there.

    Raises DatabaseError for whatever the database says against it, in the block as well. Never commits.
    """
    raw = session.connection().connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        raise TypeError("the session is not on psycopg")
    try:
        with raw.cursor() as cursor:
            cursor.execute(_TABLE)
            # Also what an earlier batch of the same transaction left.
            cursor.execute("DELETE FROM staged_records")
            with cursor.copy(f"COPY staged_records ({_COLUMNS}) FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            yield cursor
    except psycopg.OperationalError as error:
        raise DatabaseError(
            "The database can't be reached.",
            next_step="Check HASHWARDEN_DATABASE__URL and that PostgreSQL is running, then try again.",
        ) from error
    except psycopg.Error as error:
        raise _refused(error) from None


def take(cursor: psycopg.Cursor[Any], statement: str, values: Mapping[str, Any]) -> tuple[int, ...]:
    """Runs a statement over `staged_records`; its one row of numbers."""
    # Never prepared: a plan made while the tables were small would be kept when they are large.
    row = cursor.execute(statement.encode(), values, prepare=False).fetchone()
    if row is None:
        raise TypeError("the statement has no row")
    return tuple(row)
