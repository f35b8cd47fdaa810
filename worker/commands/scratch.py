"""Servers of its own for a measurement, in a temporary folder, with this version's schema; all is gone at the end."""

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
    """The settings, with `settings` over them, that name the database and the folder."""
    with scratch_servers() as servers:
        loaded = load_settings(
            **settings, state_dir=servers.state_dir / "state", database={"url": servers.database_url}
        )
        engine = make_engine(loaded.database)
        try:
            yield loaded, make_sessions(engine)
        finally:
            engine.dispose()


@contextmanager
def scratch_servers() -> Iterator[Embedded]:
    """PostgreSQL with the schema, Valkey and S3."""
    with (
        tempfile.TemporaryDirectory(prefix="hashwarden-bench-") as folder,
        Embedded(Path(folder)) as servers,
    ):
        migrate.upgrade(servers.database_url)
        yield servers
