"""The view ledger: who was shown which picture, how much of it, when and for how long; and the addresses for it.

A view is never changed but for its seconds, once, and never deleted; a trigger holds that.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import REAL
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base

Timestamp = DateTime(timezone=True)


class View(Base):
    """One look of one person at one content, written before the picture is sent."""

    __tablename__ = "views"
    __table_args__ = (
        Index("ix_views_actor", "actor", "at"),
        Index("ix_views_content_id", "content_id"),
        Index("ix_views_at", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    actor: Mapped[str] = mapped_column(Text)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"))
    content_id: Mapped[int] = mapped_column(ForeignKey("contents.id"))
    rung: Mapped[int] = mapped_column(SmallInteger)
    """1 mosaic, 2 grey thumbnail, 3 one region, 4 the whole."""
    region: Mapped[str] = mapped_column(Text, default="", server_default="")
    """'' for the whole; `cell-1` to `cell-9`, row by row; `match-N` for the region of that row of `matches`."""
    stills: Mapped[int] = mapped_column(SmallInteger)
    """Pictures on the sheet: 1 but for a video."""
    seconds: Mapped[float | None] = mapped_column(REAL)
    """How long it was shown; NULL until it is told, and then it counts as the longest it can have been."""


class RevealAddress(Base):
    """A single-use address of one picture. The token itself is known to one browser only."""

    __tablename__ = "reveal_addresses"
    __table_args__ = (Index("ix_reveal_addresses_until", "until"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """SHA-256 of the token."""
    actor: Mapped[str] = mapped_column(Text)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"))
    rung: Mapped[int] = mapped_column(SmallInteger)
    region: Mapped[str] = mapped_column(Text, default="", server_default="")
    purpose: Mapped[str] = mapped_column(Text, default="", server_default="")
    """Why somebody looks who has not the review in hand; '' with it in hand."""
    until: Mapped[datetime] = mapped_column(Timestamp)
    used_at: Mapped[datetime | None] = mapped_column(Timestamp)
    view_id: Mapped[int | None] = mapped_column(ForeignKey("views.id"))
    """What was shown; by it the browser that holds the token may tell the seconds."""
