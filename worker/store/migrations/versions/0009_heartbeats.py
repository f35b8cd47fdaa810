"""Which epoch a worker searches and why not the newest one; which version of a bank's file was read"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("heartbeats", sa.Column("index_fault", sa.Text(), server_default="", nullable=False))
    op.add_column("heartbeats", sa.Column("index_confirmed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "bank_checkpoints", sa.Column("drained_version", sa.Text(), server_default="", nullable=False)
    )
