"""How the system stands, read from the database alone: coverage, and alarms for what a person must look at.

Ages are measured by the database's clock. Nothing here names a hash, a bank entry or an object key.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Float, Select, cast, func, select
from sqlalchemy.orm import Session

from config.settings import Settings
from worker.domain import State
from worker.events.arrivals import NEW
from worker.operate.age import seconds_since
from worker.operate.alarms import banks, desk, index, messages, rules, work
from worker.operate.alarms.alarm import Alarm
from worker.operate.alarms.index import PointerReader
from worker.store.models import History, Upload

_SCANNED = (State.CLEAR, State.FLAGGED, State.HELD, State.RELEASED, State.REMOVED)

LAG_SAMPLE = 5000
"""Transitions that the lag is taken from: the newest ones."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was seen and what became of it. Ages and lag in seconds, None where there is nothing to measure.

    `pending` counts uploads not yet scanned, `backfill` those of them that are old stock and wait behind new ones;
    `oldest_pending` is the age of the oldest new one. `lag` is the time from first sight to outcome that
    19 of 20 of the newest scans stayed under.
    """

    seen: int
    states: dict[str, int]
    scanned: int
    unsupported: int
    unscannable: int
    pending: int
    backfill: int
    oldest_pending: float | None
    lag: float | None


def coverage(session: Session) -> Coverage:
    counted = session.execute(select(Upload.state, func.count()).group_by(Upload.state))
    states = {state.value: 0 for state in State} | {str(state): number for state, number in counted}
    waiting = session.execute(
        select(
            func.count().filter(Upload.priority > NEW),
            seconds_since(func.min(Upload.first_seen_at).filter(Upload.priority <= NEW)),
        ).where(Upload.state.in_(work.WAITING))
    ).one()
    return Coverage(
        seen=sum(states.values()),
        states=states,
        scanned=sum(states[state] for state in _SCANNED),
        unsupported=states[State.UNSUPPORTED],
        unscannable=states[State.UNSCANNABLE],
        pending=sum(states[state] for state in work.WAITING),
        backfill=waiting[0],
        oldest_pending=waiting[1],
        lag=session.scalar(_lag()),
    )


def _lag() -> Select[float]:
    newest = select(History).order_by(History.id.desc()).limit(LAG_SAMPLE).subquery()
    seconds = cast(func.extract("epoch", newest.c.at - Upload.first_seen_at), Float)
    return (
        select(func.percentile_cont(0.95).within_group(seconds))
        .select_from(newest)
        .join(Upload, Upload.id == newest.c.upload_id)
        .where(
            newest.c.from_state == State.SCANNING,
            newest.c.to_state != State.PENDING,
            Upload.priority <= NEW,
        )
    )


def alarms(session: Session, settings: Settings, pointer: PointerReader) -> list[Alarm]:
    """Everything that is wrong now, the worst first. `pointer` reads the epoch pointer of this deployment."""
    return [
        *index.index(session, settings, pointer),
        *index.workers(session, settings),
        *index.versions(session),
        *work.dispatch(session, settings),
        *work.effects(session),
        *work.pending(session, settings),
        *desk.overdue(session),
        *desk.duties(session),
        *rules.rules(session, settings),
        *banks.banks(session, settings),
        *banks.floods(session),
        *banks.hunts(session, settings),
        *messages.outboxes(session, settings),
        *messages.events(session, settings),
    ]
