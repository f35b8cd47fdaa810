"""The tables of the retro-hunts: which bank changes were searched in the past, how far, and what came near.

A hunt goes collecting, acting, done; one that would move too much stops and waits for a person, who approves it
(acting) or rejects it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, SmallInteger, Text, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from config.database import Base
from config.errors import HashwardenError
from config.words import _
from worker.store.models import Timestamp


class HuntState(StrEnum):
    COLLECTING = "collecting"
    STOPPED = "stopped"
    ACTING = "acting"
    DONE = "done"
    REJECTED = "rejected"


ACTIVE = (HuntState.COLLECTING, HuntState.ACTING)
"""What the hunter still has to do without a person."""


_STATES = {
    HuntState.COLLECTING: _("collecting"),
    HuntState.STOPPED: _("stopped"),
    HuntState.ACTING: _("acting"),
    HuntState.DONE: _("done"),
    HuntState.REJECTED: _("rejected"),
}


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
    late_until: Mapped[str | None] = mapped_column(Text)
    """pg_snapshot of the rows that are being looked at now; NULL between two looks."""
    late_after: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Of those, contents up to this one are judged."""
    confirmed_at: Mapped[datetime] = mapped_column(Timestamp)
    """When the epoch equalled the database whose changes `snapshot` tells: outlives a restored database."""
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())


class RetroHunt(Base):
    """One search of the ledger for what banks got between two epochs."""

    __tablename__ = "retro_hunts"
    __table_args__ = (Index("ix_retro_hunts_state", "state"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    state: Mapped[HuntState] = mapped_column(Text)
    late: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether it is of uploads whose scan ended behind an earlier hunt, and has no entries of its own."""
    epoch: Mapped[int] = mapped_column(BigInteger)
    from_snapshot: Mapped[str] = mapped_column(Text)
    to_snapshot: Mapped[str] = mapped_column(Text)
    entries: Mapped[int] = mapped_column(BigInteger)
    """Bank entries that began to match in between."""
    after_entry: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Entries up to this id are collected; many are searched in several passes."""
    after_frame: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Frames of the entry `after_entry` that are collected, when not all of them are; else 0."""
    day: Mapped[date | None]
    content_id: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """How far the pass has come; while acting, up to which content it has acted."""
    contents: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Contents of the ledger when it was read: what the blast radius is a share of."""
    counts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="{}")
    """By bank, the contents that came near its new entries."""
    whole: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether all was collected: one that is sure to be stopped is stopped before."""
    would_move: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Uploads that it would hold or flag when it was checked; counted until they were too many."""
    moved: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Uploads that it has held or flagged."""
    failed: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Contents that it passed over because judging them failed."""
    started_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    decided_by: Mapped[str] = mapped_column(Text, default="", server_default="")


class RetroHit(Base):
    """A content of the ledger near a new entry; deleted when its hunt ends."""

    __tablename__ = "retro_hits"

    hunt_id: Mapped[int] = mapped_column(ForeignKey("retro_hunts.id", ondelete="CASCADE"), primary_key=True)
    content_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    entry_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)


class RetroRejected(Base):
    """A bank entry that came near in a hunt that a person rejected: no later hunt acts on it."""

    __tablename__ = "retro_rejected"

    entry_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class RetroMoved(Base):
    """Uploads that hunts moved in one hour without a person's word: many small hunts are one large one."""

    __tablename__ = "retro_moved"

    hour: Mapped[datetime] = mapped_column(Timestamp, primary_key=True)
    uploads: Mapped[int] = mapped_column(BigInteger)


def approve(session: Session, hunt_id: int, *, actor: str, ledger_enabled: bool = True) -> HuntState:
    """Lets a stopped hunt act, or first collect to its end; which of them. Raises HuntError."""
    if not ledger_enabled:
        raise HuntError(
            _("Hunt %(hunt)s can't act: the ledger is off.", hunt=hunt_id),
            next_step=_("Set HASHWARDEN_LEDGER__ENABLED=true, then approve it; or reject it."),
        )
    hunt = _locked(session, hunt_id, (HuntState.STOPPED,), _("Only a stopped hunt is approved"))
    hunt.state = HuntState.ACTING if hunt.whole else HuntState.COLLECTING
    hunt.decided_by = actor
    return hunt.state


def reject(session: Session, hunt_id: int, *, actor: str) -> None:
    """Ends a hunt; what it has moved stays as it is, and what came near it is not hunted again. Raises HuntError."""
    hunt = _locked(
        session, hunt_id, (HuntState.STOPPED, *ACTIVE), _("Only a hunt that has not ended is rejected")
    )
    hunt.decided_by = actor
    near = select(RetroHit.entry_id).where(RetroHit.hunt_id == hunt_id).distinct()
    session.execute(insert(RetroRejected).from_select(["entry_id"], near).on_conflict_do_nothing())
    finish(session, hunt, HuntState.REJECTED)


def count_moved(session: Session, uploads: int) -> None:
    """Counts uploads as moved in this hour."""
    hour = func.date_trunc("hour", func.clock_timestamp())
    statement = insert(RetroMoved).values(hour=hour, uploads=uploads)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["hour"], set_={"uploads": RetroMoved.uploads + statement.excluded.uploads}
        )
    )


def moved_lately(session: Session) -> int:
    """Uploads that hunts moved in the last 24 hours, and in what is left of the hour before."""
    since = func.date_trunc("hour", func.clock_timestamp() - timedelta(days=1))
    query = select(func.coalesce(func.sum(RetroMoved.uploads), 0)).where(RetroMoved.hour >= since)
    return int(session.scalars(query).one())


def finish(session: Session, hunt: RetroHunt, state: HuntState) -> None:
    """Ends a hunt; which content came near which entry is forgotten, what was acted on stands in `matches`."""
    hunt.state = state
    hunt.finished_at = func.clock_timestamp()
    session.execute(delete(RetroHit).where(RetroHit.hunt_id == hunt.id))
    old = func.clock_timestamp() - timedelta(days=2)
    session.execute(delete(RetroMoved).where(RetroMoved.hour < old))


def list_hunts(
    session: Session, states: Collection[HuntState] = tuple(HuntState), limit: int = 50
) -> list[RetroHunt]:
    """The newest hunts in these states, the newest first."""
    query = select(RetroHunt).where(RetroHunt.state.in_(states)).order_by(RetroHunt.id.desc()).limit(limit)
    return list(session.scalars(query))


def _locked(session: Session, hunt_id: int, states: Collection[HuntState], rule: str) -> RetroHunt:
    hunt = session.get(RetroHunt, hunt_id, with_for_update=True, populate_existing=True)
    if hunt is None:
        raise HuntError(
            _("There is no hunt %(hunt)s.", hunt=hunt_id),
            next_step=_("`hashwarden retro status` lists them."),
        )
    if hunt.state not in states:
        raise HuntError(
            _(
                "Hunt %(hunt)s is %(state)s and does not wait for a person.",
                hunt=hunt_id,
                state=_STATES[HuntState(hunt.state)],
            ),
            next_step=_("%(rule)s; `hashwarden retro status` lists them.", rule=rule),
        )
    return hunt
