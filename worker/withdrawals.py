"""When banks take hashes back: what only those held is served again, what only those flagged is clear.

A decision of a person stands: removed uploads stay removed. A review that still has one live entry stays open.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry
from config.database import Sessions
from worker import outbox
from worker.domain import State
from worker.store import ledger
from worker.store.models import Content, MatchRow, Review, Upload
from worker.store.transitions import transition

ACTOR = "withdrawal"
REASON = "withdrawn"
_BATCH = 1000
"""Reviews closed in one call; it is called every second."""


def release_withdrawn(sessions: Sessions, *, keep: bool = False) -> int:
    """Closes every open review that no live entry supports any more; returns how many uploads moved.

    With `keep` their hashes go into the ledger: another bank may get them.

    Safe to run at any time and twice at once; needs no memory of what was withdrawn since when.
    """
    with sessions() as session:
        found = session.execute(_unsupported(Review.id, Review.content_id)).all()
    moved = 0
    for review_id, content_id in found:
        with sessions.begin() as session:
            content = session.scalar(
                select(Content).where(Content.id == content_id).with_for_update(skip_locked=True)
            )
            if content is None:
                # A scan or a decision of the same bytes is being written down: the next round sees what it found.
                continue
            # Looked at again under the lock: another entry may support it by now.
            review = session.scalar(_unsupported(Review).where(Review.id == review_id).with_for_update())
            if review is not None:
                moved += _close(session, review, content if keep else None)
    return moved


def _unsupported(*what: Any) -> Select[Any]:  # noqa: ANN401 (columns or the whole row)
    supported = exists().where(
        MatchRow.content_id == Review.content_id,
        MatchRow.dismissed_by.is_(None),
        MatchRow.effect != "shadow",
        BankEntry.id == MatchRow.entry_id,
        BankEntry.live.is_(True),
    )
    return (
        select(*what)
        .where(
            Review.state == "open",
            Review.cause == "match",
            # What is appealed is removed already, and somebody waits for an answer.
            Review.stage != "appeal",
            ~supported,
        )
        .order_by(Review.id)
        .limit(_BATCH)
    )


def _close(session: Session, review: Review, kept: Content | None) -> int:
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
        transition(session, upload, State.RELEASED if held else State.CLEAR, actor=ACTOR, reason=REASON)
        if held:
            outbox.tell_state(session, upload, review_id=review.id)
    if kept is not None and any(upload.deleted_at is None for upload in uploads):
        ledger.keep_fingerprint(session, kept)
    return len(uploads)
