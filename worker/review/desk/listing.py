"""Reviews as a reviewer reads them: what matched, how closely, how often, and what was decided before.

Nothing here names a hash, a bank entry or a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, literal_column, select
from sqlalchemy.orm import Session, aliased

from bank_sync.bank import BankEntry
from config.words import _
from worker.deadlines import WARNINGS
from worker.domain import Region
from worker.media.views import WORDS
from worker.operate.uploads import HistoryLine, UploadLine, history_of, uploads_of_content
from worker.review.desk.drawing import Drawing, draw
from worker.review.desk.offers import QUEUE_ORDER
from worker.store.desk import ClaimRow, ClusterRow
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload


class Urgency(StrEnum):
    """How urgent an open review is; shown as a word and a colour."""

    CALM = "calm"
    HALF = "half"
    SOON = "soon"
    LAST = "last"
    OVERDUE = "overdue"

    @classmethod
    def of(cls, used: float) -> Urgency:
        """By per cent of the time that has passed."""
        return list(cls)[sum(used >= share for share in WARNINGS)]


@dataclass(frozen=True, slots=True)
class MatchLine:
    """One match of the content. `withdrawn`: the bank has taken the hash back since."""

    bank: str
    signal_type: str
    distance: int
    view: str
    frame_time: float | None
    effect: str
    withdrawn: bool
    dismissed: bool
    quality: int = 100
    region: Region | None = None
    """The part of the upload in which it was found."""

    @property
    def drawing(self) -> Drawing | None:
        """The region in a frame; None where the match is of the whole."""
        return draw(self.region) if self.region else None

    @property
    def view_words(self) -> str:
        """The view in words; a video MD5 has none."""
        return WORDS.get(self.view, self.view) if self.signal_type != "video_md5" else _("same file")


@dataclass(frozen=True, slots=True)
class ReviewLine:
    """One review. `age` is seconds since it was opened by the database's clock; matches come nearest first."""

    id: int
    state: str
    cause: str
    retro: bool
    """The uploads were clear until a bank got the hash."""
    reason: str
    priority: int
    opened_at: datetime
    age: float
    closed_at: datetime | None
    verdict: str
    kind: str
    uploads: int
    states: dict[str, int]
    matches: tuple[MatchLine, ...]
    due_at: datetime
    left: float
    """Seconds until the deadline; under 0 once it has passed."""
    used: float
    """Per cent of its time that has passed; over 100 once it is breached."""
    stage: str
    """What an open one waits for: first, second, adjudication or appeal."""
    asked: bool
    """Somebody asked for another person."""
    held_by: str
    """Who has it in hand; '' while nobody does."""
    copies: int
    """Open reviews of near copies, this one not counted."""

    @property
    def urgency(self) -> Urgency:
        """How much of the time is over, in the steps of the warnings."""
        return Urgency.of(self.used)


@dataclass(frozen=True, slots=True)
class DecisionLine:
    at: datetime
    actor: str
    verdict: str
    reason: str
    kind: str
    """verdict, or undo: then `verdict` is what counts again, '' for none."""


@dataclass(frozen=True, slots=True)
class ReviewDetail:
    """One review with its uploads, their history and earlier decisions."""

    line: ReviewLine
    size: int
    decisions: tuple[DecisionLine, ...]
    uploads: tuple[UploadLine, ...]
    history: tuple[HistoryLine, ...]


def list_reviews(
    session: Session, *where: ColumnElement[bool], closed: bool = False, limit: int = 200
) -> list[ReviewLine]:
    """Open reviews, the most urgent first; with `closed` all of them, open ones first. `where` narrows it down."""
    query = select(Review).where(*where).limit(limit)
    if closed:
        # The newest first of what is closed: nobody looks for its deadline.
        # Written out, as its index has it.
        is_closed = Review.state != literal_column("'open'")
        query = query.order_by(is_closed, Review.closed_at.desc(), *QUEUE_ORDER)
    else:
        query = query.where(Review.state == "open").order_by(*QUEUE_ORDER)
    return _lines(session, session.scalars(query).all())


def newest_reviews(session: Session, *where: ColumnElement[bool], limit: int) -> list[ReviewLine]:
    """Reviews of every state, the one that was made last first."""
    query = select(Review).where(*where).order_by(Review.id.desc()).limit(limit)
    return _lines(session, session.scalars(query).all())


def review_detail(session: Session, review_id: int) -> ReviewDetail | None:
    """Everything about one review; None when there is none."""
    review = session.get(Review, review_id)
    if review is None:
        return None
    content = session.get_one(Content, review.content_id)
    uploads = uploads_of_content(session, content.id)
    decisions = session.scalars(
        select(DecisionRow).where(DecisionRow.content_id == content.id).order_by(DecisionRow.id)
    )
    return ReviewDetail(
        line=_lines(session, [review])[0],
        size=content.size,
        decisions=tuple(
            DecisionLine(row.at, row.actor, row.verdict, row.reason, row.kind) for row in decisions
        ),
        uploads=tuple(uploads),
        history=tuple(history_of(session, [upload.id for upload in uploads])),
    )


def _lines(session: Session, reviews: Sequence[Review]) -> list[ReviewLine]:
    now = session.scalar(select(func.clock_timestamp()))
    assert now is not None  # noqa: S101 (a SELECT without FROM always answers one row)
    ids = [review.content_id for review in reviews]
    kinds = {
        row.id: row.kind
        for row in session.execute(select(Content.id, Content.kind).where(Content.id.in_(ids)))
    }
    states: dict[int, dict[str, int]] = {}
    reasons: dict[int, str] = {}
    counted = (
        select(
            Upload.content_id,
            Upload.state,
            func.count().label("number"),
            func.max(Upload.reason).label("reason"),
        )
        .where(Upload.content_id.in_(ids))
        .group_by(Upload.content_id, Upload.state)
    )
    for row in session.execute(counted):
        states.setdefault(row.content_id, {})[row.state] = row.number
        if row.state in {"unscannable", "unsupported"}:
            reasons[row.content_id] = row.reason
    matches: dict[int, list[MatchLine]] = {}
    found = (
        select(
            MatchRow.content_id,
            MatchRow.bank,
            MatchRow.signal_type,
            MatchRow.distance,
            MatchRow.view,
            MatchRow.frame_time,
            MatchRow.effect,
            MatchRow.dismissed_by,
            MatchRow.quality,
            MatchRow.region,
            BankEntry.live,
        )
        .outerjoin(BankEntry, BankEntry.id == MatchRow.entry_id)
        .where(MatchRow.content_id.in_(ids))
        .order_by(MatchRow.distance, MatchRow.id)
    )
    for match in session.execute(found):
        matches.setdefault(match.content_id, []).append(
            MatchLine(
                match.bank,
                match.signal_type,
                match.distance,
                match.view,
                match.frame_time,
                match.effect,
                quality=match.quality,
                withdrawn=not match.live,
                dismissed=match.dismissed_by is not None,
                region=_region(match.region),
            )
        )
    held = {
        row.review_id: row.actor
        for row in session.execute(
            select(ClaimRow.review_id, ClaimRow.actor).where(
                ClaimRow.review_id.in_([review.id for review in reviews]), ClaimRow.lease_until > now
            )
        )
    }
    copies = _copies(session, ids)
    return [
        ReviewLine(
            id=review.id,
            state=review.state,
            cause=review.cause,
            retro=review.retro,
            reason=reasons.get(review.content_id, ""),
            priority=review.priority,
            opened_at=review.opened_at,
            age=(now - review.opened_at).total_seconds(),
            closed_at=review.closed_at,
            verdict=review.verdict,
            kind=kinds[review.content_id],
            uploads=sum(states.get(review.content_id, {}).values()),
            states=states.get(review.content_id, {}),
            matches=tuple(matches.get(review.content_id, ())),
            due_at=review.due_at,
            left=(review.due_at - now).total_seconds(),
            used=100 * (now - review.opened_at) / max(review.due_at - review.opened_at, timedelta(seconds=1)),
            stage=review.stage,
            asked=review.asked,
            held_by=held.get(review.id, ""),
            copies=copies.get(review.content_id, 0),
        )
        for review in reviews
    ]


def _copies(session: Session, content_ids: Sequence[int]) -> dict[int, int]:
    """By content, how many others of its cluster have an open review."""
    other = aliased(ClusterRow)
    rows = session.execute(
        select(ClusterRow.content_id, func.count())
        .join(other, and_(other.cluster == ClusterRow.cluster, other.content_id != ClusterRow.content_id))
        .join(Review, and_(Review.content_id == other.content_id, Review.state == "open"))
        .where(ClusterRow.content_id.in_(content_ids))
        .group_by(ClusterRow.content_id)
    )
    return dict(rows.all())


def _region(stored: Sequence[float] | None) -> Region | None:
    if stored is None:
        return None
    left, top, width, height = stored
    return left, top, width, height
