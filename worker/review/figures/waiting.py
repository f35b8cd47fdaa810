"""What waits for a decision now: how much, since when, by whose hashes, and when it is due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, exists, func, select

from worker.operate.age import seconds_since
from worker.review.figures.clocks import clock_of, time_given
from worker.review.figures.period import Asked
from worker.store.desk import ClaimRow, Stage
from worker.store.models import MatchRow, Review

AGES = {"under_1_h": 1, "1_to_6_h": 6, "6_to_24_h": 24, "24_to_48_h": 48, "over_48_h": None}
"""Hours since it opened, by the first bound that it stays under."""

DUE = {
    "overdue": 0,
    "within_1_h": 1,
    "1_to_2_h": 2,
    "2_to_6_h": 6,
    "6_to_24_h": 24,
    "24_to_48_h": 48,
    "later": None,
}
"""Hours until the deadline, likewise."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """All open reviews. `in_hand`: somebody has it now. Ages are in seconds, None where nothing waits."""

    waiting: int
    in_hand: int
    overdue: int
    oldest_seconds: float | None
    most_overdue_seconds: float | None


@dataclass(frozen=True, slots=True)
class WaitingPart:
    """Open reviews of one part; `by` is age, stage, bank or deadline. One of two banks counts for both."""

    by: str
    part: str
    waiting: int
    overdue: int


@dataclass(frozen=True, slots=True)
class DuePart:
    """Open reviews by the time that is left."""

    due: str
    waiting: int


def waiting(asked: Asked) -> Sequence[Waiting]:
    """One row."""
    late = Review.due_at < func.clock_timestamp()
    held = exists().where(ClaimRow.review_id == Review.id, ClaimRow.lease_until > func.clock_timestamp())
    row = asked.session.execute(
        select(
            func.count(),
            func.count().filter(held),
            func.count().filter(late),
            seconds_since(func.min(Review.opened_at)),
            seconds_since(func.min(Review.due_at).filter(late)),
        ).where(Review.state == "open")
    ).one()
    return [Waiting(*row)]


def waiting_parts(asked: Asked) -> Sequence[WaitingPart]:
    """By age and stage every part there is, by bank and deadline those in which something waits."""
    age = _bucket(seconds_since(Review.opened_at) / 3600, AGES).label("age")
    late = func.count().filter(Review.due_at < func.clock_timestamp())
    given = time_given().label("given")
    all_of: Counter[tuple[str, str]] = Counter()
    overdue: Counter[tuple[str, str]] = Counter()
    for row in asked.session.execute(
        select(age, Review.stage, given, func.count().label("waiting"), late.label("overdue"))
        .where(Review.state == "open")
        .group_by(age, Review.stage, given)
    ):
        for key in (("age", row.age), ("stage", row.stage), ("deadline", clock_of(asked, row.given))):
            all_of[key] += row.waiting
            overdue[key] += row.overdue
    banks = asked.session.execute(
        select(
            MatchRow.bank,
            func.count(Review.id.distinct()),
            func.count(Review.id.distinct()).filter(Review.due_at < func.clock_timestamp()),
        )
        .join(Review, Review.content_id == MatchRow.content_id)
        .where(Review.state == "open")
        .group_by(MatchRow.bank)
    )
    for bank, number, over in banks:
        all_of["bank", bank], overdue["bank", bank] = number, over
    keys = [("age", age) for age in AGES] + [("stage", stage.value) for stage in Stage]
    keys += sorted(key for key in all_of if key[0] == "bank")
    keys += sorted(key for key in all_of if key[0] == "deadline")
    return [WaitingPart(*key, all_of[key], overdue[key]) for key in keys]


def due(asked: Asked) -> Sequence[DuePart]:
    """Every part, the most urgent first."""
    left = _bucket(-seconds_since(Review.due_at) / 3600, DUE).label("left")
    found = dict(
        asked.session.execute(select(left, func.count()).where(Review.state == "open").group_by(left)).all()
    )
    return [DuePart(part, found.get(part, 0)) for part in DUE]


def _bucket(hours: ColumnElement[float], parts: dict[str, int | None]) -> ColumnElement[str]:
    bounds = [(hours < bound, part) for part, bound in parts.items() if bound is not None]
    return case(*bounds, else_=list(parts)[-1])
