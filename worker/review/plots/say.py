"""Numbers as they stand on axes and in tables: short, in the unit that fits, in the language of the page."""

from __future__ import annotations

from config.words import Words, _
from worker.review.languages import spoken

NOTHING = "\N{EN DASH}"
"""Where nothing was counted."""


def count(number: float) -> str:
    return spoken().number(round(number, 1))


def percent(share: float | None) -> str:
    """A share in [0, 1]; not 100 % while anything is missing, and not 0 % while there is anything."""
    if share is None:
        return NOTHING
    rounded = round(100 * share, 1)
    if rounded in {0.0, 100.0} and share not in {0.0, 1.0}:
        return f"> {count(99.9)} %" if rounded else f"< {count(0.1)} %"
    return f"{count(rounded)} %"


def interval(share: float, low: float, high: float) -> str:
    """A share with its interval, as words."""
    return spoken().say(
        _("%(share)s, from %(low)s to %(high)s", share=percent(share), low=percent(low), high=percent(high))
    )


def duration(seconds: float | None) -> str:
    """In days from 48 hours on, in hours from 90 minutes on, in minutes from 90 seconds on."""
    return NOTHING if seconds is None else spoken().say(_duration(seconds))


def _duration(seconds: float) -> Words:
    if seconds >= 48 * 3600:
        return _("%(number)s d", number=_short(seconds / 86400))
    if seconds >= 90 * 60:
        return _("%(number)s h", number=_short(seconds / 3600))
    if seconds >= 90:
        return _("%(number)s min", number=_short(seconds / 60))
    return _("%(seconds)s s", seconds=count(round(seconds)))


def _short(value: float) -> str:
    return count(value if value < 10 else round(value))
