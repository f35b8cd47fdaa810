"""What the numbers of a figure are: told by the types and the names of its columns."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import get_type_hints

from worker.review.figures.figures import Figure


class Unit(StrEnum):
    """The unit of one column."""

    TEXT = "text"
    TIME = "time"
    """UTC."""
    COUNT = "count"
    SECONDS = "seconds"
    SHARE = "share"
    """From 0 to 1."""
    PER_100 = "per_100"
    """How many for each hundred."""


def units_of(figure: Figure) -> dict[str, Unit]:
    """By column, in their order."""
    types = get_type_hints(figure.row)
    return {column: _unit(column, types[column]) for column in figure.columns}


def _unit(column: str, kind: object) -> Unit:
    if kind is str:
        return Unit.TEXT
    if kind is datetime:
        return Unit.TIME
    if kind is int:
        return Unit.COUNT
    if "_per_100_" in column:
        return Unit.PER_100
    return Unit.SECONDS if "seconds" in column.split("_") else Unit.SHARE
