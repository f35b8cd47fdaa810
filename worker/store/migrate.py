"""Brings a database to the schema of this version, and tells when it is not there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine

from config.database import database_errors
from config.errors import DatabaseError


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str) -> None:
    """Runs every missing migration in one transaction each; safe to run twice and by two at once."""
    with database_errors():
        command.upgrade(_config(database_url), "head")


def require_current(engine: Engine) -> None:
    """Raises DatabaseError when the schema is older or newer than this version's."""
    wanted = ScriptDirectory.from_config(_config("")).get_current_head()
    with database_errors(), engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted:
        raise DatabaseError(
            f"The database has schema {found or 'none'}, this version needs {wanted}.",
            next_step="Run `hashwarden migrate`.",
        )


def current_revision(database_url: str) -> str | None:
    engine = create_engine(database_url)
    try:
        with database_errors(), engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
