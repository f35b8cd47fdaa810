"""Sends uploads through the scan again: what was broken, of a foreign format, overwritten or gone may be readable now.

It never touches what matched or what a person decided.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.database import Sessions
from worker.domain import Lane, State
from worker.events.arrivals import BACKFILL
from worker.store.models import Content, Review, Upload
from worker.store.transitions import transition

REPLAYED = frozenset({State.UNSCANNABLE, State.UNSUPPORTED, State.SUPERSEDED, State.GONE})
"""States that a replay leaves."""

_UNREAD = (State.UNSCANNABLE, State.UNSUPPORTED)


def uploads_in(sessions: Sessions, state: State) -> list[int]:
    """Ids of all uploads in a state, oldest first."""
    with sessions() as session:
        return list(session.scalars(select(Upload.id).where(Upload.state == state).order_by(Upload.id)))


def replay(sessions: Sessions, upload_ids: Sequence[int], *, actor: str) -> list[tuple[int, Lane]]:
    """Sets uploads back to `pending` with no attempts used; returns those that moved, to be announced.

    An upload that is unknown or in another state is left alone. A review that only asked about the unreadable file
    is closed: the new scan opens it again if there is still something to ask.
    """
    moved = []
    for upload_id in upload_ids:
        with sessions.begin() as session:
            lane = _replay_one(session, upload_id, actor)
        if lane is not None:
            moved.append((upload_id, lane))
    return moved


def _replay_one(session: Session, upload_id: int, actor: str) -> Lane | None:
    content_id = session.scalar(select(Upload.content_id).where(Upload.id == upload_id))
    if content_id is not None:
        # The content before the upload, as everywhere: a scan of the same bytes may be concluding.
        session.execute(select(Content.id).where(Content.id == content_id).with_for_update())
    upload = session.get(Upload, upload_id, with_for_update=True)
    if upload is None or upload.state not in REPLAYED:
        return None
    transition(session, upload, State.PENDING, actor=actor, reason="replay")
    upload.attempts = 0
    upload.faults = 0
    # A replay is work in bulk: new uploads go first.
    upload.priority = BACKFILL
    session.flush()
    if upload.content_id is not None:
        _close_review(session, upload.content_id)
    return Lane(upload.lane)


def _close_review(session: Session, content_id: int) -> None:
    still_unread = session.scalar(
        select(Upload.id).where(Upload.content_id == content_id, Upload.state.in_(_UNREAD)).limit(1)
    )
    review = session.scalar(
        select(Review)
        .where(Review.content_id == content_id, Review.state == "open", Review.cause != "match")
        .with_for_update()
    )
    if review is not None and still_unread is None:
        review.state = "withdrawn"
        review.closed_at = func.clock_timestamp()
