"""From every schema that there ever was to this one: with rows in every table, nothing is lost, and the models fit."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Engine, MetaData, Table, create_engine, insert, select, text, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.base import ischema_names

import worker.store.migrate
from bank_sync.bank import TransactionId
from config.database import Base
from config.errors import DatabaseError
from worker.store import migrate
from worker.store.schema_support import SchemaSupport

if TYPE_CHECKING:
    from worker.demo.embedded import Embedded

CONFIG = Config()
CONFIG.set_main_option("script_location", str(Path(worker.store.migrate.__file__).parent / "migrations"))
# SQLAlchemy's own, when it reflects the options of a primary key.
pytestmark = pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")

REVISIONS = [each.revision for each in ScriptDirectory.from_config(CONFIG).walk_revisions()][::-1]

DAY = date(2026, 1, 2)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHOSEN: Mapping[str, Any] = {
    # What a check of the table asks for, or what a migration reads.
    "feedback_outbox.value": "Blocked",
    "proposals.approved_by": None,
    "proposals.rejected_by": None,
    "rulesets.approved_by": None,
    "rulesets.proposed_by": None,
    "reviews.verdict": "confirmed",
    "decisions.verdict": "confirmed",
    "uploads.state": "clear",
    "people.roles": ["reviewer"],
    "minor_cases.state": "reported",
    "minor_cases.closed_by": None,
    "minor_cases.closed_with": None,
    "minor_cases.closed_at": None,
    "people.issuer": None,
    "people.subject": None,
    "ledger.day": DAY,
}
CHANGED = {
    # Written anew by a migration, on purpose.
    "reviews.nearest",
    "reviews.due_at",
    "reviews.priority",
    "decision_effects.review",
}


@pytest.fixture(autouse=True)
def transaction_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy reads columns of PostgreSQL's `xid8` as what the models call it."""
    monkeypatch.setitem(ischema_names, "xid8", TransactionId)


@pytest.fixture(params=REVISIONS)
def old(request: pytest.FixtureRequest, embedded: Embedded) -> Iterator[tuple[str, Engine]]:
    """A database as that version left it, with a row in each table."""
    name = f"from_{request.param}_{uuid.uuid4().hex[:8]}"
    address = embedded.postgres.create_database(name)
    config = Config()
    config.set_main_option("script_location", CONFIG.get_main_option("script_location") or "")
    config.attributes["database_url"] = address
    command.upgrade(config, request.param)
    engine = create_engine(address)
    yield address, engine
    engine.dispose()
    embedded.postgres.drop_database(name)


def tables_of(engine: Engine) -> list[Table]:
    """All tables, those that others point to first; partitions are part of their parent."""
    metadata = MetaData()
    with engine.connect() as connection:
        metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if not table.name.startswith("ledger_")]


def fill(engine: Engine) -> dict[str, dict[str, Any]]:
    """Puts a row into each table that has none; by table, the first row as it then stands."""
    rows: dict[str, dict[str, Any]] = {}
    with engine.begin() as connection:
        tables = tables_of(engine)
        if any(table.name == "ledger" for table in tables):
            connection.execute(
                text(
                    "CREATE TABLE ledger_20260102 PARTITION OF ledger "
                    "FOR VALUES FROM ('2026-01-02') TO ('2026-01-03')"
                )
            )
        for table in tables:
            if table.name != "alembic_version" and not connection.execute(select(table)).first():
                connection.execute(insert(table).values(_row(table)))
            found = connection.execute(select(table)).mappings().first()
            rows[table.name] = dict(found or {})
    return rows


def _row(table: Table) -> dict[str, Any]:
    return {column.name: _value(table, column) for column in table.columns if column.computed is None}


def _value(table: Table, column: Column[Any]) -> Any:  # noqa: ANN401
    name = f"{table.name}.{column.name}"
    if name in CHOSEN:
        return CHOSEN[name]
    made: dict[type, Any] = {
        pg.JSONB: {"kept": 1},
        pg.ARRAY: ["kept"],
        pg.UUID: uuid.UUID(int=1),
        pg.TIMESTAMP: MOMENT,
        pg.DATE: DAY,
        pg.BYTEA: b"kept",
        pg.BOOLEAN: False,
        pg.TEXT: f"kept in {name}",
        pg.BIGINT: 1,
        pg.INTEGER: 1,
        pg.SMALLINT: 1,
        pg.REAL: 0.5,
        pg.DOUBLE_PRECISION: 0.5,
    }
    for kind, value in made.items():
        if isinstance(column.type, kind):
            return value
    return text("'100'")


def test_nothing_is_lost_and_the_models_fit(old: tuple[str, Engine]) -> None:
    address, engine = old
    before = fill(engine)
    migrate.upgrade(address)
    migrate.require_current(engine)
    with engine.connect() as connection:
        for table in tables_of(engine):
            had = before.get(table.name)
            if had is None or table.name == "alembic_version":
                continue
            has = [dict(row) for row in connection.execute(select(table)).mappings()]
            assert _kept(table.name, had, has), f"{table.name}: {had} became {has}"
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or not name.startswith("ledger_"),
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def _kept(table: str, had: Mapping[str, Any], has: list[dict[str, Any]]) -> bool:
    same = {name: value for name, value in had.items() if f"{table}.{name}" not in CHANGED}
    return any(all(row.get(name) == value for name, value in same.items()) for row in has)


def test_migrating_twice_and_from_nothing_is_the_same(embedded: Embedded) -> None:
    name = f"twice_{uuid.uuid4().hex[:8]}"
    address = embedded.postgres.create_database(name)
    try:
        migrate.upgrade(address)
        migrate.upgrade(address)
        assert migrate.current_revision(address) == REVISIONS[-1] == migrate.own_schema()
    finally:
        embedded.postgres.drop_database(name)


@pytest.fixture
def current(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def test_an_older_schema_asks_for_a_migration(current: Engine) -> None:
    with current.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0014'"))
    with pytest.raises(DatabaseError, match="has schema 0014") as caught:
        migrate.require_current(current)
    assert "hashwarden migrate" in caught.value.next_step


def test_a_newer_schema_lets_this_version_work_while_it_says_so(current: Engine) -> None:
    with current.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9000'"))
    migrate.require_current(current)
    with current.begin() as connection:
        connection.execute(update(SchemaSupport).values(oldest="9000"))
    with pytest.raises(DatabaseError, match="too new") as caught:
        migrate.require_current(current)
    assert "Update this host" in caught.value.next_step
