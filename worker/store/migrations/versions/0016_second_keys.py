"""Which keys of a bank were refused, so that the second ones are in use"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "bank_checkpoints",
        sa.Column("second_keys", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
    )
