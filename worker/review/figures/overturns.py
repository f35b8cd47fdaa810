"""How often a verdict did not last: undone by somebody else, overturned on appeal, or not shared by a second person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, true
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import SQLCoreOperations

from worker.review.figures.decisions import UNDO, decided_in
from worker.review.figures.period import Asked
from worker.review.figures.wilson import wilson
from worker.store.appeal_rows import Appeal
from worker.store.desk import Opinion
from worker.store.models import DecisionRow, Review


@dataclass(frozen=True, slots=True)
class Overturned:
    """`how` is undone_by_another, overturned_on_appeal or second_person_disagreed; `share` of `judged`, with its
    95 % interval."""

    how: str
    judged: int
    overturned: int
    share: float | None
    low: float | None
    high: float | None


def overturns(asked: Asked) -> Sequence[Overturned]:
    """Three rows: their counts are of different things, and are never added up."""
    agreed, disagreed = _second_persons(asked)
    upheld, overturned = _appeals(asked)
    return [
        _row("undone_by_another", decided_in(asked), _undone_by_another(asked)),
        _row("overturned_on_appeal", upheld + overturned, overturned),
        _row("second_person_disagreed", agreed + disagreed, disagreed),
    ]


def _row(how: str, judged: int, overturned: int) -> Overturned:
    share = wilson(overturned, judged)
    return Overturned(how, judged, overturned, share.share, share.low, share.high)


def _undone_by_another(asked: Asked) -> int:
    """Decisions of the period that somebody else undid."""
    undo, decided = aliased(DecisionRow), aliased(DecisionRow)
    # Only the decision that counts can be undone: it is the newest before the undo.
    undone = (
        select(decided.actor, decided.at)
        .where(decided.content_id == undo.content_id, decided.id < undo.id)
        .order_by(decided.id.desc())
        .limit(1)
        .lateral()
    )
    return asked.session.scalars(
        select(func.count())
        .select_from(undo)
        .join(undone, true())
        .where(
            undo.at >= asked.period.begin,
            undo.kind == UNDO,
            undone.c.at >= asked.period.begin,
            _bare(undone.c.actor) != _bare(undo.actor),
        )
    ).one()


def _bare(actor: SQLCoreOperations[str]) -> ColumnElement[str]:
    """SQL: one person at the pages and at the terminal is one person."""
    return func.regexp_replace(actor, "^operator:", "")


def _appeals(asked: Asked) -> tuple[int, int]:
    """Appeals that were decided in the period: upheld and overturned."""
    row = asked.session.execute(
        select(
            func.count().filter(Appeal.state == "upheld"), func.count().filter(Appeal.state == "overturned")
        ).where(Appeal.decided_at >= asked.period.begin)
    ).one()
    return row[0], row[1]


def _second_persons(asked: Asked) -> tuple[int, int]:
    """Second verdicts of the period that agreed with the first and that did not.

    One that disagrees is an opinion, the second of its review; one that agrees is the decision itself.
    """
    counts = or_(Opinion.decision_id.is_not(None), Opinion.at >= Review.opened_at)
    place = func.row_number().over(partition_by=(Opinion.review_id, Opinion.decision_id), order_by=Opinion.id)
    number = func.count().over(partition_by=(Opinion.review_id, Opinion.decision_id))
    given = (
        select(
            Opinion.verdict,
            Opinion.at,
            Opinion.decision_id,
            place.label("place"),
            number.label("number"),
        )
        .join(Review, Review.id == Opinion.review_id)
        .where(Opinion.stands.is_(True), counts)
        .subquery()
    )
    begin = literal(asked.period.begin)
    by_opinion = and_(given.c.place == 2, given.c.at >= begin)
    by_decision = and_(given.c.number == 1, DecisionRow.at >= begin)
    row = asked.session.execute(
        select(
            func.count().filter(and_(by_decision, DecisionRow.verdict == given.c.verdict)),
            func.count().filter(or_(by_opinion, and_(by_decision, DecisionRow.verdict != given.c.verdict))),
        )
        .select_from(given)
        .outerjoin(DecisionRow, DecisionRow.id == given.c.decision_id)
    ).one()
    return row[0], row[1]
