"""Which epoch a worker searches, why not the newest one, and when that was last up to date"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("heartbeats", sa.Column("index_fault", sa.Text(), server_default="", nullable=False))
    op.add_column("heartbeats", sa.Column("index_confirmed_at", sa.DateTime(timezone=True), nullable=True))
