"""All figures by name. The fields of a figure's rows are the columns of its CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from worker.review.figures.covered import Covered, covered
from worker.review.figures.decisions import Decisions, decisions
from worker.review.figures.in_time import InTime, InTimeByDeadline, in_time, in_time_by_deadline
from worker.review.figures.looks import Views, ViewsByPerson, views, views_by_person
from worker.review.figures.overturns import Overturned, overturns
from worker.review.figures.period import Asked
from worker.review.figures.precision import (
    PrecisionByBank,
    PrecisionByDistance,
    precision_by_bank,
    precision_by_distance,
)
from worker.review.figures.speed import DecisionTime, TimeToDecision, decision_time, time_to_decision
from worker.review.figures.waiting import DuePart, Waiting, WaitingPart, due, waiting, waiting_parts
from worker.review.people.permissions import May


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: the dataclass of its rows, what reads them, and who may see it."""

    row: type[Any]
    read: Callable[[Asked], Sequence[Any]]
    asks: May = May.SEE_FIGURES

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self.row))

    def cells(self, row: object) -> tuple[Any, ...]:
        """The values of one of its rows, in the order of the columns."""
        return tuple(getattr(row, column) for column in self.columns)


FIGURES = {
    "waiting": Figure(Waiting, waiting),
    "waiting_parts": Figure(WaitingPart, waiting_parts),
    "due": Figure(DuePart, due),
    "in_time": Figure(InTime, in_time),
    "in_time_by_deadline": Figure(InTimeByDeadline, in_time_by_deadline),
    "decisions": Figure(Decisions, decisions),
    "decision_time": Figure(DecisionTime, decision_time),
    "time_to_decision": Figure(TimeToDecision, time_to_decision),
    "views": Figure(Views, views),
    "views_by_person": Figure(ViewsByPerson, views_by_person, May.SEE_EACH_PERSON),
    "overturns": Figure(Overturned, overturns),
    "precision_by_bank": Figure(PrecisionByBank, precision_by_bank),
    "precision_by_distance": Figure(PrecisionByDistance, precision_by_distance),
    "coverage": Figure(Covered, covered),
}


def read_all(asked: Asked, allowed: Callable[[May], bool]) -> dict[str, Sequence[Any]]:
    """The rows of every figure that is allowed, by name."""
    return {name: figure.read(asked) for name, figure in FIGURES.items() if allowed(figure.asks)}
