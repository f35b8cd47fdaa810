"""Brings a database to the schema of this version, and tells when it is not there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.orm import Session

from config.database import database_errors
from config.errors import DatabaseError
from worker.store.schema_support import SchemaSupport


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str) -> None:
    """Runs every missing migration in one transaction each; safe to run twice and by two at once."""
    with database_errors():
        command.upgrade(_config(database_url), "head")


@cache
def own_schema() -> str:
    """The schema that this code was made for."""
    return ScriptDirectory.from_config(_config("")).get_current_head() or ""


def require_current(engine: Engine) -> None:
    """Raises DatabaseError when this version can't work on the database.

    An older schema than its own it never can; on a newer one it works while the newer version's migrations say so.
    """
    wanted = own_schema()
    with database_errors(), engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found > wanted and supports(connection):
            return
    if found is not None and found > wanted:
        raise DatabaseError(
            f"The database has schema {found}, which is too new for this version, made for {wanted}.",
            next_step="Update this host to the version that the others run; a schema does not go back.",
        )
    if found != wanted:
        raise DatabaseError(
            f"The database has schema {found or 'none'}, this version needs {wanted}.",
            next_step="Run `hashwarden migrate`.",
        )


def supports(connection: Connection | Session) -> bool:
    """Whether a database of a newer schema still lets this version work on it."""
    oldest = connection.execute(select(SchemaSupport.oldest)).scalar()
    return oldest is not None and oldest <= own_schema()


def current_revision(database_url: str) -> str | None:
    engine = create_engine(database_url)
    try:
        with database_errors(), engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
