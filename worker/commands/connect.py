"""What most commands begin with: the settings, and a database whose schema is this version's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.database import Sessions
    from config.settings import Settings


@contextmanager
def database() -> Iterator[tuple[Settings, Sessions]]:
    """The settings in force and sessions of the configured database; the pool is closed at the end.

    Raises DatabaseError when it can't be reached or `hashwarden migrate` has not run, SettingsError when this version
    can't read or use the approved rules.
    """
    from worker.store.rulesets import settings_in_force

    with files_and_database() as (files, sessions):
        yield settings_in_force(sessions, files), sessions


@contextmanager
def files_and_database() -> Iterator[tuple[Settings, Sessions]]:
    """As `database`, with the settings as the files say them, whatever was approved."""
    from config.database import make_engine, make_sessions
    from config.settings import load_settings
    from worker.store.migrate import require_current

    settings = load_settings()
    engine = make_engine(settings.database)
    try:
        require_current(engine)
        yield settings, make_sessions(engine)
    finally:
        engine.dispose()
