"""The queue as one person sees it: what they may take, narrowed down by bank, cause and state, with counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true
from sqlalchemy.orm import Session

from worker.domain import Verdict
from worker.review.desk.listing import ReviewLine, list_reviews
from worker.review.desk.offers import after, in_hand, of_bank
from worker.store.adjudication import adjudicates
from worker.store.desk import ClaimRow, Stage
from worker.store.models import MatchRow, Review


class Show(StrEnum):
    """Which part of the queue."""

    ALL = "all"
    WAITING = "waiting"
    MINE = "mine"
    SECOND = "second"
    APPEALS = "appeals"


@dataclass(frozen=True, slots=True)
class Part:
    """What of the queue is shown; an empty text narrows nothing down."""

    show: Show = Show.ALL
    bank: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many open reviews there are, by bank and cause. A review of two banks counts for both."""

    banks: dict[str, int]
    causes: dict[str, int]


def queue(
    session: Session, actor: str, part: Part, *, limit: int, behind: int | None = None
) -> list[ReviewLine]:
    """The most urgent open reviews of a part; of those that stand behind a review, where one is named."""
    where = [_shown(part.show, actor)]
    if part.bank:
        where.append(of_bank(part.bank))
    if part.cause:
        where.append(Review.cause == part.cause)
    if behind is not None:
        where.append(after(behind))
    return list_reviews(session, *where, limit=limit)


def part_counts(session: Session, actor: str) -> dict[Show, int]:
    """How many open reviews each part has for this person."""
    numbers = session.execute(
        select(*(func.count().filter(_shown(show, actor)) for show in Show)).where(Review.state == "open")
    ).one()
    return dict(zip(Show, numbers, strict=True))


def counts(session: Session) -> Counts:
    """How many open reviews each bank and cause has."""
    banks = session.execute(
        select(MatchRow.bank, func.count(MatchRow.content_id.distinct()))
        .join(Review, Review.content_id == MatchRow.content_id)
        .where(Review.state == "open")
        .group_by(MatchRow.bank)
        .order_by(MatchRow.bank)
    )
    causes = session.execute(
        select(Review.cause, func.count())
        .where(Review.state == "open")
        .group_by(Review.cause)
        .order_by(Review.cause)
    )
    return Counts(
        banks=dict(banks.all()),
        causes=dict(causes.all()),
    )


def not_a_minor() -> ColumnElement[bool]:
    """What everybody may see: nothing that was decided as a suspected minor."""
    return Review.verdict != Verdict.SUSPECTED_MINOR


def _shown(show: Show, actor: str) -> ColumnElement[bool]:
    if show is Show.MINE:
        return exists().where(
            ClaimRow.review_id == Review.id,
            ClaimRow.actor == actor,
            ClaimRow.lease_until > func.clock_timestamp(),
        )
    if show is Show.WAITING:
        return and_(Review.stage == Stage.FIRST, ~in_hand())
    if show is Show.SECOND:
        waits = or_(
            Review.stage == Stage.SECOND, and_(Review.stage == Stage.ADJUDICATION, adjudicates(actor))
        )
        return or_(waits, Review.asked.is_(True))
    if show is Show.APPEALS:
        return Review.stage == Stage.APPEAL
    return true()
