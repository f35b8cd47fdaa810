"""How much one reviewer has looked at, and when that is enough. Shown to that reviewer; nobody is ranked by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.exposure import ExposureSettings
from worker.media.rungs import Rung
from worker.store.views import View

HOUR, WEEK = timedelta(hours=1), timedelta(days=7)
SHOWN_SECONDS = {Rung.MOSAIC: 60.0, Rung.GREY: 60.0, Rung.PEEK: 8.0, Rung.WHOLE: 8.0}
"""Seconds after which the page covers a picture again; what a look counts for that never told its own."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a sharp picture: when it began, and its seconds."""

    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Exposure:
    """Looks at sharp pictures: in the last hour since the last break, and in seven days.

    `due`: a break is offered. `until`: no rung above the mosaic before then; None where all are open.
    """

    hour_looks: int
    hour_seconds: float
    week_looks: int
    week_seconds: float
    due: bool
    until: datetime | None


def exposure_of(session: Session, actor: str, settings: ExposureSettings) -> Exposure:
    """What the ledger says of one person, by the database's clock."""
    now = session.scalar(select(func.clock_timestamp()))
    assert now is not None  # noqa: S101 (a SELECT without FROM always answers one row)
    rows = session.execute(
        select(View.at, View.rung, View.seconds)
        .where(View.actor == actor, View.at > now - WEEK, View.rung >= Rung.PEEK)
        .order_by(View.at)
    )
    looks = [
        Look(row.at, SHOWN_SECONDS[Rung(row.rung)] if row.seconds is None else row.seconds) for row in rows
    ]
    return judge(looks, now, settings)


def judge(looks: Sequence[Look], now: datetime, settings: ExposureSettings) -> Exposure:
    """The exposure of the looks of seven days, oldest first."""
    rest = timedelta(seconds=settings.cool_down)
    recent = _since_break([look for look in looks if look.at > now - HOUR], now, rest)
    hour_seconds = sum(look.seconds for look in recent)
    week_seconds = sum(look.seconds for look in looks)
    due = (
        len(recent) >= settings.soft_looks_hour
        or hour_seconds >= settings.soft_seconds_hour
        or week_seconds >= settings.soft_seconds_week
    )
    ends = []
    if len(recent) >= settings.hard_looks_hour or hour_seconds >= settings.hard_seconds_hour:
        ends.append(_end(recent[-1]) + rest)
    if week_seconds >= settings.hard_seconds_week:
        ends.append(_under(looks, week_seconds, settings.hard_seconds_week))
    return Exposure(len(recent), hour_seconds, len(looks), week_seconds, due, max(ends) if ends else None)


def _end(look: Look) -> datetime:
    return look.at + timedelta(seconds=look.seconds)


def _since_break(looks: Sequence[Look], now: datetime, rest: timedelta) -> list[Look]:
    """The looks after the last pause that was a break; none where it lasts until now."""
    since: list[Look] = []
    for look in looks:
        if since and look.at - _end(since[-1]) >= rest:
            since = []
        since.append(look)
    return [] if since and now - _end(since[-1]) >= rest else since


def _under(looks: Sequence[Look], seconds: float, limit: float) -> datetime:
    """When so many of the oldest looks are seven days old that the rest is under the limit."""
    for look in looks:
        seconds -= look.seconds
        if seconds < limit:
            return look.at + WEEK
    return looks[-1].at + WEEK
