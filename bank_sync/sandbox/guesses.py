"""How often somebody may guess the PIN of a case, so that six digits are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WRONG_PINS = 5
WAIT_SECONDS = 900
"""So many wrong PINs of one case within so many seconds, and none of it is tried, right or wrong, until they are over:
480 guesses a day of 1,000,000."""


@dataclass(slots=True)
class _Wrong:
    since: float
    count: int = 0


class Guesses:
    """Wrong PINs by case. It learns nothing of who guesses. Its caller holds a lock over look and count."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._wrong: dict[str, _Wrong] = {}

    def wait(self, number: str) -> float:
        """Seconds until a PIN of this case is tried again; 0 when one may be tried now."""
        wrong = self._wrong.get(number)
        if wrong is None:
            return 0
        left = wrong.since + WAIT_SECONDS - self._now()
        if left <= 0:
            del self._wrong[number]
            return 0
        return left if wrong.count >= WRONG_PINS else 0

    def count(self, number: str, *, right: bool) -> None:
        """Notes how a try ended."""
        if right:
            self._wrong.pop(number, None)
        else:
            self._wrong.setdefault(number, _Wrong(self._now())).count += 1
