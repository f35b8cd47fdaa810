"""Contents, their matches and their reviews: one row each for the same bytes, however often they are uploaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry
from worker.domain import HashedMedia, Kind, Match, Memory, Verdict
from worker.store.models import Content, DecisionRow, MatchRow, Review


def lock_content(session: Session, sha256: bytes | None, md5: bytes | None, size: int, kind: Kind) -> Content:
    """The content of these bytes, made if new, locked until the transaction ends.

    Everything that concludes or decides takes this lock before it locks an upload, so that a decision and a
    scan of the same bytes never pass each other. Without a SHA-256 a content of its own is made.
    """
    if sha256 is None:
        content = Content(sha256=None, md5=md5, size=size, kind=kind)
        session.add(content)
        session.flush()
        return content
    session.execute(
        insert(Content).values(sha256=sha256, md5=md5, size=size, kind=kind).on_conflict_do_nothing()
    )
    content = session.scalars(select(Content).where(Content.sha256 == sha256).with_for_update()).one()
    content.kind = kind
    return content


def memory_of(session: Session, content_id: int) -> Memory:
    """What people decided about a content."""
    verdict = session.scalar(
        select(DecisionRow.verdict)
        .where(DecisionRow.content_id == content_id)
        .order_by(DecisionRow.id.desc())
        .limit(1)
    )
    dismissed = session.scalars(
        select(MatchRow.entry_id).where(MatchRow.content_id == content_id, MatchRow.dismissed_by.is_not(None))
    )
    return Memory(
        verdict=Verdict(verdict) if verdict else None,
        supported=_supported(session, content_id),
        dismissed=frozenset(dismissed),
    )


def _supported(session: Session, content_id: int) -> bool:
    matched = exists().where(MatchRow.content_id == content_id)
    live = exists().where(
        MatchRow.content_id == content_id, BankEntry.id == MatchRow.entry_id, BankEntry.live.is_(True)
    )
    return bool(session.scalar(select(~matched | live)))


def record_matches(session: Session, content: Content, matches: Iterable[Match], index_epoch: int) -> None:
    """Keeps each match once a content; a closer or stronger one of a later scan replaces the former."""
    for match in matches:
        values = {
            "bank": match.bank,
            "signal_type": match.signal_type,
            "distance": match.distance,
            "view": match.view,
            "region": match.region,
            "frame_time": match.frame_time,
            "quality": match.quality,
            "effect": match.effect,
            "index_epoch": index_epoch,
        }
        session.execute(
            insert(MatchRow)
            .values(content_id=content.id, entry_id=match.entry_id, **values)
            .on_conflict_do_update(index_elements=["content_id", "entry_id"], set_=values)
        )


def keep_fingerprint(content: Content, media: HashedMedia) -> None:
    """Stores the content's own hashes: done only for contents with a review, for the own bank."""
    content.fingerprint = [
        {"hash": view.hash.hex(), "quality": view.quality, "time": view.frame_time}
        for view in media.originals
    ]


def open_review(session: Session, content: Content, *, cause: str, priority: int) -> Review:
    """The content's review, opened or opened again; an open one only rises in priority."""
    review = session.scalar(select(Review).where(Review.content_id == content.id).with_for_update())
    if review is None:
        review = Review(content_id=content.id, cause=cause, priority=priority)
        session.add(review)
    elif review.state != "open":
        review.state = "open"
        review.cause = cause
        review.priority = priority
        review.opened_at = func.clock_timestamp()
        review.closed_at = None
        review.verdict = ""
        review.decision_id = None
    else:
        review.priority = max(review.priority, priority)
        if cause == "match":
            review.cause = cause
    session.flush()
    return review


def dismiss(
    session: Session, content_id: int, decision_id: int | None, entry_ids: Collection[int] = ()
) -> None:
    """Marks the content's matches as dismissed by a decision, or, with None, as standing again."""
    rows = session.scalars(select(MatchRow).where(MatchRow.content_id == content_id))
    for row in rows:
        if not entry_ids or row.entry_id in entry_ids:
            row.dismissed_by = decision_id
