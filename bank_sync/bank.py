"""The tables of the local bank copy: entries, origins, checkpoints, rejects and the feedback outbox.

Nothing here is a verdict: an entry is a claim of its bank, and only `live` entries match. A withdrawn entry
keeps its row as a tombstone, so that what it held can be found and released.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
    case,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import UserDefinedType

from bank_sync.signals import signal_key
from config.database import Base

OWN_BANK = "own"
"""The bank of what this platform's reviewers confirmed; its name is fixed."""

KNOWN_STATUSES = frozenset({"unknown", "received", "active", "withdrawn", "deleted"})
WITHDRAWN_STATUSES = frozenset({"withdrawn", "deleted"})
"""Statuses of StopNCII's wire, in lower case; the two withdrawn ones oblige a client to stop matching."""

_BATCH = 1000
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


def upsert(session: Session, bank: str, records: Iterable[BankRecord], *, generation: int = 0) -> Changes:
    """Takes records into the bank: each replaces the former snapshot of its signal whole. Never commits.

    Of several records for one signal the last one counts. A withdrawn entry may come back to life.
    `generation` marks what a full sync has shown (`withdraw_unseen`).
    """
    latest = {(r.signal_type, signal_key(r.signal)): r for r in records}
    # Sorted, so that two writers lock rows in one order.
    ordered = sorted(latest.items(), key=lambda item: item[0])
    changes = Changes()
    for at in range(0, len(ordered), _BATCH):
        changes += _upsert_batch(session, bank, ordered[at : at + _BATCH], generation)
    return changes


def _upsert_batch(
    session: Session, bank: str, batch: Sequence[tuple[tuple[str, bytes], BankRecord]], generation: int
) -> Changes:
    known = {
        (row.signal_type, row.signal_key): row
        for row in session.execute(
            select(
                BankEntry.id,
                BankEntry.signal_type,
                BankEntry.signal_key,
                BankEntry.live,
                BankEntry.raw_status,
                BankEntry.case_numbers,
                BankEntry.regions,
                BankEntry.feedback,
                BankEntry.last_modified,
                BankEntry.quality,
            ).where(BankEntry.bank == bank, BankEntry.signal_key.in_([key for (_, key), _ in batch]))
        )
    }
    rows: list[dict[str, Any]] = []
    same: list[int] = []
    new = withdrawn = reactivated = unknown = 0
    for (signal_type, key), record in batch:
        live = record.live
        unknown += record.raw_status.strip().lower() not in KNOWN_STATUSES
        snapshot = {
            "live": live,
            "raw_status": record.raw_status,
            "case_numbers": record.case_numbers,
            "regions": record.regions,
            "feedback": record.feedback,
            "last_modified": record.last_modified,
            "quality": record.quality,
        }
        old = known.get((signal_type, key))
        if old is not None and all(getattr(old, name) == value for name, value in snapshot.items()):
            same.append(old.id)
            continue
        if old is None:
            new += 1
        else:
            withdrawn += old.live and not live
            reactivated += live and not old.live
        rows.append(
            snapshot
            | {
                "bank": bank,
                "signal_type": signal_type,
                "signal": record.signal,
                "signal_key": key,
                "generation": generation,
            }
        )
    if rows:
        statement = insert(BankEntry)
        taken = statement.excluded
        # Many rows by one short statement: one of thousands of parameters takes longer to write than to run.
        session.connection().execute(
            statement.on_conflict_do_update(
                constraint="uq_bank_entries_signal",
                set_={name: taken[name] for name in (*snapshot, "generation")}
                | {
                    "updated_at": _NOW,
                    "withdrawn_at": case((taken.live, None), else_=BankEntry.withdrawn_at),
                },
            ),
            rows,
        )
        gone = [row["signal_key"] for row in rows if not row["live"]]
        if gone:
            session.execute(
                update(BankEntry)
                .where(
                    BankEntry.bank == bank,
                    BankEntry.signal_key.in_(gone),
                    ~BankEntry.live,
                    BankEntry.withdrawn_at.is_(None),
                )
                .values(withdrawn_at=_NOW)
                .execution_options(synchronize_session=False)
            )
    if same:
        session.execute(
            update(BankEntry)
            .where(BankEntry.id.in_(same), BankEntry.generation != generation)
            .values(generation=generation)
        )
    return Changes(new, len(rows) - new, len(same), withdrawn, reactivated, unknown)


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
