"""Rules that were approved"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rulesets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("approved_by <> proposed_by", name=op.f("ck_rulesets_two_persons")),
        sa.CheckConstraint(
            "(approved_by IS NULL) = (proposed_by IS NULL)",
            name=op.f("ck_rulesets_both"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rulesets")),
    )
    # Per statement: a change of no row is refused too, and TRUNCATE.
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rulesets "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()"
    )
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON rulesets FROM PUBLIC, CURRENT_USER")
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'hashwarden_review') THEN
                REVOKE ALL ON rulesets FROM hashwarden_review;
                GRANT SELECT, INSERT ON rulesets TO hashwarden_review;
            END IF;
        END $$
        """
    )
