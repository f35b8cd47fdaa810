"""How often a verdict did not last: undone by somebody else, overturned on appeal, or not shared by a second person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, or_, select, true
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
    first, other = aliased(Opinion), aliased(Opinion)
    opened = select(Review.opened_at).where(Review.id == first.review_id).scalar_subquery()
    differing = (
        select(func.count())
        .select_from(Opinion)
        .where(
            Opinion.at >= asked.period.begin,
            Opinion.stands.is_(True),
            exists().where(
                first.review_id == Opinion.review_id,
                first.id < Opinion.id,
                first.stands.is_(True),
                first.decision_id.is_not_distinct_from(Opinion.decision_id),
                # One of an earlier opening counts no more.
                or_(first.decision_id.is_not(None), first.at >= opened),
            ),
        )
    )
    alone = ~exists().where(
        other.review_id == Opinion.review_id,
        other.decision_id == Opinion.decision_id,
        other.id != Opinion.id,
        other.stands.is_(True),
    )
    same = DecisionRow.verdict == Opinion.verdict
    enacted = asked.session.execute(
        select(func.count().filter(same), func.count().filter(~same))
        .select_from(Opinion)
        .join(DecisionRow, DecisionRow.id == Opinion.decision_id)
        .where(DecisionRow.at >= asked.period.begin, Opinion.stands.is_(True), alone)
    ).one()
    return enacted[0], enacted[1] + asked.session.scalars(differing).one()
