"""Ages: in SQL by the database's clock, and in words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Float, cast, func
from sqlalchemy.sql.elements import SQLCoreOperations

from config.words import Words, ngettext


def seconds_since(moment: SQLCoreOperations[Any]) -> ColumnElement[float]:
    """SQL: seconds from a time until now."""
    return cast(func.extract("epoch", func.clock_timestamp() - moment), Float)


def words(seconds: float | None) -> Words:
    """An age in the largest unit that fits."""
    seconds = max(seconds or 0.0, 0.0)
    if seconds >= 2 * 86400:
        return ngettext("%(num)s day", "%(num)s days", round(seconds / 86400))
    if seconds >= 2 * 3600:
        return ngettext("%(num)s hour", "%(num)s hours", round(seconds / 3600))
    if seconds >= 2 * 60:
        return ngettext("%(num)s minute", "%(num)s minutes", round(seconds / 60))
    return ngettext("%(num)s second", "%(num)s seconds", round(seconds))
