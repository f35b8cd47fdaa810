"""What was decided, hour by hour or day by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from worker.domain import Verdict
from worker.review.figures.period import Asked
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


def decisions(asked: Asked) -> Sequence[Decisions]:
    """Every hour or day of the period, the oldest first."""
    found = asked.once(_found)
    return [
        Decisions(begin, *(found[begin, what] for what in [*Verdict, UNDO])) for begin in asked.period.begins
    ]


def decided_in(asked: Asked) -> int:
    """How many decisions were taken in the period."""
    return sum(row.all for row in decisions(asked))


def _found(asked: Asked) -> Counter[tuple[datetime, str]]:
    step = asked.period.step_of(DecisionRow.at).label("step")
    found: Counter[tuple[datetime, str]] = Counter()
    for begin, kind, verdict, number in asked.session.execute(
        select(step, DecisionRow.kind, DecisionRow.verdict, func.count())
        .where(DecisionRow.at >= asked.period.begin)
        .group_by(step, DecisionRow.kind, DecisionRow.verdict)
    ):
        found[begin, UNDO if kind == UNDO else verdict] += number
    return found
