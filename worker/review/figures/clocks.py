"""Which deadline profile a review runs by, told from the time that it was given: the row keeps times and no names."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Interval, cast, func

from worker.review.figures.period import Asked
from worker.store.models import Review

OTHER = "other"
"""The time given is shorter than every profile's: the settings were others then."""


def time_given() -> ColumnElement[timedelta]:
    """SQL: the time from the opening of a review to its deadline, to the minute."""
    return cast(func.date_trunc("minute", Review.due_at - Review.opened_at + timedelta(seconds=30)), Interval)


def clock_of(asked: Asked, given: timedelta) -> str:
    """The longest profile that is not longer than the time given; of equal ones all names.

    A clock that a later match started ends before the first one, yet gives more than its own hours from the opening.
    """
    minutes = round(given.total_seconds() / 60)
    fitting = [hours for hours in asked.clocks.values() if round(hours * 60) <= minutes]
    if not fitting:
        return OTHER
    return ", ".join(sorted(name for name, hours in asked.clocks.items() if hours == max(fitting)))
