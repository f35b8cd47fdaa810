"""The database engine, sessions and the base of every table; PostgreSQL 14 or newer only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from config.errors import DatabaseError, SettingsError
from config.settings import DatabaseSettings

Sessions = sessionmaker[Session]


class Base(DeclarativeBase):
    """Base of every table; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def make_engine(settings: DatabaseSettings) -> Engine:
    """An engine with a bounded pool. Statement parameters (hashes, keys) never reach error texts.

    Raises SettingsError when the address is not one of PostgreSQL.
    """
    try:
        return create_engine(
            settings.url.get_secret_value(),
            pool_size=settings.pool_size,
            max_overflow=2,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": settings.connect_timeout, "application_name": "hashwarden"},
        )
    except (ArgumentError, ImportError, TypeError):
        # The last two: another database's address, whose driver is missing or does not know these arguments.
        raise SettingsError(
            "The setting database.url is not an address of PostgreSQL.",
            next_step="It looks like postgresql+psycopg://user:password@host/name; set HASHWARDEN_DATABASE__URL.",
        ) from None


def make_sessions(engine: Engine) -> Sessions:
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def database_errors() -> Iterator[None]:
    """Turns a lost or refused connection into one DatabaseError without address or credentials."""
    try:
        yield
    except OperationalError as error:
        raise DatabaseError(
            "The database can't be reached.",
            next_step="Check HASHWARDEN_DATABASE__URL and that PostgreSQL is running, then try again.",
        ) from error
