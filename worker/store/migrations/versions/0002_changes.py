"""Bank entries say in which transaction they last began or ceased to match"""

import sqlalchemy as sa
from alembic import op

from bank_sync.bank import TransactionId

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "bank_entries",
        sa.Column(
            "changed_in", TransactionId(), server_default=sa.text("pg_current_xact_id()"), nullable=False
        ),
    )
    op.add_column("bank_entries", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_bank_entries_changed_in", "bank_entries", ["changed_in"], unique=False)
    op.execute(
        """
        CREATE FUNCTION note_signal_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.changed_in := pg_current_xact_id();
            IF NEW.live THEN
                NEW.purged_at := NULL;
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER signal_change BEFORE UPDATE ON bank_entries FOR EACH ROW "
        "WHEN (OLD.live IS DISTINCT FROM NEW.live OR OLD.signal IS DISTINCT FROM NEW.signal) "
        "EXECUTE FUNCTION note_signal_change()"
    )
