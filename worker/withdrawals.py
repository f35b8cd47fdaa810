"""When banks take hashes back: what only those held is served again, what only those flagged is clear.

A decision of a person stands: removed uploads stay removed. A review that still has one live entry stays open.
"""

from __future__ import annotations

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry
from config.database import Sessions
from worker import outbox
from worker.domain import State
from worker.store.models import MatchRow, Review, Upload
from worker.store.transitions import transition

ACTOR = "withdrawal"
_BATCH = 100


def release_withdrawn(sessions: Sessions) -> int:
    """Closes every open review that no live entry supports any more; returns how many uploads moved.

    Safe to run at any time and twice at once; needs no memory of what was withdrawn since when.
    """
    moved = 0
    after = 0
    while True:
        with sessions.begin() as session:
            reviews = session.scalars(_unsupported(after)).all()
            for review in reviews:
                moved += _close(session, review)
        if len(reviews) < _BATCH:
            return moved
        after = reviews[-1].id


def _unsupported(after: int) -> Select[Review]:
    supported = exists().where(
        MatchRow.content_id == Review.content_id,
        MatchRow.dismissed_by.is_(None),
        MatchRow.effect != "shadow",
        BankEntry.id == MatchRow.entry_id,
        BankEntry.live.is_(True),
    )
    return (
        select(Review)
        .where(Review.state == "open", Review.cause == "match", Review.id > after, ~supported)
        .order_by(Review.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )


def _close(session: Session, review: Review) -> int:
    review.state = "withdrawn"
    review.closed_at = func.clock_timestamp()
    uploads = session.scalars(
        select(Upload)
        .where(Upload.content_id == review.content_id, Upload.state.in_([State.HELD, State.FLAGGED]))
        .order_by(Upload.id)
        .with_for_update()
    ).all()
    for upload in uploads:
        held = upload.state == State.HELD
        transition(session, upload, State.RELEASED if held else State.CLEAR, actor=ACTOR, reason="withdrawn")
        if held:
            outbox.tell_state(session, upload, review_id=review.id)
    return len(uploads)
