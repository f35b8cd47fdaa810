"""Round numbers for an axis, and which of many labels there is room for."""

from __future__ import annotations

import math
from collections.abc import Sequence

_STEPS = (1.0, 2.0, 5.0, 10.0)


def ticks(most: float, about: int = 4, whole: bool = False) -> tuple[float, ...]:
    """Round numbers from 0 on, the last one not under `most`, about so many; `whole`: no fractions."""
    if most <= 0:
        return 0.0, 1.0
    rough = most / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * 0.999)
    if whole:
        step = max(1.0, step)
    number = math.ceil(most / step - 1e-9)
    return tuple(step * each for each in range(number + 1))


def shown(labels: Sequence[str], most: int) -> list[int]:
    """Places of at most so many labels, evenly apart and with the newest, last one among them."""
    every = max(1, math.ceil(len(labels) / most))
    return list(range(len(labels) - 1, -1, -every))[::-1]
