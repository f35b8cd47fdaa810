"""The tables of the local bank copy: entries, origins, checkpoints, rejects and the feedback outbox.

Nothing here is a verdict: an entry is a claim of its bank, and only `live` entries match. A withdrawn entry
keeps its row as a tombstone, so that what it held can be found and released.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base

OWN_BANK = "own"
"""The bank of what this platform's reviewers confirmed; its name is fixed."""

_NOW = func.now()


class BankEntry(Base):
    """One signal of one bank: the current snapshot that the bank gave of it."""

    __tablename__ = "bank_entries"
    __table_args__ = (
        UniqueConstraint("bank", "signal_type", "signal_key", name="uq_bank_entries_signal"),
        CheckConstraint("quality BETWEEN 0 AND 100", name="quality"),
        Index("ix_bank_entries_live_signal_type", "live", "signal_type"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    bank: Mapped[str] = mapped_column(Text)
    signal_type: Mapped[str] = mapped_column(Text)
    signal: Mapped[bytes] = mapped_column(LargeBinary)
    signal_key: Mapped[bytes] = mapped_column(LargeBinary)
    live: Mapped[bool] = mapped_column(Boolean)
    raw_status: Mapped[str] = mapped_column(Text, server_default="")
    quality: Mapped[int] = mapped_column(SmallInteger, server_default=text("100"))
    case_numbers: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    regions: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    feedback: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    last_modified: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    generation: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """The full sync that last showed this entry; one that a finished full sync did not show is an orphan."""
    first_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    withdrawn_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class OwnSupport(Base):
    """Why an own-bank entry is there: one decided content. Without origins it stands by itself."""

    __tablename__ = "own_supports"

    entry_id: Mapped[int] = mapped_column(ForeignKey("bank_entries.id", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    """The platform side's name of the decided content; an id, never a hash."""
    standing: Mapped[bool] = mapped_column(Boolean)
    """No bank entry led to it, so no withdrawal takes it away."""


class EntryOrigin(Base):
    """A bank entry whose match led to an own-bank entry, for one decided content."""

    __tablename__ = "entry_origins"

    entry_id: Mapped[int] = mapped_column(ForeignKey("bank_entries.id", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    origin_entry_id: Mapped[int] = mapped_column(
        ForeignKey("bank_entries.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class BankCheckpoint(Base):
    """How far a bank's sync has come. `next_start` moves only when a cursor is drained."""

    __tablename__ = "bank_checkpoints"

    bank: Mapped[str] = mapped_column(Text, primary_key=True)
    next_start: Mapped[int] = mapped_column(BigInteger)
    cursor_start: Mapped[int | None] = mapped_column(BigInteger)
    cursor_token: Mapped[str | None] = mapped_column(Text)
    cursor_issued_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cursor_next_start: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """The largest next start that the pages of the open cursor have named so far."""
    generation: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    full_sync: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    """The open sync reads everything from the start; what it does not show is withdrawn at its end."""
    drained_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)
    records_seen: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class BankReject(Base):
    """A record that could not be taken, kept for a person to look at; the same one again only counts."""

    __tablename__ = "bank_rejects"
    __table_args__ = (UniqueConstraint("bank", "reason", "record_key", name="uq_bank_rejects_record"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    bank: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    record_key: Mapped[bytes] = mapped_column(LargeBinary)
    record: Mapped[str | None] = mapped_column(Text)
    """The raw record, cut at a bound; null once a bank has too many of them."""
    seen: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    first_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)


class Feedback(Base):
    """One thing to tell a bank about one entry: sent once, or dropped with the reason."""

    __tablename__ = "feedback_outbox"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="uq_feedback_outbox_key"),
        CheckConstraint("value IN ('PendingReview', 'Blocked', 'NotBlocked')", name="value"),
        Index(
            "ix_feedback_outbox_due",
            "bank",
            "next_attempt_at",
            postgresql_where=text("sent_at IS NULL AND dropped IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    bank: Mapped[str] = mapped_column(Text)
    entry_id: Mapped[int] = mapped_column(ForeignKey("bank_entries.id", ondelete="CASCADE"), index=True)
    value: Mapped[str] = mapped_column(Text)
    idempotency_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    dropped: Mapped[str | None] = mapped_column(Text)
    last_error: Mapped[str | None] = mapped_column(Text)
