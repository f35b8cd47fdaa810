"""The tables of the local bank copy: entries, origins, checkpoints, rejects and the feedback outbox.

Nothing here is a verdict: an entry is a claim of its bank, and only `live` entries match. A withdrawn entry
keeps its row as a tombstone, so that what it held can be found and released.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
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
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import UserDefinedType

from bank_sync.signals import signal_key
from bank_sync.staging import SNAPSHOT, StagedRow, staged, take
from config.database import Base

OWN_BANK = "own"
"""The bank of what this platform's reviewers confirmed; its name is fixed."""

KNOWN_STATUSES = frozenset({"unknown", "received", "active", "withdrawn", "deleted"})
WITHDRAWN_STATUSES = frozenset({"withdrawn", "deleted"})
"""Statuses of StopNCII's wire, in lower case; the two withdrawn ones oblige a client to stop matching."""

_NOW = func.now()


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's xid8: the 64-bit number of a transaction, which never comes back."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:  # noqa: ANN401 (signature fixed by SQLAlchemy)
        return "xid8"


class BankEntry(Base):
    """One signal of one bank: the current snapshot that the bank gave of it."""

    __tablename__ = "bank_entries"
    __table_args__ = (
        UniqueConstraint("bank", "signal_type", "signal_key", name="uq_bank_entries_signal"),
        CheckConstraint("quality BETWEEN 0 AND 100", name="quality"),
        CheckConstraint(
            "CASE signal_type WHEN 'pdq' THEN octet_length(signal) = 32 "
            "WHEN 'video_md5' THEN octet_length(signal) = 16 "
            "WHEN 'vpdq' THEN octet_length(signal) % 37 = 0 ELSE true END",
            name="signal",
        ),
        Index("ix_bank_entries_live_signal_type", "live", "signal_type"),
        Index("ix_bank_entries_updated_at", "updated_at"),
        Index("ix_bank_entries_changed_in", "changed_in"),
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
    changed_in: Mapped[str] = mapped_column(TransactionId, server_default=func.pg_current_xact_id())
    """The transaction that last changed whether or with what it matches; a trigger keeps it. Times would not do:
    a transaction that began early may commit late, and be passed over."""
    purged_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When no published file held the withdrawn signal any more."""


class OwnSupport(Base):
    """Why an own-bank entry is there: one decided content. Without origins it stands by itself."""

    __tablename__ = "own_supports"

    entry_id: Mapped[int] = mapped_column(ForeignKey("bank_entries.id", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    """The platform side's name of the decided content; an id, never a hash."""
    standing: Mapped[bool] = mapped_column(Boolean)
    """No bank entry led to it, so no withdrawal takes it away."""


class OwnImport(Base):
    """A file whose import into the own bank was broken off, and where to go on."""

    __tablename__ = "own_imports"

    file: Mapped[str] = mapped_column(Text, primary_key=True)
    """What tells this very file from another: no name, no content."""
    token: Mapped[str] = mapped_column(Text)


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
    drained_version: Mapped[str] = mapped_column(Text, server_default="")
    """Which version of a snapshot was last read to its end; '' where that can't be told."""
    attempted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)
    records_seen: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    second_keys: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    """Settings of whose keys the bank refused the first one lately, and took the second."""


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


@dataclass(frozen=True, slots=True)
class BankRecord:
    """The bank's snapshot of one signal, as an exchange hands it over; `signal` is packed."""

    signal_type: str
    signal: bytes
    raw_status: str = "Active"
    case_numbers: dict[str, str] = field(default_factory=dict)
    regions: list[Any] = field(default_factory=list)
    feedback: list[Any] = field(default_factory=list)
    last_modified: int = 0
    quality: int = 100

    @property
    def live(self) -> bool:
        """Whether it may match: neither its status nor all of its cases are withdrawn or deleted.

        An unknown status stays live: a missed withdrawal tag is for a person to look at, a lost hash is not.
        """
        if _is_withdrawn(self.raw_status):
            return False
        return not self.case_numbers or not all(map(_is_withdrawn, self.case_numbers.values()))


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that can't be taken: a reason code and the raw record."""

    reason: str
    record: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch did, in entries. `withdrawn` and `reactivated` are part of `changed`."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    reactivated: int = 0
    unknown_status: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.new + other.new,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.withdrawn + other.withdrawn,
            self.reactivated + other.reactivated,
            self.unknown_status + other.unknown_status,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """What the rest of the system needs to know of an entry; never its signal."""

    id: int
    bank: str
    signal_type: str
    live: bool
    quality: int
    raw_status: str
    case_count: int
    last_modified: int


def note_keys(session: Session, bank: str, asked: Collection[str], seconds: Collection[str]) -> None:
    """Notes of which of the keys that were `asked` the second ones are in use. Never commits."""
    row = session.get(BankCheckpoint, bank, with_for_update=True)
    if row is not None:
        told = sorted({*row.second_keys} - {*asked} | {*asked} & {*seconds})
        if told != row.second_keys:
            row.second_keys = told


def upsert(session: Session, bank: str, records: Iterable[BankRecord], *, generation: int = 0) -> Changes:
    """Takes records into the bank: each replaces the former snapshot of its signal whole. Never commits.

    Of several records for one signal the last one counts. A withdrawn entry may come back to life.
    `generation` marks what a full sync has shown (`withdraw_unseen`). Raises DatabaseError.
    """
    latest = {(r.signal_type, signal_key(r.signal)): r for r in records}
    if not latest:
        return Changes()
    with staged(session, (staged_row(key, record) for (_, key), record in latest.items())) as cursor:
        new, changed, unchanged, withdrawn, reactivated = take(
            cursor, _TAKE, {"bank": bank, "generation": generation}
        )
    unknown = sum(r.raw_status.strip().lower() not in KNOWN_STATUSES for r in latest.values())
    return Changes(new, changed, unchanged, withdrawn, reactivated, unknown)


def staged_row(key: bytes, record: BankRecord) -> StagedRow:
    """The record as it goes into the staging table."""
    return (
        record.signal_type,
        key,
        record.signal,
        record.live,
        record.raw_status,
        json.dumps(record.case_numbers) if record.case_numbers else "{}",
        json.dumps(record.regions) if record.regions else "[]",
        json.dumps(record.feedback) if record.feedback else "[]",
        record.last_modified,
        record.quality,
    )


def _of(table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in SNAPSHOT)


# The inner select makes the planner look each record up by the unique index: a join might read the whole bank.
# Rows are written, and so locked, in one order whoever writes; what is the same and marked already is not written.
_TAKE = f"""
    WITH compared AS MATERIALIZED (
        SELECT record.*, entry.live AS was_live, entry.generation AS was_generation,
            entry.snapshot IS NOT DISTINCT FROM ROW({_of("record")}) AS same
        FROM staged_records AS record LEFT JOIN LATERAL (
            SELECT live, generation, ROW({", ".join(SNAPSHOT)}) AS snapshot FROM bank_entries
            WHERE bank = %(bank)s AND signal_type = record.signal_type AND signal_key = record.signal_key
            LIMIT 1
        ) AS entry ON true
    ), written AS (
        INSERT INTO bank_entries AS entry
            (bank, signal_type, signal_key, signal, {", ".join(SNAPSHOT)}, generation, withdrawn_at)
        SELECT %(bank)s, signal_type, signal_key, signal, {", ".join(SNAPSHOT)}, %(generation)s,
            CASE WHEN NOT live THEN now() END
        FROM compared WHERE was_live IS NULL OR NOT same OR was_generation <> %(generation)s
        ORDER BY signal_type, signal_key
        ON CONFLICT ON CONSTRAINT uq_bank_entries_signal DO UPDATE SET
            {", ".join(f"{column} = excluded.{column}" for column in SNAPSHOT)},
            generation = excluded.generation,
            updated_at = CASE WHEN ROW({_of("entry")}) IS DISTINCT FROM ROW({_of("excluded")})
                THEN now() ELSE entry.updated_at END,
            withdrawn_at = CASE WHEN NOT excluded.live THEN coalesce(entry.withdrawn_at, now()) END
    )
    SELECT count(*) FILTER (WHERE was_live IS NULL),
        count(*) FILTER (WHERE NOT same AND was_live IS NOT NULL),
        count(*) FILTER (WHERE same),
        count(*) FILTER (WHERE was_live AND NOT live),
        count(*) FILTER (WHERE NOT was_live AND live)
    FROM compared
"""  # noqa: S608 (made of our own column names)


def withdraw_unseen(session: Session, bank: str, generation: int) -> int:
    """Withdraws the live entries that the full sync `generation` did not show; how many. Never commits."""
    done = session.execute(
        update(BankEntry)
        .where(BankEntry.bank == bank, BankEntry.live, BankEntry.generation < generation)
        .values(live=False, withdrawn_at=_NOW, updated_at=_NOW)
        .returning(BankEntry.id)
    )
    return len(done.all())


def entries_by_id(session: Session, ids: Collection[int]) -> dict[int, Entry]:
    """The entries with these ids, live or not; ids that no entry has are left out."""
    if not ids:
        return {}
    rows = session.execute(
        select(
            BankEntry.id,
            BankEntry.bank,
            BankEntry.signal_type,
            BankEntry.live,
            BankEntry.quality,
            BankEntry.raw_status,
            func.jsonb_array_length(
                func.jsonb_path_query_array(BankEntry.case_numbers, text("'$.keyvalue()'"))
            ),
            BankEntry.last_modified,
        ).where(BankEntry.id.in_(ids))
    )
    return {row[0]: Entry(*row) for row in rows}


def _is_withdrawn(status: str) -> bool:
    return status.strip().lower() in WITHDRAWN_STATUSES
