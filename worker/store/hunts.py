"""The tables of the retro-hunts: which bank changes were searched in the past, how far, and what came near.

A hunt goes collecting, acting, done; one that would move too much stops and waits for a person, who approves it
(acting) or rejects it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, SmallInteger, Text, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from config.database import Base
from config.errors import HashwardenError
from worker.store.models import Timestamp


class HuntState(StrEnum):
    COLLECTING = "collecting"
    STOPPED = "stopped"
    ACTING = "acting"
    DONE = "done"
    REJECTED = "rejected"


ACTIVE = (HuntState.COLLECTING, HuntState.ACTING)
"""What the hunter still has to do without a person."""


class HuntError(HashwardenError):
    """There is no such hunt, or it does not wait for a person."""

    code: ClassVar[str] = "hunt"


class RetroMark(Base):
    """Up to where the past is searched; one row, made when the ledger is first used."""

    __tablename__ = "retro_mark"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    snapshot: Mapped[str] = mapped_column(Text)
    """pg_snapshot of the bank entries that hunts, done or under way, account for."""
    epoch: Mapped[int] = mapped_column(BigInteger)
    """The epoch of the newest hunt: what comes into the ledger and was compared with an older one is judged again."""
    ledger_snapshot: Mapped[str] = mapped_column(Text)
    """pg_snapshot of the ledger's rows that were looked at for that."""
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())


class RetroHunt(Base):
    """One search of the ledger for what banks got between two epochs."""

    __tablename__ = "retro_hunts"
    __table_args__ = (Index("ix_retro_hunts_state", "state"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    state: Mapped[HuntState] = mapped_column(Text)
    epoch: Mapped[int] = mapped_column(BigInteger)
    from_snapshot: Mapped[str] = mapped_column(Text)
    to_snapshot: Mapped[str] = mapped_column(Text)
    entries: Mapped[int] = mapped_column(BigInteger)
    """Bank entries that began to match in between."""
    after_entry: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Entries up to this id are collected; many are searched in several passes."""
    day: Mapped[date | None]
    content_id: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """How far the pass has come; while acting, up to which content it has acted."""
    contents: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Contents of the ledger when it was read: what the blast radius is a share of."""
    counts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    """By bank, the contents that came near its new entries."""
    moved: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Uploads that it has held or flagged."""
    started_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    decided_by: Mapped[str] = mapped_column(Text, default="", server_default="")


class RetroHit(Base):
    """A content of the ledger near a new entry; deleted when its hunt ends."""

    __tablename__ = "retro_hits"

    hunt_id: Mapped[int] = mapped_column(ForeignKey("retro_hunts.id", ondelete="CASCADE"), primary_key=True)
    content_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    entry_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)


def approve(session: Session, hunt_id: int, *, actor: str) -> None:
    """Lets a stopped hunt act. Raises HuntError."""
    hunt = _stopped(session, hunt_id)
    hunt.state = HuntState.ACTING
    hunt.content_id = 0
    hunt.decided_by = actor


def reject(session: Session, hunt_id: int, *, actor: str) -> None:
    """Ends a stopped hunt without an effect. Raises HuntError."""
    hunt = _stopped(session, hunt_id)
    hunt.decided_by = actor
    finish(session, hunt, HuntState.REJECTED)


def finish(session: Session, hunt: RetroHunt, state: HuntState) -> None:
    """Ends a hunt; which content came near which entry is forgotten, what was acted on stands in `matches`."""
    hunt.state = state
    hunt.finished_at = func.clock_timestamp()
    session.execute(delete(RetroHit).where(RetroHit.hunt_id == hunt.id))


def list_hunts(
    session: Session, states: Collection[HuntState] = tuple(HuntState), limit: int = 50
) -> list[RetroHunt]:
    """The newest hunts in these states, the newest first."""
    query = select(RetroHunt).where(RetroHunt.state.in_(states)).order_by(RetroHunt.id.desc()).limit(limit)
    return list(session.scalars(query))


def _stopped(session: Session, hunt_id: int) -> RetroHunt:
    hunt = session.get(RetroHunt, hunt_id, with_for_update=True)
    if hunt is None:
        raise HuntError(f"There is no hunt {hunt_id}.", next_step="`hashwarden retro status` lists them.")
    if hunt.state != HuntState.STOPPED:
        raise HuntError(
            f"Hunt {hunt_id} is {hunt.state} and does not wait for a person.",
            next_step="Only a stopped hunt is approved or rejected; `hashwarden retro status` lists them.",
        )
    return hunt
