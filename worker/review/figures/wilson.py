"""How sure a share is that was counted: Wilson's score interval (E. B. Wilson, JASA 22, 1927)."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959964
"""Standard deviations that hold 95 % of a normal distribution."""

FEW = 30
"""Counted cases under which a share is drawn in grey: it may well be chance."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of counted cases in [0, 1] with its 95 % interval; None throughout where nothing was counted."""

    share: float | None
    low: float | None
    high: float | None


def wilson(hits: int, counted: int) -> Share:
    """The share of `hits` among `counted`, which it must not exceed."""
    if counted == 0:
        return Share(None, None, None)
    share = hits / counted
    spread = Z * Z / counted
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / counted + spread / (4 * counted))
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))
