"""The table of appeals against removals."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base

Timestamp = DateTime(timezone=True)


class Appeal(Base):
    """Somebody asks to look again at a removal; one a review is open at a time."""

    __tablename__ = "appeals"
    __table_args__ = (
        Index("uq_appeals_open", "review_id", unique=True, postgresql_where=text("state = 'open'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"))
    upload_id: Mapped[int] = mapped_column(BigInteger)
    decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id"))
    """The decision that is appealed."""
    state: Mapped[str] = mapped_column(Text, default="open", server_default="open")
    """open, upheld or overturned."""
    source: Mapped[str] = mapped_column(Text)
    """api, terminal or page."""
    reason: Mapped[str] = mapped_column(Text)
    opened_by: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    decided_by: Mapped[str] = mapped_column(Text, default="", server_default="")
    decided_at: Mapped[datetime | None] = mapped_column(Timestamp)
    outcome_id: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))
    """The decision that ended it."""
