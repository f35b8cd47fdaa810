"""The time that a figure is about, cut into hours or days of UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, DateTime, cast, func, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import SQLCoreOperations

T = TypeVar("T")


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
    def step(self) -> timedelta:
        return timedelta(hours=1) if self.days is Days.ONE else timedelta(days=1)

    def step_of(self, moment: SQLCoreOperations[Any]) -> ColumnElement[datetime]:
        """SQL: the begin of the hour or day that a time lies in."""
        return cast(func.date_bin(self.step, moment, self.begin), DateTime(timezone=True))


class Asked:
    """What figures are asked for, and of which database.

    `clocks`: hours of the deadline profiles by name. `shown`: by rung, the seconds that a look counts for that never
    told its own.
    """

    def __init__(
        self, session: Session, period: Period, clocks: Mapping[str, float], shown: Mapping[int, float]
    ) -> None:
        self.session = session
        self.period = period
        self.clocks = clocks
        self.shown = shown
        self._known: dict[Callable[[Asked], Any], Any] = {}

    def once(self, read: Callable[[Asked], T]) -> T:
        """What `read` finds; what several figures are made of is read once."""
        if read not in self._known:
            self._known[read] = read(self)
        found: T = self._known[read]
        return found


def period_until_now(session: Session, days: Days) -> Period:
    """The last 24 hours or so many days, that of now included, by the database's clock."""
    now = session.scalars(select(func.clock_timestamp())).one().astimezone(UTC)
    if days is Days.ONE:
        last, step, number = now.replace(minute=0, second=0, microsecond=0), timedelta(hours=1), 24
    else:
        last = now.replace(hour=0, minute=0, second=0, microsecond=0)
        step, number = timedelta(days=1), int(days)
    return Period(days, tuple(last - step * back for back in reversed(range(number))))
