"""The table of proposals: what one person asks for and another has to approve."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base
from worker.store.models import Timestamp


class ProposalKind(StrEnum):
    LIFT_DEMOTION = "lift_demotion"
    APPROVE_HUNT = "approve_hunt"
    BULK_RESTORE = "bulk_restore"
    OVERTURN_MINOR = "overturn_minor"
    CHANGE_RULES = "change_rules"


class Proposal(Base):
    """Open until it is approved, rejected or expired. The database refuses an approval by who proposed it."""

    __tablename__ = "proposals"
    __table_args__ = (
        CheckConstraint("approved_by <> proposed_by", name="two_persons"),
        CheckConstraint("approved_by IS NULL OR rejected_by IS NULL", name="one_end"),
        Index(
            "uq_proposals_open",
            "kind",
            "subject_id",
            unique=True,
            postgresql_where=text("approved_by IS NULL AND rejected_by IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[ProposalKind] = mapped_column(Text)
    subject_id: Mapped[int] = mapped_column(BigInteger)
    """Of the demotion, the hunt, the review or the case; 0 for the rules, of which there are one."""
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    proposed_by: Mapped[str] = mapped_column(Text)
    proposed_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(Timestamp)
    approved_by: Mapped[str | None] = mapped_column(Text)
    rejected_by: Mapped[str | None] = mapped_column(Text)
    """Who rejected it, or took it back; `expired` when nobody came in time."""
    ended_at: Mapped[datetime | None] = mapped_column(Timestamp)
