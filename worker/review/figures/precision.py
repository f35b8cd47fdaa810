"""How often a match was right, by bank and by distance, as people decided it.

Right: confirmed or a suspected minor, and lawful too, for then it was the bank's picture and only its use here was
lawful. Wrong: not a match, or the bank's hash is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, select

from bank_sync.signals import VIDEO_MD5
from worker.domain import Effect, Verdict
from worker.review.figures.period import Asked
from worker.review.figures.wilson import wilson
from worker.store.models import MatchRow, Review

RIGHT = frozenset({Verdict.CONFIRMED, Verdict.SUSPECTED_MINOR, Verdict.LAWFUL})

EXACT = "exact"
"""The same file, byte for byte: by the MD5 of a video."""

BANDS = {"0_to_10": 10, "11_to_20": 20, "21_to_31": 31, "32_to_40": 40, "41_to_48": 48, "over_48": 256}
"""Bits of 256 that the nearest match differs by, by their last."""

NO_MATCH = 256
"""`reviews.nearest` of what could not be compared."""


@dataclass(frozen=True, slots=True)
class PrecisionByBank:
    """Decided reviews with a match of one bank; `lawful` is among `right`. One of two banks counts for both."""

    bank: str
    right: int
    lawful: int
    wrong: int
    precision: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PrecisionByDistance:
    """Decided reviews by the distance of their nearest match."""

    distance: str
    right: int
    lawful: int
    wrong: int
    precision: float | None
    low: float | None
    high: float | None


def precision_by_bank(asked: Asked) -> Sequence[PrecisionByBank]:
    """The banks of which something was decided."""
    matched = (
        select(Review.id, MatchRow.bank, Review.verdict)
        .join(MatchRow, MatchRow.content_id == Review.content_id)
        .where(*_decided(asked), MatchRow.effect != Effect.SHADOW)
        .distinct()
        .subquery()
    )
    rows = asked.session.execute(
        select(matched.c.bank, matched.c.verdict, func.count()).group_by(matched.c.bank, matched.c.verdict)
    )
    found = _by_key(rows)
    return [PrecisionByBank(bank, *_precision(found[bank])) for bank in sorted(found)]


def precision_by_distance(asked: Asked) -> Sequence[PrecisionByDistance]:
    """Every band, the nearest first; the last one only where something lies in it."""
    band = _band().label("band")
    rows = asked.session.execute(
        select(band, Review.verdict, func.count())
        .where(*_decided(asked), Review.nearest < NO_MATCH)
        .group_by(band, Review.verdict)
    )
    found = _by_key(rows)
    bands = [EXACT, *(name for name, last in BANDS.items() if last < NO_MATCH or name in found)]
    return [PrecisionByDistance(name, *_precision(found.get(name, Counter()))) for name in bands]


def _decided(asked: Asked) -> tuple[ColumnElement[bool], ...]:
    return Review.state == "decided", Review.closed_at >= asked.period.begin


def _band() -> ColumnElement[str]:
    same_file = exists().where(
        MatchRow.content_id == Review.content_id,
        MatchRow.signal_type == VIDEO_MD5,
        MatchRow.effect != Effect.SHADOW,
    )
    bands = ((Review.nearest <= last, name) for name, last in BANDS.items())
    return case((and_(Review.nearest == 0, same_file), EXACT), *bands)


def _by_key(rows: Iterable[Any]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for key, verdict, number in rows:
        found.setdefault(key, Counter())[verdict] += number
    return found


def _precision(
    verdicts: Counter[str],
) -> tuple[int, int, int, float | None, float | None, float | None]:
    right = sum(verdicts[verdict] for verdict in RIGHT)
    counted = verdicts.total()
    share = wilson(right, counted)
    return right, verdicts[Verdict.LAWFUL], counted - right, share.share, share.low, share.high
