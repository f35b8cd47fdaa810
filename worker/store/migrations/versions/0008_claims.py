"""Deadlines, claims, second reviews, undo, clusters and appeals"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("decisions", sa.Column("kind", sa.Text(), server_default="verdict", nullable=False))
    _reviews()
    _desk()
    op.create_table(
        "appeals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("upload_id", sa.BigInteger(), nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("opened_at", TIME, server_default=NOW, nullable=False),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("outcome_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_appeals_review_id_reviews")),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_appeals_decision_id_decisions")
        ),
        sa.ForeignKeyConstraint(
            ["outcome_id"], ["decisions.id"], name=op.f("fk_appeals_outcome_id_decisions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appeals")),
    )
    op.create_index(
        "uq_appeals_open", "appeals", ["review_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )


def _reviews() -> None:
    op.add_column("reviews", sa.Column("nearest", sa.SmallInteger(), server_default="256", nullable=False))
    op.add_column("reviews", sa.Column("stage", sa.Text(), server_default="first", nullable=False))
    op.add_column("reviews", sa.Column("asked", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("reviews", sa.Column("warned", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("reviews", sa.Column("preserve_until", TIME, nullable=True))
    op.add_column(
        "reviews",
        sa.Column(
            "due_at", TIME, server_default=sa.text("clock_timestamp() + interval '48 hours'"), nullable=False
        ),
    )
    op.execute(
        "UPDATE reviews SET due_at = opened_at + interval '48 hours', nearest = coalesce("
        "(SELECT min(distance) FROM matches WHERE matches.content_id = reviews.content_id), 256)"
    )
    op.execute(
        "UPDATE reviews SET preserve_until = closed_at + interval '1 year' WHERE verdict = 'suspected_minor'"
    )
    op.drop_index("ix_reviews_open", table_name="reviews")
    op.create_index(
        "ix_reviews_queue",
        "reviews",
        ["due_at", sa.text("priority DESC"), "nearest", "id"],
        postgresql_where=sa.text("state = 'open'"),
    )


def _desk() -> None:
    op.create_table(
        "review_claims",
        sa.Column("review_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("claimed_at", TIME, server_default=NOW, nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.id"], name=op.f("fk_review_claims_review_id_reviews")
        ),
        sa.PrimaryKeyConstraint("review_id", name=op.f("pk_review_claims")),
    )
    op.create_index("ix_review_claims_actor", "review_claims", ["actor"])
    op.create_table(
        "review_passes",
        sa.Column("review_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", TIME, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.id"], name=op.f("fk_review_passes_review_id_reviews")
        ),
        sa.PrimaryKeyConstraint("review_id", "actor", name=op.f("pk_review_passes")),
    )
    op.create_table(
        "review_opinions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("at", TIME, server_default=NOW, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("stands", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.id"], name=op.f("fk_review_opinions_review_id_reviews")
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_review_opinions_decision_id_decisions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_opinions")),
        sa.UniqueConstraint("request_id", name=op.f("uq_review_opinions_request_id")),
    )
    op.create_index("ix_review_opinions_review_id", "review_opinions", ["review_id"])
    op.create_table(
        "decision_effects",
        sa.Column("decision_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uploads", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dismissed", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=True),
        sa.Column("review", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_decision_effects_decision_id_decisions")
        ),
        sa.ForeignKeyConstraint(
            ["before"], ["decisions.id"], name=op.f("fk_decision_effects_before_decisions")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decision_effects")),
    )
    op.create_table(
        "content_clusters",
        sa.Column("content_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cluster", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_content_clusters_content_id_contents")
        ),
        sa.PrimaryKeyConstraint("content_id", name=op.f("pk_content_clusters")),
    )
    op.create_index("ix_content_clusters_cluster", "content_clusters", ["cluster"])
