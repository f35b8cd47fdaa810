"""The ledger of cleared uploads, and hunts of new bank hashes in it"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from bank_sync.bank import TransactionId

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("content_id", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("quality", sa.SmallInteger(), nullable=False),
        sa.Column("frame_time", sa.REAL(), nullable=True),
        sa.Column("index_epoch", sa.BigInteger(), nullable=False),
        sa.Column(
            "added_in", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("day", "content_id", "part", name=op.f("pk_ledger")),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index(op.f("ix_ledger_added_in"), "ledger", ["added_in"], unique=False)
    # A hash is 32 bytes: out of line it would need a second read, compressed it would not get shorter.
    op.execute("ALTER TABLE ledger ALTER COLUMN hash SET STORAGE PLAIN")
    op.create_table(
        "retro_mark",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("ledger_snapshot", sa.Text(), nullable=False),
        sa.Column("late_until", sa.Text(), nullable=True),
        sa.Column("late_after", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retro_mark")),
    )
    op.create_table(
        "retro_hunts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("late", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("from_snapshot", sa.Text(), nullable=False),
        sa.Column("to_snapshot", sa.Text(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("after_entry", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("after_frame", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("content_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("contents", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("whole", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("would_move", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("moved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retro_hunts")),
    )
    op.create_index("ix_retro_hunts_state", "retro_hunts", ["state"], unique=False)
    op.create_table(
        "retro_hits",
        sa.Column("hunt_id", sa.BigInteger(), nullable=False),
        sa.Column("content_id", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["hunt_id"],
            ["retro_hunts.id"],
            name=op.f("fk_retro_hits_hunt_id_retro_hunts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("hunt_id", "content_id", "entry_id", name=op.f("pk_retro_hits")),
    )
    op.create_table(
        "retro_rejected",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_retro_rejected")),
    )
    op.create_table(
        "retro_moved",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uploads", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_retro_moved")),
    )
    op.add_column("contents", sa.Column("ledger_day", sa.Date(), nullable=True))
    op.create_index("ix_contents_md5", "contents", ["md5"], unique=False)
    op.add_column("reviews", sa.Column("retro", sa.Boolean(), server_default="false", nullable=False))
