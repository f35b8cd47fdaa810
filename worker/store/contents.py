"""Contents, their matches and their reviews: one row each for the same bytes, however often they are uploaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, make_transient_to_detached

from bank_sync.bank import BankEntry
from bank_sync.signals import PDQ, VPDQ
from config.database import Base
from worker.domain import Effect, HashedMedia, Kind, Match, Memory, Verdict, ViewHash
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload

_CONTENTS = Base.metadata.tables[Content.__tablename__]
_MAKE = insert(_CONTENTS).on_conflict_do_nothing().returning(_CONTENTS.c.id)
"""Past the unit of work, which takes more than twice as long for one row."""


def lock_content(
    session: Session, sha256: bytes | None, md5: bytes | None, size: int, kind: Kind
) -> tuple[Content, bool]:
    """The content of these bytes, locked until the transaction ends, and whether it was made now: most are new.

    Everything that concludes or decides takes this lock before it locks an upload, so that a decision and a
    scan of the same bytes never pass each other. Without a SHA-256 a content of its own is made.
    """
    if sha256 is None:
        content = Content(sha256=None, md5=md5, size=size, kind=kind)
        session.add(content)
        session.flush()
        return content, True
    found: Content | None = None
    # Retention may delete the content between the two statements: then it is made anew.
    while found is None:
        # No other sees the new row before the commit, and who would make it too waits for that.
        row = {"sha256": sha256, "md5": md5, "size": size, "kind": kind}
        made = session.connection().scalar(_MAKE, row)
        if made is not None:
            return _as_made(session, made, row), True
        found = session.scalar(select(Content).where(Content.sha256 == sha256).with_for_update())
    if kind is not Kind.UNSCANNABLE:
        # A scan that failed takes nothing away from what an earlier one found.
        found.kind = kind
    return found, False


def _as_made(session: Session, content_id: int, row: dict[str, Any]) -> Content:
    """The object of a row that was just inserted, which the database need not be asked for."""
    content = Content(id=content_id, fingerprint=None, ledger_day=None, **row)
    make_transient_to_detached(content)
    session.add(content)
    return content


def lock_content_of(session: Session, upload_id: int) -> Content | None:
    """The content that an earlier scan found in an upload, locked; None without one."""
    return session.scalar(
        select(Content)
        .join(Upload, Upload.content_id == Content.id)
        .where(Upload.id == upload_id)
        .with_for_update(of=Content)
    )


def memory_of(session: Session, content_id: int) -> Memory:
    """What people decided about a content, asked in one statement."""
    verdict = (
        select(DecisionRow.verdict)
        .where(DecisionRow.content_id == content_id)
        .order_by(DecisionRow.id.desc())
        .limit(1)
    )
    dismissed = select(func.array_agg(MatchRow.entry_id)).where(
        MatchRow.content_id == content_id, MatchRow.dismissed_by.is_not(None)
    )
    found = session.execute(
        select(
            verdict.scalar_subquery().label("verdict"),
            dismissed.scalar_subquery().label("dismissed"),
            _supported(content_id).label("supported"),
            _withheld(content_id).label("withheld"),
        )
    ).one()
    return Memory(
        verdict=Verdict(found.verdict) if found.verdict else None,
        supported=found.supported,
        dismissed=frozenset(found.dismissed or ()),
        withheld=found.withheld,
    )


def standing_decision(session: Session, content_id: int) -> DecisionRow | None:
    """The decision that counts for a content; None without one, also after its undo."""
    newest = session.scalar(
        select(DecisionRow)
        .where(DecisionRow.content_id == content_id)
        .order_by(DecisionRow.id.desc())
        .limit(1)
    )
    return newest if newest is not None and newest.verdict else None


def newest_decision(session: Session, content_id: int) -> int:
    """The id of the decision that counts for a content that has one."""
    query = select(func.max(DecisionRow.id)).where(DecisionRow.content_id == content_id)
    return session.scalars(query).one()


def _withheld(content_id: int) -> ColumnElement[bool]:
    undecided = exists().where(Review.content_id == content_id, Review.state == "open")
    holds = exists().where(
        MatchRow.content_id == content_id,
        MatchRow.effect == Effect.HOLD,
        MatchRow.dismissed_by.is_(None),
        BankEntry.id == MatchRow.entry_id,
        BankEntry.live.is_(True),
    )
    return undecided & holds


def _supported(content_id: int) -> ColumnElement[bool]:
    matched = exists().where(MatchRow.content_id == content_id)
    live = exists().where(
        MatchRow.content_id == content_id, BankEntry.id == MatchRow.entry_id, BankEntry.live.is_(True)
    )
    return ~matched | live


def record_matches(session: Session, content: Content, matches: Iterable[Match], index_epoch: int) -> None:
    """Keeps each match once a content, as the last scan found it.

    One in shadow never replaces one that held or flagged: what rests on that would look withdrawn.
    """
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
        statement = insert(MatchRow).values(content_id=content.id, entry_id=match.entry_id, **values)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["content_id", "entry_id"],
                set_=values,
                where=or_(statement.excluded.effect != Effect.SHADOW, MatchRow.effect == Effect.SHADOW),
            )
        )


def keep_fingerprint(content: Content, media: HashedMedia) -> None:
    """Stores what the own bank is given when the content is confirmed; done only for contents with a review.

    Of a video that is the frames that vPDQ selects, of a picture that carries a film its stills and those.
    """
    stills: tuple[ViewHash, ...] = ()
    if media.kind is not Kind.VIDEO:
        stills = tuple(view for view in media.originals if view.frame_time is None or not media.vpdq)
    found = [
        {
            "signal_type": signal_type,
            "hash": view.hash.hex(),
            "quality": view.quality,
            "time": view.frame_time,
        }
        for signal_type, views in ((PDQ, stills), (VPDQ, media.vpdq))
        for view in views
    ]
    # A scan that failed takes nothing away from what an earlier one found.
    content.fingerprint = found or content.fingerprint or []


def open_review(
    session: Session,
    content: Content,
    *,
    cause: str,
    priority: int,
    hours: float,
    nearest: int = 256,
    retro: bool = False,
) -> Review:
    """The content's review, opened or opened again; an open one only becomes more urgent.

    `hours` is the clock that starts now: of those that run, the one that ends first counts. `nearest` is the distance
    of the nearest match in bits, 256 without one.
    """
    now = func.clock_timestamp()
    due_at = now + timedelta(hours=hours)
    review = session.scalar(select(Review).where(Review.content_id == content.id).with_for_update())
    if review is None:
        review = Review(
            content_id=content.id,
            cause=cause,
            priority=priority,
            retro=retro,
            nearest=nearest,
            opened_at=now,
            due_at=due_at,
        )
        session.add(review)
    elif review.state != "open":
        review.state = "open"
        review.cause = cause
        review.retro = retro
        review.priority = priority
        review.nearest = nearest
        review.stage = "first"
        review.asked = False
        review.opened_at = now
        review.due_at = due_at
        review.warned = 0
        review.closed_at = None
        review.verdict = ""
        review.decision_id = None
    else:
        review.priority = max(review.priority, priority)
        review.nearest = min(review.nearest, nearest)
        # In the database: its clock says which ends first.
        review.due_at = func.least(Review.due_at, due_at)
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
