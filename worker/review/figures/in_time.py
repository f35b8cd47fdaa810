"""How much was decided before its deadline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import func, select

from worker.review.figures.clocks import clock_of, time_given
from worker.review.figures.period import Asked
from worker.store.models import Review

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class InTime:
    """Reviews that were decided in one hour or day, by what stands now; the share is None where none was."""

    begin: datetime
    decided: int
    in_time: int
    share_in_time: float | None


@dataclass(frozen=True, slots=True)
class InTimeByDeadline:
    """The same of the whole period, by deadline profile."""

    deadline: str
    decided: int
    in_time: int
    share_in_time: float | None


def in_time(asked: Asked) -> Sequence[InTime]:
    """Every hour or day of the period, the oldest first."""
    decided, good = _count((row[0], row[2], row[3]) for row in asked.once(_rows))
    return [
        InTime(begin, decided[begin], good[begin], _share(good[begin], decided[begin]))
        for begin in asked.period.begins
    ]


def in_time_by_deadline(asked: Asked) -> Sequence[InTimeByDeadline]:
    """The profiles by which something was decided."""
    decided, good = _count((clock_of(asked, row[1]), row[2], row[3]) for row in asked.once(_rows))
    return [
        InTimeByDeadline(clock, decided[clock], good[clock], _share(good[clock], decided[clock]))
        for clock in sorted(decided)
    ]


def _rows(asked: Asked) -> Sequence[tuple[datetime, timedelta, int, int]]:
    step = asked.period.step_of(Review.closed_at).label("step")
    given = time_given().label("given")
    found = asked.session.execute(
        select(step, given, func.count(), func.count().filter(Review.closed_at <= Review.due_at))
        .where(Review.state == "decided", Review.closed_at >= asked.period.begin)
        .group_by(step, given)
    )
    return [(row[0], row[1], row[2], row[3]) for row in found]


def _count(rows: Iterable[tuple[Key, int, int]]) -> tuple[Counter[Key], Counter[Key]]:
    """Decided, and in time, by key."""
    decided: Counter[Key] = Counter()
    good: Counter[Key] = Counter()
    for key, number, in_time in rows:
        decided[key] += number
        good[key] += in_time
    return decided, good


def _share(good: int, decided: int) -> float | None:
    return good / decided if decided else None
