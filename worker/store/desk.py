"""The tables of the reviewers' desk: claims, passes, opinions, effects of decisions, clusters.

What one person has in hand, whom a review is not offered to, what was said before anything was enacted, and what a
decision changed, so that it can be taken back exactly.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base

Timestamp = DateTime(timezone=True)


class Stage(StrEnum):
    """What an open review waits for."""

    FIRST = "first"
    SECOND = "second"
    """A verdict was given; another person has to agree."""
    ADJUDICATION = "adjudication"
    """Two disagreed; a third person decides."""
    APPEAL = "appeal"
    """A removal is appealed; somebody who did not take part in it decides."""


class PassKind(StrEnum):
    """Why a review is not offered to a person."""

    SKIPPED = "skipped"
    """For some minutes; by hand it can be taken."""
    RECUSED = "recused"
    """Never again, and no reason is asked."""
    ASKED = "asked"
    """Never again: they asked for somebody else."""


class ClaimRow(Base):
    """A review in somebody's hands until `lease_until`. Those of one cluster that were taken together share a token."""

    __tablename__ = "review_claims"
    __table_args__ = (Index("ix_review_claims_actor", "actor"),)

    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"), primary_key=True, autoincrement=False)
    token: Mapped[UUID]
    actor: Mapped[str] = mapped_column(Text)
    claimed_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    lease_until: Mapped[datetime] = mapped_column(Timestamp)


class PassRow(Base):
    """A review that is not offered to a person."""

    __tablename__ = "review_passes"

    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"), primary_key=True, autoincrement=False)
    actor: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[PassKind] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())


class Opinion(Base):
    """A verdict that was given and not enacted by itself. Those from before the review's `opened_at` count no more."""

    __tablename__ = "review_opinions"
    __table_args__ = (
        Index("ix_review_opinions_review_id", "review_id"),
        Index("ix_review_opinions_decision_id", "decision_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"))
    actor: Mapped[str] = mapped_column(Text)
    verdict: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    request_id: Mapped[str] = mapped_column(Text, unique=True)
    claimed_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """Since when who gave it had the review in hand; as that of a decision."""
    stands: Mapped[bool] = mapped_column(default=True, server_default="true")
    """False once who gave it took it back."""
    taken_back_by: Mapped[str | None] = mapped_column(Text, unique=True)
    """The request id of the undo that took it back: sent again, it takes back nothing more."""
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))
    """The decision that it took part in."""


class DecisionEffect(Base):
    """What a decision changed: what its undo puts back."""

    __tablename__ = "decision_effects"

    decision_id: Mapped[int] = mapped_column(
        ForeignKey("decisions.id"), primary_key=True, autoincrement=False
    )
    uploads: Mapped[dict[str, list[str]]] = mapped_column(JSONB)
    """State and reason of each moved upload, by its id, as they were."""
    dismissed: Mapped[dict[str, int | None]] = mapped_column(JSONB)
    """By match id, the decision that had dismissed it before."""
    before: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))
    """The decision that counted before; None: there was none."""
    review: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """The review as it was; and what else the decision touched: feedback that it dropped, and by their ids the reviews
    that it put in doubt, with the `opened_at` that each had then."""


class ClusterRow(Base):
    """Which near copies a content is shown and decided with; the cluster's number is its first content's id."""

    __tablename__ = "content_clusters"
    __table_args__ = (Index("ix_content_clusters_cluster", "cluster"),)

    content_id: Mapped[int] = mapped_column(ForeignKey("contents.id"), primary_key=True, autoincrement=False)
    cluster: Mapped[int] = mapped_column(BigInteger)
