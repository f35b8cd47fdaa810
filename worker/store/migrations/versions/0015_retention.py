"""The walk over old uploads; which of them the database lets go, and their history after them"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("after", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("oldest", sa.DateTime(timezone=True), nullable=True),
        sa.Column("oldest_left", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_retention_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention")),
    )
    op.execute("INSERT INTO retention (id) VALUES (1)")
    op.add_column("sweeps", sa.Column("whole_from", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE sweeps SET whole_from = started_at WHERE kind = 'full' AND finished_at IS NOT NULL")
    op.create_index(
        "ix_uploads_deleted", "uploads", ["id"], postgresql_where=sa.text("deleted_at IS NOT NULL")
    )
    op.create_index(
        "ix_webhook_outbox_delivered_at",
        "webhook_outbox",
        ["delivered_at"],
        postgresql_where=sa.text("type = 'scan.completed'"),
    )
    op.execute(
        """
        CREATE FUNCTION refuse_losing_upload() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.state NOT IN ('clear', 'gone', 'superseded')
                OR EXISTS (SELECT FROM reviews WHERE content_id = OLD.content_id)
                OR EXISTS (SELECT FROM decisions WHERE content_id = OLD.content_id)
            THEN
                RAISE EXCEPTION 'upload % is kept: it is %, or was reviewed', OLD.id, OLD.state;
            END IF;
            RETURN OLD;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER kept BEFORE DELETE ON uploads FOR EACH ROW EXECUTE FUNCTION refuse_losing_upload()"
    )
    op.execute(
        """
        CREATE FUNCTION refuse_losing_history() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM uploads WHERE id = OLD.upload_id) THEN
                RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
            END IF;
            RETURN OLD;
        END $$
        """
    )
    op.execute("DROP TRIGGER append_only ON upload_history")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE ON upload_history "
        "FOR EACH ROW EXECUTE FUNCTION refuse_rewriting()"
    )
    op.execute(
        "CREATE TRIGGER kept BEFORE DELETE ON upload_history "
        "FOR EACH ROW EXECUTE FUNCTION refuse_losing_history()"
    )
    # Where the pages have a role of their own, they only look.
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'hashwarden_review') THEN
                REVOKE ALL ON retention FROM hashwarden_review;
                GRANT SELECT ON retention TO hashwarden_review;
            END IF;
        END $$
        """
    )
