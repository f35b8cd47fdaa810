"""The tables of the worker room. Timestamps come from the database's clock; history and decisions are append-only."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from config.database import Base
from worker.domain import Kind, Lane, ObjectRef, State

Timestamp = DateTime(timezone=True)


def _id() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(), primary_key=True)


def _now() -> Mapped[datetime]:
    return mapped_column(Timestamp, server_default=func.clock_timestamp())


MAY_BE_DUE = "state IN ('pending', 'scanning') OR access_due_at IS NOT NULL OR purge_at IS NOT NULL"
"""SQL over `uploads`: what the index of due rows holds, so that a round never reads all uploads that are done."""


class Upload(Base):
    """One object version on its way from event to decision; the row is the queue entry of record."""

    __tablename__ = "uploads"
    __table_args__ = (
        Index(
            "uq_uploads_version",
            "bucket",
            "key",
            "version_id",
            unique=True,
            postgresql_where=text("version_id <> ''"),
        ),
        Index(
            "uq_uploads_unversioned",
            "bucket",
            "key",
            "etag",
            "size",
            "last_modified",
            unique=True,
            postgresql_where=text("version_id = ''"),
        ),
        Index(
            "ix_uploads_due",
            "lane",
            "priority",
            "next_attempt_at",
            postgresql_where=text(MAY_BE_DUE),
        ),
        Index("ix_uploads_content_id", "content_id"),
        Index("ix_uploads_state", "state"),
        Index("ix_uploads_deleted", "id", postgresql_where=text("deleted_at IS NOT NULL")),
        CheckConstraint("attempts >= 0", name="attempts"),
    )

    id: Mapped[int] = _id()
    bucket: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    version_id: Mapped[str] = mapped_column(Text, default="", server_default="")
    etag: Mapped[str] = mapped_column(Text, default="", server_default="")
    size: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    last_modified: Mapped[datetime] = mapped_column(Timestamp, server_default=text("'epoch'"))
    """The epoch where the store told none: NULLs would be distinct in the unique index."""
    sequencer: Mapped[str] = mapped_column(Text, default="", server_default="")
    source: Mapped[str] = mapped_column(Text, default="", server_default="")

    state: Mapped[State] = mapped_column(Text, default=State.PENDING, server_default=State.PENDING.value)
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")
    lane: Mapped[Lane] = mapped_column(Text, default=Lane.IMAGE, server_default=Lane.IMAGE.value)
    priority: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """0: a new upload; 10: found by a backfill. Lower is served first."""
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """Times the media was touched and no result came back; committed before it is touched."""
    faults: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """Times that storage, index or database failed; they delay the next attempt and don't use one up."""
    lease: Mapped[UUID | None]
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)
    next_attempt_at: Mapped[datetime] = _now()
    announced_at: Mapped[datetime | None] = mapped_column(Timestamp)

    content_id: Mapped[int | None] = mapped_column(ForeignKey("contents.id"))
    index_epoch: Mapped[int | None] = mapped_column(BigInteger)
    policy_revision: Mapped[str] = mapped_column(Text, default="", server_default="")
    first_seen_at: Mapped[datetime] = _now()
    last_seen_at: Mapped[datetime] = _now()
    state_since: Mapped[datetime] = _now()
    deleted_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """When an event said that exactly this version was deleted by somebody else."""

    # What must hold in the storage, and what was last made to hold there.
    access_wanted: Mapped[str] = mapped_column(Text, default="served", server_default="served")
    access_applied: Mapped[str] = mapped_column(Text, default="", server_default="")
    """'' until the storage was first touched or checked; 'refused' where the store can't do it; 'purging' and
    'purged' once the bytes are being deleted and are."""
    access_due_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """When the effect is to be made or checked; NULL: nothing to do."""
    access_attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    access_intent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """Set and committed before the storage is changed, cleared with the receipt: after a crash between the two, a
    delete marker later than this is ours."""
    access_error: Mapped[str] = mapped_column(Text, default="", server_default="")
    receipt: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """How access was denied (method, marker version, quarantine key), as `storage.Receipt` writes it."""
    purge_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """When a removed upload's bytes are deleted for good; NULL when not removed or already purged."""
    tagged: Mapped[str] = mapped_column(Text, default="", server_default="")
    """The state tag last written to the object."""

    content: Mapped[Content | None] = relationship(back_populates="uploads")

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.bucket, self.key, self.version_id, self.etag, self.size, self.last_modified)


class History(Base):
    """One transition of one upload. A trigger refuses every update and delete."""

    __tablename__ = "upload_history"
    __table_args__ = (Index("ix_upload_history_upload_id", "upload_id", "id"),)

    id: Mapped[int] = _id()
    upload_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = _now()
    from_state: Mapped[str] = mapped_column(Text)
    to_state: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    index_epoch: Mapped[int | None] = mapped_column(BigInteger)
    policy_revision: Mapped[str] = mapped_column(Text, default="", server_default="")


class Content(Base):
    """One SHA-256. `sha256` is NULL where the bytes were never read whole: then it belongs to one upload."""

    __tablename__ = "contents"
    __table_args__ = (Index("ix_contents_md5", "md5"),)

    id: Mapped[int] = _id()
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    md5: Mapped[bytes | None] = mapped_column(LargeBinary)
    size: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    kind: Mapped[Kind] = mapped_column(Text)
    fingerprint: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    """Kept only for a content with a review: what the own bank is given, each hash with its signal type."""
    created_at: Mapped[datetime] = _now()
    ledger_day: Mapped[date | None]
    """The day of the ledger that holds its hashes; NULL when none does. A day that was dropped since holds none."""

    uploads: Mapped[list[Upload]] = relationship(back_populates="content")
    matches: Mapped[list[MatchRow]] = relationship(back_populates="content")
    review: Mapped[Review | None] = relationship(back_populates="content")


class MatchRow(Base):
    """One bank entry found near one content, by its closest view."""

    __tablename__ = "matches"
    __table_args__ = (UniqueConstraint("content_id", "entry_id"), Index("ix_matches_entry_id", "entry_id"))

    id: Mapped[int] = _id()
    content_id: Mapped[int] = mapped_column(ForeignKey("contents.id"))
    entry_id: Mapped[int] = mapped_column(BigInteger)
    bank: Mapped[str] = mapped_column(Text)
    signal_type: Mapped[str] = mapped_column(Text)
    distance: Mapped[int] = mapped_column(SmallInteger)
    view: Mapped[str] = mapped_column(Text, default="", server_default="")
    region: Mapped[list[float] | None] = mapped_column(JSONB(none_as_null=True))
    frame_time: Mapped[float | None]
    quality: Mapped[int] = mapped_column(SmallInteger, default=100, server_default="100")
    effect: Mapped[str] = mapped_column(Text)
    index_epoch: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = _now()
    dismissed_by: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))
    """The decision that said this content is no match of this entry: it never holds it again."""

    content: Mapped[Content] = relationship(back_populates="matches")


class Review(Base):
    """What a person has to decide about one content."""

    __tablename__ = "reviews"
    __table_args__ = (
        Index(
            "ix_reviews_queue",
            "due_at",
            text("priority DESC"),
            "nearest",
            "id",
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_reviews_all",
            text("(state <> 'open')"),
            text("closed_at DESC"),
            "due_at",
            text("priority DESC"),
            "nearest",
            "id",
        ),
        Index("ix_reviews_closed_at", "closed_at", postgresql_where=text("state = 'decided'")),
    )

    id: Mapped[int] = _id()
    content_id: Mapped[int] = mapped_column(ForeignKey("contents.id"), unique=True)
    state: Mapped[str] = mapped_column(Text, default="open", server_default="open")
    """open, decided, or withdrawn (closed without a decision because the banks took their hashes back)."""
    cause: Mapped[str] = mapped_column(Text)
    """match, unscannable or unsupported; reopened where an appeal put another removal by the same entry in doubt."""
    retro: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether a retro-hunt opened it: the uploads were clear until a bank got the hash."""
    priority: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    nearest: Mapped[int] = mapped_column(SmallInteger, default=256, server_default="256")
    """Distance in bits of its nearest match; 256 without one."""
    stage: Mapped[str] = mapped_column(Text, default="first", server_default="first")
    """What an open one waits for: first, second, adjudication or appeal."""
    asked: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether somebody asked for another person."""
    opened_at: Mapped[datetime] = _now()
    due_at: Mapped[datetime] = mapped_column(
        Timestamp, server_default=text("clock_timestamp() + interval '48 hours'")
    )
    """The earliest of the clocks that started at `opened_at`; they never pause."""
    warned: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """The share of its time, in per cent, that was last told of; 100 is the breach."""
    preserve_until: Mapped[datetime | None] = mapped_column(Timestamp)
    """Of a suspected minor: until when the bytes are kept for the authorities."""
    closed_at: Mapped[datetime | None] = mapped_column(Timestamp)
    verdict: Mapped[str] = mapped_column(Text, default="", server_default="")
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))

    content: Mapped[Content] = relationship(back_populates="review")


class DecisionRow(Base):
    """One verdict of one person on one content, or its undo. Append-only; the newest one counts."""

    __tablename__ = "decisions"
    __table_args__ = (Index("ix_decisions_content_id", "content_id", "id"), Index("ix_decisions_at", "at"))

    id: Mapped[int] = _id()
    content_id: Mapped[int] = mapped_column(ForeignKey("contents.id"))
    verdict: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")
    at: Mapped[datetime] = _now()
    request_id: Mapped[str] = mapped_column(Text, unique=True)
    """Given by the caller: the same request decides once, however often it is sent."""
    claimed_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """Since when who decided had it in hand; NULL without a claim, and for what was decided along with another."""
    kind: Mapped[str] = mapped_column(Text, default="verdict", server_default="verdict")
    """verdict, or undo: then `verdict` is what counts again, '' for none."""


class Demotion(Base):
    """A bank entry that the flood breaker set to flag-only until a person lifts it."""

    __tablename__ = "entry_demotions"
    __table_args__ = (
        Index(
            "uq_entry_demotions_active", "entry_id", unique=True, postgresql_where=text("lifted_at IS NULL")
        ),
    )

    id: Mapped[int] = _id()
    entry_id: Mapped[int] = mapped_column(BigInteger)
    bank: Mapped[str] = mapped_column(Text)
    uploaders: Mapped[int]
    at: Mapped[datetime] = _now()
    lifted_at: Mapped[datetime | None] = mapped_column(Timestamp)
    lifted_by: Mapped[str] = mapped_column(Text, default="", server_default="")


class EntryHit(Base):
    """One uploader held by one entry: what the flood breaker counts."""

    __tablename__ = "entry_hits"
    __table_args__ = (Index("ix_entry_hits_entry_id", "entry_id", "at"),)

    entry_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    uploader: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """BLAKE2 of bucket and uploader: enough to count, not to tell."""
    at: Mapped[datetime] = _now()


class WebhookMessage(Base):
    """One event for the platform, written with the transition that it tells of."""

    __tablename__ = "webhook_outbox"
    __table_args__ = (
        Index(
            "ix_webhook_outbox_due",
            "next_attempt_at",
            postgresql_where=text("delivered_at IS NULL AND NOT dead"),
        ),
        Index(
            "ix_webhook_outbox_delivered_at",
            "delivered_at",
            postgresql_where=text("type = 'scan.completed'"),
        ),
    )

    id: Mapped[int] = _id()
    message_id: Mapped[UUID] = mapped_column(unique=True, server_default=func.gen_random_uuid())
    type: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    fast: Mapped[bool] = mapped_column(default=False, server_default="false")
    created_at: Mapped[datetime] = _now()
    next_attempt_at: Mapped[datetime] = _now()
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    delivered_at: Mapped[datetime | None] = mapped_column(Timestamp)
    dead: Mapped[bool] = mapped_column(default=False, server_default="false")
    error: Mapped[str] = mapped_column(Text, default="", server_default="")


class InboxReject(Base):
    """An event message of unknown shape, kept as it came."""

    __tablename__ = "inbox_rejects"

    id: Mapped[int] = _id()
    source: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """BLAKE2 of source and body: a message delivered twice is kept once."""
    seen: Mapped[int] = mapped_column(default=1, server_default="1")
    at: Mapped[datetime] = _now()


class Sweep(Base):
    """How far a listing of one bucket has come; a row per bucket and kind of sweep."""

    __tablename__ = "sweeps"

    bucket: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    """full or recent."""
    key_marker: Mapped[str] = mapped_column(Text, default="", server_default="")
    version_marker: Mapped[str] = mapped_column(Text, default="", server_default="")
    started_at: Mapped[datetime | None] = mapped_column(Timestamp)
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    first_finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """When the bucket was first listed whole: until then a full sweep is a backfill."""
    whole_from: Mapped[datetime | None] = mapped_column(Timestamp)
    """When the last full sweep that came to its end began: what it did not see since then was not there."""
    listed: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    found: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Uploads of the running or last sweep that no event had told."""


class Heartbeat(Base):
    """When a service of a host last said that it lives, which epoch it searches, and why not the newest one."""

    __tablename__ = "heartbeats"

    service: Mapped[str] = mapped_column(Text, primary_key=True)
    host: Mapped[str] = mapped_column(Text, primary_key=True)
    pid: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = _now()
    index_epoch: Mapped[int | None] = mapped_column(BigInteger)
    index_fault: Mapped[str] = mapped_column(Text, server_default="")
    index_confirmed_at: Mapped[datetime | None] = mapped_column(Timestamp)
    schema: Mapped[str] = mapped_column(Text, server_default="")
    """The schema that its code was made for; '' of versions that do not tell."""
