"""Wakes the workers for uploads that a person just moved, so that the effect need not wait for the dispatcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.settings import Settings
    from worker.domain import Lane


def wake(settings: Settings, uploads: Sequence[tuple[int, Lane]]) -> bool:
    """Announces them; False when the broker is away: the rows are due, and the dispatcher announces them later."""
    if not uploads:
        return True
    import redis
    from kombu.exceptions import OperationalError

    from worker.queue.celery_app import Announcer

    announcer = Announcer(settings)
    try:
        announcer(uploads)
    except (OperationalError, redis.RedisError, OSError):
        return False
    finally:
        announcer.close()
    return True
