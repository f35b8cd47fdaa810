"""Tells of reviews whose time runs out: at half of it, at 80 and 95 %, and when it has; each once."""

from __future__ import annotations

import structlog
from sqlalchemy import ColumnElement, Float, case, cast, func, select

from config.database import Sessions
from worker import outbox
from worker.store.models import Review

log = structlog.get_logger()

WARNINGS = (50, 80, 95, 100)
"""Per cent of a review's time at which it is told of; 100 is the breach."""

_BATCH = 500


def used() -> ColumnElement[float]:
    """SQL: per cent of its time that a review has used; over 100 once it is breached."""
    time = func.extract("epoch", Review.due_at - Review.opened_at)
    passed = func.extract("epoch", func.clock_timestamp() - Review.opened_at)
    return cast(100 * passed / func.greatest(time, 1), Float)


def reached() -> ColumnElement[int]:
    """SQL: the last of WARNINGS that a review has come to; 0 before the first."""
    return case(*((used() >= share, share) for share in reversed(WARNINGS)), else_=0)


def warn(sessions: Sessions) -> int:
    """Queues the webhooks that are due; returns how many. Safe to run twice at once.

    After a stop only the newest warning of a review is told: that half of its time is over says nothing any more once
    all of it is.
    """
    with sessions.begin() as session:
        share = reached()
        rows = session.execute(
            select(Review, share.label("share"))
            .where(Review.state == "open", Review.warned < 100, share > Review.warned)
            .order_by(Review.due_at)
            .limit(_BATCH)
            .with_for_update(skip_locked=True, of=Review)
        ).all()
        for review, came_to in rows:
            review.warned = came_to
            outbox.tell_due(session, review, came_to)
            if came_to == WARNINGS[-1]:
                log.error("review_overdue", review=review.id)
    return len(rows)
