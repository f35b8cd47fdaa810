"""The blind second review: which verdicts need another person, and what follows from who said what.

The first verdict is kept as an opinion and nothing moves. A second person decides without seeing it; when both agree
it is enacted, when not an adjudicator decides who took no part, and who sees no names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from config.policy import SecondReviewSettings
from worker.domain import Effect, Verdict
from worker.review.desk.offers import standing_opinions
from worker.store.desk import Opinion, Stage
from worker.store.models import MatchRow, Review

RELEASES = frozenset({Verdict.NOT_A_MATCH, Verdict.LAWFUL, Verdict.HASH_WRONG})
"""Verdicts that serve uploads again."""


def needs_second(
    session: Session, rules: SecondReviewSettings, review: Review, verdict: Verdict, standing: str
) -> bool:
    """Whether the first verdict on a review waits for a second person. `standing` is what counted before, '' for none.

    A suspected minor never waits. The sample is drawn by the review, so that sending a verdict again draws the same.
    """
    if verdict is Verdict.SUSPECTED_MINOR:
        return False
    if rules.distance is not None and rules.distance < review.nearest <= 256 and review.cause == "match":
        return True
    if rules.restores and verdict in RELEASES and standing == Verdict.CONFIRMED:
        return True
    if rules.first_hit and _first_hit(session, review.content_id):
        return True
    return _drawn(review) < rules.share


def _first_hit(session: Session, content_id: int) -> bool:
    """Whether the content matched, and no review of another content with one of its entries is decided."""
    other = aliased(MatchRow)
    mine = select(MatchRow.entry_id).where(
        MatchRow.content_id == content_id, MatchRow.effect != Effect.SHADOW
    )
    if session.scalar(mine.limit(1)) is None:
        return False
    decided = (
        select(Review.id)
        .join(other, other.content_id == Review.content_id)
        .where(other.entry_id.in_(mine), Review.content_id != content_id, Review.state == "decided")
        .limit(1)
    )
    return session.scalar(decided) is None


def _drawn(review: Review) -> float:
    """A number in [0, 1) that belongs to this opening of the review."""
    name = f"{review.id}:{review.opened_at.isoformat()}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def opinions_on(session: Session, review: Review) -> Sequence[Opinion]:
    """The opinions that count for a review, the oldest first."""
    return session.scalars(
        select(Opinion).join(Review, standing_opinions()).where(Review.id == review.id).order_by(Opinion.id)
    ).all()


def next_stage(stage: Stage, first: Verdict | None, verdict: Verdict, *, needs: bool) -> Stage | None:
    """Where a verdict leads: to whoever is asked next, or None: it is enacted."""
    if verdict is Verdict.SUSPECTED_MINOR:
        return None
    if stage is Stage.FIRST:
        return Stage.SECOND if needs else None
    if stage is Stage.SECOND and first is not None and first is not verdict:
        return Stage.ADJUDICATION
    return None
