"""Since when who decided had the review in hand; what was closed, decided and looked at in a period"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("decisions", "review_opinions"):
        op.add_column(table, sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_reviews_closed_at", "reviews", ["closed_at"], postgresql_where=sa.text("state = 'decided'")
    )
    op.create_index("ix_decisions_at", "decisions", ["at"])
    op.create_index("ix_views_at", "views", ["at"])
