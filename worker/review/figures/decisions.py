"""What was decided, hour by hour or day by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from worker.domain import Verdict
from worker.review.figures.period import Scope
from worker.store.models import DecisionRow

UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of one hour or day by verdict, those that were undone later too; `undone` counts undos."""

    begin: datetime
    confirmed: int
    not_a_match: int
    lawful: int
    hash_wrong: int
    suspected_minor: int
    undone: int

    @property
    def all(self) -> int:
        return sum(getattr(self, verdict) for verdict in Verdict)


def decisions(session: Session, scope: Scope) -> Sequence[Decisions]:
    """Every hour or day of the period, the oldest first."""
    step = scope.period.step_of(DecisionRow.at).label("step")
    found: Counter[tuple[datetime, str]] = Counter()
    for begin, kind, verdict, number in session.execute(
        select(step, DecisionRow.kind, DecisionRow.verdict, func.count())
        .where(DecisionRow.at >= scope.period.begin)
        .group_by(step, DecisionRow.kind, DecisionRow.verdict)
    ):
        found[begin, UNDO if kind == UNDO else verdict] += number
    return [
        Decisions(begin, *(found[begin, what] for what in [*Verdict, UNDO])) for begin in scope.period.begins
    ]


def decided_in(session: Session, scope: Scope) -> int:
    """How many decisions were taken in the period."""
    return session.scalars(
        select(func.count())
        .select_from(DecisionRow)
        .where(DecisionRow.at >= scope.period.begin, DecisionRow.kind == "verdict")
    ).one()
