"""The tables of suspected minors: one case a review, with the facts of its files, kept until a date.

A trigger refuses to delete a case or a file before that date and to change what was written; who runs the pages may not
delete at all. While a case is in force no bytes of its content are deleted.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    and_,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from config.database import Base
from worker.store.models import Timestamp, Upload


class CaseState(StrEnum):
    OPEN = "open"
    REPORTED = "reported"
    """An authority has it, under `reference`."""
    CLOSED = "closed"
    """Two persons have overturned it."""


class MinorCase(Base):
    """What was decided as a suspected minor. One of a review is not closed at a time."""

    __tablename__ = "minor_cases"
    __table_args__ = (
        Index(
            "uq_minor_cases_standing", "review_id", unique=True, postgresql_where=text("state <> 'closed'")
        ),
        Index("ix_minor_cases_content_id", "content_id"),
        CheckConstraint("(reference = '') = (reported_at IS NULL)", name="reported"),
        CheckConstraint(
            "(state = 'closed') = (closed_by IS NOT NULL AND closed_with IS NOT NULL)", name="closed"
        ),
        CheckConstraint("closed_by <> closed_with", name="two_persons"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id"))
    content_id: Mapped[int] = mapped_column(ForeignKey("contents.id"))
    decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id"))
    opened_by: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """What was known then: kind, size, cause, and how it was found. No hash, bank or entry."""
    preserve_until: Mapped[datetime] = mapped_column(Timestamp)
    """Only ever moved later."""
    state: Mapped[str] = mapped_column(Text, default="open", server_default="open")
    reference: Mapped[str] = mapped_column(Text, default="", server_default="")
    """The number that the authority gave to the report; given by hand."""
    reported_by: Mapped[str | None] = mapped_column(Text)
    reported_at: Mapped[datetime | None] = mapped_column(Timestamp)
    closed_by: Mapped[str | None] = mapped_column(Text)
    """Who proposed to overturn it, and in `closed_with` who agreed."""
    closed_with: Mapped[str | None] = mapped_column(Text)
    closed_at: Mapped[datetime | None] = mapped_column(Timestamp)


class MinorFile(Base):
    """One upload of a case as it was addressed, and where its copy lies, if copies are made."""

    __tablename__ = "minor_files"
    __table_args__ = (
        UniqueConstraint("case_id", "upload_id"),
        Index("ix_minor_files_due", "next_attempt_at", postgresql_where=text("copied_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("minor_cases.id"))
    upload_id: Mapped[int] = mapped_column(ForeignKey("uploads.id"))
    bucket: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    version_id: Mapped[str] = mapped_column(Text, default="", server_default="")
    size: Mapped[int] = mapped_column(BigInteger)
    uploaded_at: Mapped[datetime] = mapped_column(Timestamp)
    """When the store wrote it; where that is not known, when it was first seen."""
    noted_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    copy_bucket: Mapped[str] = mapped_column(Text, default="", server_default="")
    copy_key: Mapped[str] = mapped_column(Text, default="", server_default="")
    copy_version_id: Mapped[str] = mapped_column(Text, default="", server_default="")
    copied_at: Mapped[datetime | None] = mapped_column(Timestamp)
    next_attempt_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    error: Mapped[str] = mapped_column(Text, default="", server_default="")


def in_force() -> ColumnElement[bool]:
    """The case forbids to delete: its date has not come, and it was not overturned before anybody was told of it."""
    return and_(
        MinorCase.preserve_until > func.clock_timestamp(),
        or_(MinorCase.state != CaseState.CLOSED, MinorCase.reference != ""),
    )


def preserved_until(session: Session, content_id: int | None) -> datetime | None:
    """Until when no bytes of this content may be deleted; None where nothing forbids it."""
    return session.scalar(
        select(func.max(MinorCase.preserve_until)).where(MinorCase.content_id == content_id, in_force())
    )


MANY_TRIES = 4
"""Failed tries after which a copy that is missing is an alarm; the first ones ride out a short fault."""


def number_lost(session: Session) -> int:
    """How many files of cases in force have no copy, and were deleted by the platform or can't be copied."""
    return session.scalars(
        select(func.count())
        .select_from(MinorFile)
        .join(MinorCase, MinorCase.id == MinorFile.case_id)
        .join(Upload, Upload.id == MinorFile.upload_id)
        .where(
            in_force(),
            MinorFile.copied_at.is_(None),
            or_(Upload.deleted_at.is_not(None), MinorFile.attempts >= MANY_TRIES),
        )
    ).one()
