"""The few numbers that a lead reads first, made of the figures' rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.review.figures.overturns import Overturned
from worker.review.figures.speed import TimeToDecision
from worker.review.figures.waiting import Waiting
from worker.review.figures.wilson import Share, wilson


@dataclass(frozen=True, slots=True)
class Headlines:
    """Of the whole period. Shares lie in [0, 1] and are None where nothing was counted."""

    waiting: Waiting
    decided: int
    """Reviews that were decided in the period and are."""
    in_time: float | None
    decisions: int
    """Decisions, those that were undone or replaced since too."""
    views: int
    views_per_100: float | None
    speed: TimeToDecision
    """From claim to verdict."""
    overturned: Mapping[str, Overturned]
    judged: int
    """Decided reviews that rest on a match."""
    right: Share
    scanned: float | None
    """Of what was seen and still there to be read."""


def headlines(rows: Mapping[str, Sequence[Any]]) -> Headlines:
    """From the rows of all figures by name."""
    decided = sum(row.decided for row in rows["in_time"])
    good = sum(row.in_time for row in rows["in_time"])
    decisions = sum(row.all for row in rows["decisions"])
    views = sum(row.views for row in rows["views"])
    right = sum(row.right for row in rows["precision_by_distance"])
    judged = right + sum(row.wrong for row in rows["precision_by_distance"])
    (covered,) = rows["coverage"]
    there = covered.seen - covered.elsewhere
    return Headlines(
        waiting=rows["waiting"][0],
        decided=decided,
        in_time=good / decided if decided else None,
        decisions=decisions,
        views=views,
        views_per_100=100 * views / decisions if decisions else None,
        speed=next(row for row in rows["time_to_decision"] if row.of == "claim_to_verdict"),
        overturned={row.how: row for row in rows["overturns"]},
        judged=judged,
        right=wilson(right, judged),
        scanned=covered.scanned / there if there else None,
    )
