"""A database of its own for a measurement: an embedded PostgreSQL in a temporary folder, with this version's schema."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config.database import Sessions, make_engine, make_sessions
from config.settings import Settings, load_settings
from worker.demo.embedded import Embedded
from worker.store import migrate


@contextmanager
def scratch_database(**settings: Any) -> Iterator[tuple[Settings, Sessions]]:  # noqa: ANN401 (checked as settings)
    """The settings, with `settings` over them, that name the database and the folder; all is gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="hashwarden-bench-") as folder,
        Embedded(Path(folder)) as servers,
    ):
        migrate.upgrade(servers.database_url)
        loaded = load_settings(
            **settings, state_dir=Path(folder) / "state", database={"url": servers.database_url}
        )
        engine = make_engine(loaded.database)
        try:
            yield loaded, make_sessions(engine)
        finally:
            engine.dispose()
