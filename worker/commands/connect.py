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
    """Settings and sessions of the configured database; the pool is closed at the end.

    Raises DatabaseError when it can't be reached or `hashwarden migrate` has not run.
    """
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
