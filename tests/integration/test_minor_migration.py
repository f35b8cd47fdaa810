"""Suspected minors that were decided before there were cases get one with the migration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import worker.store.migrate
from worker.store import migrate

if TYPE_CHECKING:
    from worker.demo.embedded import Embedded

BEFORE = "0008"

ROWS = (
    "INSERT INTO contents (id, kind, size) VALUES (1, 'image', 7)",
    (
        "INSERT INTO uploads (bucket, key, version_id, state, content_id, size, lane) "
        "VALUES ('b', 'k', 'v', 'held', 1, 7, 'image')"
    ),
    "INSERT INTO decisions (id, content_id, verdict, actor, request_id) VALUES (1, 1, 'suspected_minor', 'jo', 'r')",
    (
        "INSERT INTO reviews (content_id, cause, state, verdict, decision_id, preserve_until) "
        "VALUES (1, 'match', 'decided', 'suspected_minor', 1, '2099-01-01')"
    ),
)


def test_what_was_decided_before_gets_a_case(embedded: Embedded) -> None:
    name = "before_cases"
    address = embedded.postgres.create_database(name)
    config = Config()
    config.set_main_option("script_location", str(Path(worker.store.migrate.__file__).parent / "migrations"))
    config.attributes["database_url"] = address
    engine = create_engine(address)
    try:
        command.upgrade(config, BEFORE)
        with engine.begin() as connection:
            for row in ROWS:
                connection.execute(text(row))
        migrate.upgrade(address)
        with engine.connect() as connection:
            case = connection.execute(
                text(
                    "SELECT opened_by, facts->>'kind', extract(year FROM preserve_until), state FROM minor_cases"
                )
            ).one()
            file = connection.execute(text("SELECT bucket, key, version_id, size FROM minor_files")).one()
    finally:
        engine.dispose()
        embedded.postgres.drop_database(name)
    assert tuple(case) == ("jo", "image", 2099, "open")
    assert tuple(file) == ("b", "k", "v", 7)
