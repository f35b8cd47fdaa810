"""Which deadline profile a review runs by, told from the time that it was given: the row keeps times and no names."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Integer, cast, func

from worker.review.figures.period import Scope
from worker.store.models import Review

OTHER = "other"
"""The time given is shorter than every profile's: the settings were others then."""


def minutes_given() -> ColumnElement[int]:
    """SQL: whole minutes from the opening of a review to its deadline."""
    return cast(func.round(func.extract("epoch", Review.due_at - Review.opened_at) / 60), Integer)


def clock_of(scope: Scope, minutes: int) -> str:
    """The longest profile that is not longer than the time given; of equal ones all names.

    A clock that a later match started ends before the first one, yet gives more than its own hours from the opening.
    """
    fitting = [hours for hours in scope.clocks.values() if round(hours * 60) <= minutes]
    if not fitting:
        return OTHER
    return ", ".join(sorted(name for name, hours in scope.clocks.items() if hours == max(fitting)))
