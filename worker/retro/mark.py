"""Up to where the past is searched, and what becomes of that when the database was moved to another server."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import Text, cast, delete, func, select, text
from sqlalchemy.orm import Session

from worker.retro.force import Force, ends
from worker.store.hunts import HuntState, RetroHunt, RetroMark

log = structlog.get_logger()

_EVERYTHING = "3:3:"
"""A pg_snapshot in which no transaction of ours is visible."""

_MARGIN = timedelta(days=1)
"""A transaction may have begun so long before it was committed."""


def mark_at(session: Session, force: Force) -> RetroMark:
    """The mark, locked; made at first use, and set anew once after the database was restored from a dump."""
    mark = session.get(RetroMark, 1, with_for_update=True, populate_existing=True)
    if mark is None:
        # First use: what is in the ledger already was compared with this epoch or is looked at next time.
        mark = RetroMark(
            id=1,
            snapshot=force.snapshot,
            epoch=force.holds,
            ledger_snapshot=_EVERYTHING,
            late_after=0,
            confirmed_at=force.confirmed_at,
        )
        session.add(mark)
        session.flush()
    _forget_other_timelines(session, mark)
    return mark


def holds_all_hunted(session: Session, force: Force, mark: RetroMark) -> bool:
    """Whether the epoch has every change that was hunted, and is of this database."""
    return force.reaches(mark.snapshot) and ends(force.snapshot) <= ends(current_snapshot(session))


def current_snapshot(session: Session) -> str:
    """What is committed now."""
    return session.scalars(select(cast(func.pg_current_snapshot(), Text))).one()


def _forget_other_timelines(session: Session, mark: RetroMark) -> None:
    """Snapshots of a database dumped elsewhere tell of transactions that are still to come here.

    What changed or was cleared since the mark, by the clock, is hunted and judged again: some of it twice.
    """
    now = current_snapshot(session)
    known = [mark.snapshot, mark.ledger_snapshot, *([mark.late_until] if mark.late_until else [])]
    if max(map(ends, known)) <= ends(now):
        return
    collecting = (RetroHunt.state == HuntState.COLLECTING) & ~RetroHunt.late
    begun = session.scalar(select(func.min(RetroHunt.started_at)).where(collecting))
    since = min(filter(None, (mark.confirmed_at, begun))) - _MARGIN
    session.execute(delete(RetroHunt).where(collecting))
    session.execute(
        text("UPDATE bank_entries SET changed_in = pg_current_xact_id() WHERE live AND updated_at >= :since"),
        {"since": since},
    )
    session.execute(
        text(
            "UPDATE ledger SET added_in = pg_current_xact_id() "
            "WHERE day >= CAST(:since AS date) AND index_epoch < :hunted"
        ),
        {"since": since, "hunted": mark.epoch},
    )
    mark.snapshot = mark.ledger_snapshot = now
    mark.late_until, mark.late_after = None, 0
    log.warning("retro_mark_set_anew", since=since.isoformat())
