"""A value that several pages share for some seconds, so that twenty reviewers ask the database once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Keeps the last value for `seconds`. Safe from several threads: one makes a new value, the others wait for it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._found: tuple[float, T] | None = None

    def get(self, make: Callable[[], T]) -> T:
        """The kept value, or a new one by `make`; what `make` raises is raised and keeps nothing."""
        with self._lock:
            now = self._clock()
            if self._found is None or now - self._found[0] >= self._seconds:
                self._found = (now, make())
            return self._found[1]
