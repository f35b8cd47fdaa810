"""Reviews as a reviewer reads them: what matched, how closely, how often, and what was decided before.

Nothing here names a hash, a bank entry or a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry
from worker.domain import Region
from worker.media.views import WORDS
from worker.operate.uploads import HistoryLine, UploadLine, history_of, uploads_of_content
from worker.review.drawing import Drawing, draw
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload


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
    region: Region | None = None
    """The part of the upload in which it was found."""

    @property
    def drawing(self) -> Drawing | None:
        """The region in a frame; None where the match is of the whole."""
        return draw(self.region) if self.region else None

    @property
    def view_words(self) -> str:
        """The view in words; a video MD5 has none."""
        return WORDS.get(self.view, self.view) if self.signal_type != "video_md5" else "same file"


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


@dataclass(frozen=True, slots=True)
class DecisionLine:
    at: datetime
    actor: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReviewDetail:
    """One review with its uploads, their history and earlier decisions."""

    line: ReviewLine
    size: int
    decisions: tuple[DecisionLine, ...]
    uploads: tuple[UploadLine, ...]
    history: tuple[HistoryLine, ...]


def list_reviews(session: Session, *, closed: bool = False, limit: int = 200) -> list[ReviewLine]:
    """Open reviews, the most urgent first; with `closed` all of them, open ones first."""
    query = (
        select(Review)
        .order_by(Review.state != "open", Review.priority.desc(), Review.opened_at, Review.id)
        .limit(limit)
    )
    if not closed:
        query = query.where(Review.state == "open")
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
        decisions=tuple(DecisionLine(row.at, row.actor, row.verdict, row.reason) for row in decisions),
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
        select(MatchRow, BankEntry.live)
        .outerjoin(BankEntry, BankEntry.id == MatchRow.entry_id)
        .where(MatchRow.content_id.in_(ids))
        .order_by(MatchRow.distance, MatchRow.id)
    )
    for match, live in session.execute(found):
        matches.setdefault(match.content_id, []).append(
            MatchLine(
                match.bank,
                match.signal_type,
                match.distance,
                match.view,
                match.frame_time,
                match.effect,
                withdrawn=not live,
                dismissed=match.dismissed_by is not None,
                region=_region(match.region),
            )
        )
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
        )
        for review in reviews
    ]


def _region(stored: Sequence[float] | None) -> Region | None:
    if stored is None:
        return None
    left, top, width, height = stored
    return left, top, width, height
