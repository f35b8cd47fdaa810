"""Reviews that one verdict decided together: near copies in the same hands, each with a decision of its own."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from worker.review.desk.offers import standing_opinions
from worker.store import clusters
from worker.store.desk import Opinion
from worker.store.models import DecisionRow, Review


def said_by(session: Session, review: Review) -> tuple[str, str] | None:
    """Who said what counts of a review, or waits for another person, and in which form (its request id)."""
    row: DecisionRow | Opinion | None
    if review.state == "decided":
        row = session.get(DecisionRow, review.decision_id) if review.decision_id is not None else None
    else:
        row = session.scalar(
            select(Opinion)
            .join(Review, standing_opinions())
            .where(Review.id == review.id)
            .order_by(Opinion.id.desc())
            .limit(1)
        )
    return (row.actor, form_of(row.request_id, review.id)) if row is not None else None


def decided_with(session: Session, review: Review) -> tuple[int, ...]:
    """The other reviews of which the same form said the same, and of which that still counts or waits."""
    said = said_by(session, review)
    near = session.scalars(
        select(Review)
        .where(
            Review.content_id.in_(clusters.copies_of(review.content_id)),
            Review.id != review.id,
            Review.state == review.state,
        )
        .order_by(Review.id)
    ).all()
    return tuple(each.id for each in near if said is not None and said_by(session, each) == said)


def request_of(form: str, review_id: int) -> str:
    """The request id of a review that is decided along with the one that the form names."""
    return f"{form}#{review_id}"


def form_of(request_id: str, review_id: int) -> str:
    """The request id of the form that decided this review, alone or along with another."""
    return request_id.removesuffix(f"#{review_id}")
