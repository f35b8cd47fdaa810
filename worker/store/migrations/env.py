"""Runs the migrations of both rooms' tables over one connection, one at a time by an advisory lock."""

from alembic import context
from sqlalchemy import create_engine, pool, text

import bank_sync.bank
import bank_sync.lineage
import worker.store.appeal_rows
import worker.store.audit_log
import worker.store.desk
import worker.store.hunts
import worker.store.ledger
import worker.store.minor_cases
import worker.store.models
import worker.store.people
import worker.store.proposals
import worker.store.retention_mark
import worker.store.rulesets
import worker.store.schema_support
import worker.store.views
from config.database import Base

MODELS = (
    bank_sync.bank,
    bank_sync.lineage,
    worker.store.models,
    worker.store.ledger,
    worker.store.hunts,
    worker.store.desk,
    worker.store.appeal_rows,
    worker.store.people,
    worker.store.audit_log,
    worker.store.proposals,
    worker.store.retention_mark,
    worker.store.rulesets,
    worker.store.schema_support,
    worker.store.views,
)
"""Imported so that their tables are in the metadata that `alembic revision --autogenerate` compares."""

LOCK = 0x4857_0001


def run() -> None:
    engine = create_engine(context.config.attributes["database_url"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
