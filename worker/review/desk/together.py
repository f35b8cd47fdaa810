"""Reviews that one verdict decided together: near copies in the same hands, each with a decision of its own."""

from __future__ import annotations

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.orm import Session

from worker.review.desk.offers import standing_opinions
from worker.store import clusters
from worker.store.desk import Opinion
from worker.store.models import DecisionRow, Review


def said_of(session: Session, which: ColumnElement[bool]) -> dict[int, tuple[str, str]]:
    """By review, of those that `which` names: who said what counts or waits for another person, and in which form (its
    request id). Reviews of which nothing is said are left out."""
    counts = (
        select(Review.id, DecisionRow.actor, DecisionRow.request_id)
        .join(DecisionRow, DecisionRow.id == Review.decision_id)
        .where(Review.state == "decided", which)
    )
    waits = (
        select(Review.id, Opinion.actor, Opinion.request_id)
        .join(Opinion, standing_opinions())
        .where(Review.state == "open", which)
        # The newest of a review comes last, and is what is kept.
        .order_by(Opinion.id)
    )
    return {
        row.id: (row.actor, form_of(row.request_id, row.id))
        for query in (counts, waits)
        for row in session.execute(query)
    }


def decided_with(session: Session, review: Review) -> tuple[int, ...]:
    """The other reviews of which the same form said the same, and of which that still counts or waits."""
    # One list of ids: an OR would read every review there is.
    near = clusters.copies_of(review.content_id).union_all(select(literal(review.content_id)))
    said = said_of(session, Review.content_id.in_(near))
    mine = said.pop(review.id, None)
    return tuple(sorted(each for each, other in said.items() if other == mine))


def request_of(form: str, review_id: int) -> str:
    """The request id of a review that is decided along with the one that the form names."""
    return f"{form}#{review_id}"


def form_of(request_id: str, review_id: int) -> str:
    """The request id of the form that decided this review, alone or along with another."""
    return request_id.removesuffix(f"#{review_id}")
