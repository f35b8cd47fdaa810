"""Round numbers for an axis, and which of many labels there is room for."""

from __future__ import annotations

import math
from collections.abc import Sequence

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIMES = tuple(
    unit * step
    for unit, steps in (
        (1, (1, 5, 10, 15, 30)),
        (_MINUTE, (1, 2, 5, 10, 15, 30)),
        (_HOUR, (1, 2, 6, 12)),
        (_DAY, (1, 2, 5, 10, 20, 50)),
    )
    for step in steps
)
"""Seconds between the marks of an axis of time."""

_ABOUT = 4


def counts(most: float) -> tuple[float, ...]:
    """Round whole numbers from 0 on, about five, the last one not under `most`."""
    rough = most / _ABOUT
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 1 else 1.0
    steps = [power * factor for factor in _ROUND if (power * factor).is_integer()]
    return _marks(most, next(step for step in steps if step >= rough))


def seconds(most: float) -> tuple[float, ...]:
    """The same for times: the marks are whole seconds, minutes, hours or days."""
    return _marks(most, next((step for step in _TIMES if step >= most / _ABOUT), most or 1.0))


def _marks(most: float, step: float) -> tuple[float, ...]:
    return tuple(step * each for each in range(max(1, math.ceil(most / step)) + 1))


def shown(labels: Sequence[str], most: int) -> list[int]:
    """Places of at most so many labels, evenly apart and with the newest, last one among them."""
    every = max(1, math.ceil(len(labels) / most))
    return list(range(len(labels) - 1, -1, -every))[::-1]
