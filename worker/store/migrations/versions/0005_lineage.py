"""The database knows the bases that were built from it; entries have signals of their type's length"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "index_bases",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_index_bases")),
    )
    # Not valid: what is there is not read, which would keep everybody waiting; what comes is checked.
    op.execute(
        "ALTER TABLE bank_entries ADD CONSTRAINT ck_bank_entries_signal CHECK (CASE signal_type "
        "WHEN 'pdq' THEN octet_length(signal) = 32 WHEN 'video_md5' THEN octet_length(signal) = 16 "
        "WHEN 'vpdq' THEN octet_length(signal) % 37 = 0 ELSE true END) NOT VALID"
    )
