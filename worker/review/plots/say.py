"""Numbers as they stand on axes and in tables: short, in the unit that fits."""

from __future__ import annotations

_UNITS = (("d", 86400, 48 * 3600), ("h", 3600, 90 * 60), ("min", 60, 90))
"""Unit, its seconds, and the seconds from which it is used."""

NOTHING = "\N{EN DASH}"
"""Where nothing was counted."""


def count(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def percent(share: float | None) -> str:
    """A share in [0, 1]; not 100 % while anything is missing, and not 0 % while there is anything."""
    if share is None:
        return NOTHING
    rounded = round(100 * share, 1)
    if rounded in {0.0, 100.0} and share not in {0.0, 1.0}:
        return "> 99.9 %" if rounded else "< 0.1 %"
    return f"{rounded:g} %"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    for unit, length, least in _UNITS:
        if seconds >= least:
            value = seconds / length
            return f"{value:.1f} {unit}" if value < 10 and value != int(value) else f"{value:.0f} {unit}"
    return f"{seconds:.0f} s"
