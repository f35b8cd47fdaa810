"""What was seen and scanned at all: without it the other figures say little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.operate.health import coverage
from worker.review.figures.period import Asked


@dataclass(frozen=True, slots=True)
class Covered:
    """All uploads on record, by what became of them; times in seconds, None where there is nothing to measure."""

    seen: int
    scanned: int
    unsupported: int
    unscannable: int
    pending: int
    elsewhere: int
    """Overwritten or deleted before they were read."""
    oldest_pending_seconds: float | None
    lag_p95_seconds: float | None


def covered(asked: Asked) -> Sequence[Covered]:
    """One row, as `hashwarden coverage` says it."""
    now = coverage(asked.session)
    elsewhere = now.seen - now.scanned - now.unsupported - now.unscannable - now.pending
    return [
        Covered(
            seen=now.seen,
            scanned=now.scanned,
            unsupported=now.unsupported,
            unscannable=now.unscannable,
            pending=now.pending,
            elsewhere=elsewhere,
            oldest_pending_seconds=now.oldest_pending,
            lag_p95_seconds=now.lag,
        )
    ]
