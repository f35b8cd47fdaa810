"""Which undo took an opinion back; since when a review is in doubt by an overturn; indexes of opinions and reviews"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("review_opinions", sa.Column("taken_back_by", sa.Text(), nullable=True))
    op.create_unique_constraint("uq_review_opinions_taken_back_by", "review_opinions", ["taken_back_by"])
    op.create_index("ix_review_opinions_decision_id", "review_opinions", ["decision_id"])
    op.create_index(
        "ix_reviews_all",
        "reviews",
        [
            sa.text("(state <> 'open')"),
            sa.text("closed_at DESC"),
            "due_at",
            sa.text("priority DESC"),
            "nearest",
            "id",
        ],
    )
    # Before, an overturn kept the ids of what it reopened alone: taken as opened by the last one.
    op.execute(
        """
        UPDATE decision_effects SET review = jsonb_set(review, '{reopened}', coalesce((
            SELECT jsonb_object_agg(reviews.id::text, to_jsonb(reviews.opened_at))
            FROM reviews
            WHERE reviews.id IN (SELECT each::bigint FROM jsonb_array_elements_text(review -> 'reopened') AS each)
        ), '{}'))
        WHERE jsonb_typeof(review -> 'reopened') = 'array'
        """
    )
