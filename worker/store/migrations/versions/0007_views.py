"""The view ledger and the single-use addresses of pictures"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "views",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("content_id", sa.BigInteger(), nullable=False),
        sa.Column("rung", sa.SmallInteger(), nullable=False),
        sa.Column("region", sa.Text(), server_default="", nullable=False),
        sa.Column("stills", sa.SmallInteger(), nullable=False),
        sa.Column("seconds", sa.REAL(), nullable=True),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_views_review_id_reviews")),
        sa.ForeignKeyConstraint(["content_id"], ["contents.id"], name=op.f("fk_views_content_id_contents")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_views")),
    )
    op.create_index("ix_views_actor", "views", ["actor", "at"], unique=False)
    op.create_index("ix_views_content_id", "views", ["content_id"], unique=False)
    op.create_table(
        "reveal_addresses",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("rung", sa.SmallInteger(), nullable=False),
        sa.Column("region", sa.Text(), server_default="", nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("view_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.id"], name=op.f("fk_reveal_addresses_review_id_reviews")
        ),
        sa.ForeignKeyConstraint(["view_id"], ["views.id"], name=op.f("fk_reveal_addresses_view_id_views")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_reveal_addresses")),
    )
    op.create_index("ix_reveal_addresses_until", "reveal_addresses", ["until"], unique=False)
    op.execute(
        """
        CREATE FUNCTION refuse_rewriting_views() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.seconds IS NULL AND NEW.seconds IS NOT NULL
               AND (to_jsonb(NEW) - 'seconds') = (to_jsonb(OLD) - 'seconds') THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'views is append-only but for its seconds, once';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON views "
        "FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_views()"
    )
    op.execute(
        "CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON views "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_views()"
    )
