"""Reviews that one verdict decided together: near copies in the same hands, each with a decision of its own."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from worker.store import clusters
from worker.store.models import DecisionRow, Review


def decided_with(session: Session, review: Review) -> tuple[int, ...]:
    """The other reviews that were decided by the same form as this one and that its verdict still counts for."""
    decision = session.get(DecisionRow, review.decision_id) if review.decision_id is not None else None
    if review.state != "decided" or decision is None:
        return ()
    form = form_of(decision.request_id, review.id)
    return tuple(
        session.scalars(
            select(Review.id)
            .join(DecisionRow, DecisionRow.id == Review.decision_id)
            .where(
                Review.content_id.in_(clusters.copies_of(review.content_id)),
                Review.id != review.id,
                Review.state == "decided",
                DecisionRow.actor == decision.actor,
                or_(
                    DecisionRow.request_id == form,
                    DecisionRow.request_id.startswith(f"{form}#", autoescape=True),
                ),
            )
            .order_by(Review.id)
        )
    )


def request_of(form: str, review_id: int) -> str:
    """The request id of a review that is decided along with the one that the form names."""
    return f"{form}#{review_id}"


def form_of(request_id: str, review_id: int) -> str:
    """The request id of the form that decided this review, alone or along with another."""
    return request_id.removesuffix(f"#{review_id}")
