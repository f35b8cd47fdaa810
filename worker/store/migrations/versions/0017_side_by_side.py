"""Versions side by side: the oldest that may still work on this database, and the schema that each worker knows"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schema_support",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("oldest", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_schema_support_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_support")),
    )
    op.execute("INSERT INTO schema_support (id, oldest) VALUES (1, '0014')")
    op.add_column("heartbeats", sa.Column("schema", sa.Text(), server_default="", nullable=False))
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'hashwarden_review') THEN
                REVOKE ALL ON schema_support FROM hashwarden_review;
                GRANT SELECT ON schema_support TO hashwarden_review;
            END IF;
        END $$
        """
    )
