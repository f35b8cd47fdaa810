"""Which reviews are for whom, as SQL: what is free, what a person may take, and in which order it is offered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, tuple_
from sqlalchemy.sql.elements import UnaryExpression

from worker.store.adjudication import adjudicates
from worker.store.desk import ClaimRow, Opinion, PassKind, PassRow, Stage
from worker.store.models import DecisionRow, MatchRow, Review

SKIPPED_FOR = timedelta(minutes=10)
"""How long a review that a person skipped is not offered to them."""

OPERATOR = "operator:"
"""Stands before the pseudonym, or the name, of who decides at the terminal."""

QUEUE_ORDER: tuple[ColumnElement[Any] | UnaryExpression[Any], ...] = (
    Review.due_at.asc(),
    Review.priority.desc(),
    Review.nearest.asc(),
    Review.id.asc(),
)
"""The deadline first, then severity, then how sure the match is."""


def after(review_id: int) -> ColumnElement[bool]:
    """What stands behind this review in the order of the queue."""
    place = (Review.due_at, -Review.priority, Review.nearest, Review.id)
    return tuple_(*place) > select(*place).where(Review.id == review_id).correlate(None).scalar_subquery()


def in_hand() -> ColumnElement[bool]:
    """Somebody has it now."""
    return exists().where(ClaimRow.review_id == Review.id, ClaimRow.lease_until > func.clock_timestamp())


def names_of(actor: str) -> tuple[str, str]:
    """One person at the pages and at the terminal is one person."""
    bare = actor.removeprefix(OPERATOR)
    return bare, OPERATOR + bare


def standing_opinions() -> ColumnElement[bool]:
    """Joins a review with the opinions that count for it."""
    return and_(
        Opinion.review_id == Review.id,
        Opinion.stands.is_(True),
        Opinion.decision_id.is_(None),
        Opinion.at >= Review.opened_at,
    )


def open_to(actor: str) -> ColumnElement[bool]:
    """It waits, and this person may decide it: they took no part in what it asks about, and did not step back."""
    names = names_of(actor)
    bare, _operator = names
    stepped_back = exists().where(
        PassRow.review_id == Review.id, PassRow.actor.in_(names), PassRow.kind != PassKind.SKIPPED
    )
    said = exists().where(standing_opinions(), Opinion.actor.in_(names))
    decided = exists().where(DecisionRow.id == Review.decision_id, DecisionRow.actor.in_(names))
    agreed = exists().where(Opinion.decision_id == Review.decision_id, Opinion.actor.in_(names))
    return and_(
        Review.state == "open",
        ~stepped_back,
        ~said,
        or_(Review.stage != Stage.APPEAL, ~or_(decided, agreed)),
        # At the terminal too it must be somebody who is known by name.
        or_(Review.stage != Stage.ADJUDICATION, adjudicates(bare)),
    )


def offered_to(actor: str) -> ColumnElement[bool]:
    """What the next one may be: free, open to this person, and not skipped by them a moment ago."""
    skipped = exists().where(
        PassRow.review_id == Review.id,
        PassRow.actor == actor,
        PassRow.kind == PassKind.SKIPPED,
        PassRow.at > func.clock_timestamp() - SKIPPED_FOR,
    )
    return and_(open_to(actor), ~in_hand(), ~skipped)


def of_bank(bank: str) -> ColumnElement[bool]:
    """It matched an entry of this bank."""
    return exists().where(MatchRow.content_id == Review.content_id, MatchRow.bank == bank)
