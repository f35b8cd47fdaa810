"""How long deciding takes: from the claim, from the opening of the review, and from the upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, Subquery, cast, exists, func, select, tuple_, union_all
from sqlalchemy.sql.elements import SQLCoreOperations

from worker.review.figures.period import Asked
from worker.store.appeal_rows import Appeal
from worker.store.desk import Opinion
from worker.store.models import DecisionRow, Review, Upload

SAMPLE = 5_000
"""Reviews that the times from the opening and from the upload are taken of: those of the period decided last."""


@dataclass(frozen=True, slots=True)
class DecisionTime:
    """Seconds from claim to verdict of one hour or day; None where no verdict was given by a claim.

    Near copies that are decided together are one verdict. So is an opinion that waits for a second person.
    """

    begin: datetime
    verdicts: int
    median_seconds: float | None
    p90_seconds: float | None


@dataclass(frozen=True, slots=True)
class TimeToDecision:
    """Seconds of the whole period; `of` is claim_to_verdict, opening_to_decision or upload_to_decision."""

    of: str
    counted: int
    median_seconds: float | None
    p90_seconds: float | None


def decision_time(asked: Asked) -> Sequence[DecisionTime]:
    """Every hour or day of the period, the oldest first."""
    found = asked.once(_from_claim)
    return [DecisionTime(begin, *found.get(begin, (0, None, None))) for begin in asked.period.begins]


def time_to_decision(asked: Asked) -> Sequence[TimeToDecision]:
    """Three rows."""
    newest = _newest(asked).subquery()
    from_opening = select(*_counted(_seconds(newest.c.closed_at - newest.c.opened_at)))
    from_upload = select(*_counted(_seconds(_from_upload(asked).c.spent)))
    return [
        TimeToDecision("claim_to_verdict", *asked.once(_from_claim)[None]),
        TimeToDecision("opening_to_decision", *asked.session.execute(from_opening).one()),
        TimeToDecision("upload_to_decision", *asked.session.execute(from_upload).one()),
    ]


def _from_claim(asked: Asked) -> dict[datetime | None, tuple[int, float | None, float | None]]:
    """Verdicts with the median and the ninth decile of their seconds, by hour or day; None: of the whole period."""
    given = _verdicts(asked)
    step = asked.period.step_of(given.c.at).label("step")
    counted = _counted(_seconds(given.c.at - given.c.claimed_at))
    rows = asked.session.execute(select(step, *counted).group_by(func.grouping_sets(tuple_(step), tuple_())))
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def _verdicts(asked: Asked) -> Subquery:
    """Verdicts by a claim, whether they were enacted or wait for another person, those taken back too."""
    begin = asked.period.begin
    enacted = select(DecisionRow.at, DecisionRow.claimed_at).where(
        DecisionRow.at >= begin, DecisionRow.claimed_at.is_not(None)
    )
    opinions = select(Opinion.at, Opinion.claimed_at).where(
        Opinion.at >= begin, Opinion.claimed_at.is_not(None)
    )
    return union_all(enacted, opinions).subquery()


def _from_upload(asked: Asked) -> Subquery:
    """Of each review the newest upload that was seen when it opened.

    Left out is what did not begin with an upload: hunts in the past, appeals, and what an appeal put in doubt.
    """
    appealed = exists().where(Appeal.outcome_id == Review.decision_id)
    begun = (Review.retro.is_(False), Review.cause != "reopened", ~appealed)
    newest = _newest(asked).where(*begun).subquery()
    return (
        select((newest.c.closed_at - func.max(Upload.first_seen_at)).label("spent"))
        .select_from(newest)
        .join(Upload, Upload.content_id == newest.c.content_id)
        .where(Upload.first_seen_at <= newest.c.opened_at)
        .group_by(newest.c.content_id, newest.c.closed_at)
        .subquery()
    )


def _newest(asked: Asked) -> Select[int, datetime, datetime | None]:
    return (
        select(Review.content_id, Review.opened_at, Review.closed_at)
        .where(Review.state == "decided", Review.closed_at >= asked.period.begin)
        .order_by(Review.closed_at.desc())
        .limit(SAMPLE)
    )


def _seconds(time: SQLCoreOperations[Any]) -> ColumnElement[float]:
    return cast(func.extract("epoch", time), Float)


def _counted(
    seconds: ColumnElement[float],
) -> tuple[ColumnElement[int], ColumnElement[float], ColumnElement[float]]:
    median, most = (func.percentile_cont(share).within_group(seconds) for share in (0.5, 0.9))
    return func.count(), median, most
