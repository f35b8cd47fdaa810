"""How far the walk over old uploads has come, and what it found: one row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base
from worker.store.models import Timestamp


class RetentionMark(Base):
    """The place of the walk. Locked while a slice is looked at, so two walks never meet."""

    __tablename__ = "retention"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    after: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Uploads up to this id were looked at by the walk that runs; 0 between two walks."""
    oldest: Mapped[datetime | None] = mapped_column(Timestamp)
    """The oldest last sighting of a row that the running walk left, of those that go once they are old."""
    oldest_left: Mapped[datetime | None] = mapped_column(Timestamp)
    """The same of the last whole walk; NULL when it left none."""
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    deleted: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Uploads whose rows were deleted so far."""
