"""The time that a figure is about, cut into hours or days of UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from sqlalchemy import ColumnElement, DateTime, cast, func, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import SQLCoreOperations


class Days(IntEnum):
    """How many days back; one is cut into hours, the others into days."""

    ONE = 1
    WEEK = 7
    MONTH = 30
    QUARTER = 90


@dataclass(frozen=True, slots=True)
class Period:
    """From `begin` until now. `begins` are those of its hours or days, the last one of which is not over yet."""

    days: Days
    begins: tuple[datetime, ...]

    @property
    def begin(self) -> datetime:
        return self.begins[0]

    @property
    def step(self) -> str:
        return "hour" if self.days is Days.ONE else "day"

    def step_of(self, moment: SQLCoreOperations[Any]) -> ColumnElement[datetime]:
        """SQL: the begin of the hour or day that a time lies in."""
        return cast(func.date_trunc(self.step, moment, "UTC"), DateTime(timezone=True))


@dataclass(frozen=True, slots=True)
class Scope:
    """What figures are asked for.

    `clocks`: hours of the deadline profiles by name. `shown`: by rung, the seconds that a look counts for that never
    told its own.
    """

    period: Period
    clocks: Mapping[str, float]
    shown: Mapping[int, float]


def period_until_now(session: Session, days: Days) -> Period:
    """The last 24 hours or so many days, that of now included, by the database's clock."""
    now = session.scalars(select(func.clock_timestamp())).one().astimezone(UTC)
    if days is Days.ONE:
        last, step, number = now.replace(minute=0, second=0, microsecond=0), timedelta(hours=1), 24
    else:
        last = now.replace(hour=0, minute=0, second=0, microsecond=0)
        step, number = timedelta(days=1), int(days)
    return Period(days, tuple(last - step * back for back in reversed(range(number))))
