"""Tells whether a database is the one a base was built from, and not from before: else its snapshot says nothing.

Transactions are numbered by the server: what a base's snapshot shows can only be asked of a database that has had
the same ones. A base is known by a token that the database keeps since it was put in force; so one that was restored
from before lacks it. The server's identifier and timeline tell a copy elsewhere, the table's file a table loaded anew.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import BigInteger, Connection, DateTime, Text, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, Session, mapped_column

from bank_sync import manifest
from config.database import Base

_SIGNS = (
    "SELECT system_identifier::text FROM pg_control_system()",
    # The control file tells of a promotion only once a checkpoint has ended.
    "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)",
    "SELECT pg_relation_filenode('bank_entries')::text",
)
UNREADABLE = "-"
"""Instead of a sign that this role may not read, or that the service does not have."""


class IndexBase(Base):
    """A base that was put in force over this database, and the highest number that an epoch of it had."""

    __tablename__ = "index_bases"

    token: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


def new_lineage(connection: Connection) -> manifest.Lineage:
    """The lineage of a base that is built from this database now; nobody knows its token yet."""
    return {"token": secrets.token_hex(16), "signs": _signs(connection)}


def is_ours(session: Session, base: manifest.Base) -> bool:
    """Whether the base was built from this database as it is, or as it was before."""
    lineage = base["lineage"]
    known = session.get(IndexBase, lineage["token"], populate_existing=True) is not None
    return known and lineage["signs"] == _signs(session.connection())


def remember(session: Session, number: int, base: manifest.Base | None = None) -> None:
    """Records that epoch `number` is of this base, built here; without one the number alone. Never commits."""
    known = insert(IndexBase).values(token=base["lineage"]["token"] if base else "", number=number)
    session.execute(
        known.on_conflict_do_update(
            index_elements=["token"], set_={"number": func.greatest(IndexBase.number, known.excluded.number)}
        )
    )


def last_number(session: Session) -> int:
    """The highest number that an epoch over this database had; 0 without any."""
    return session.scalar(select(func.max(IndexBase.number))) or 0


def _signs(connection: Connection) -> list[str]:
    found = []
    for query in _SIGNS:
        try:
            with connection.begin_nested():
                found.append(str(connection.scalar(text(query))))
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            found.append(UNREADABLE)
    return found
