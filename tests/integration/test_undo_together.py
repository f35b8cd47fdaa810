"""What one form decided is taken back by one form: all of it or nothing, and it is in the same hands together."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import func, select

from config.policy import SecondReviewSettings
from tests.integration.conftest import Rig
from tests.integration.test_claims import Desk
from worker.domain import Verdict
from worker.review.desk import claims
from worker.review.desk.checks import ReviewError
from worker.review.desk.together import decided_with
from worker.review.desk.undo import Undone, undo, undoable
from worker.store.models import DecisionRow, Review


@pytest.fixture
def desk(rig: Rig) -> Desk:
    return Desk(rig)


@pytest.fixture
def near(desk: Desk) -> list[int]:
    """Three near copies that maria has in hand."""
    reviews = [desk.review() for _ in range(3)]
    desk.near_copies(*reviews)
    claims.take(desk.sessions, reviews[0], "maria")
    return reviews


def decide(desk: Desk, reviews: list[int], verdict: Verdict = Verdict.LAWFUL) -> None:
    claim = claims.take(desk.sessions, reviews[0], "maria")
    desk.decide(reviews[0], "maria", claim, verdict, also=reviews[1:])


def take_back(desk: Desk, reviews: list[int], actor: str = "maria", request_id: str = "") -> Undone:
    return undo(
        desk.sessions,
        desk.rig.settings.policy,
        reviews[0],
        actor=actor,
        request_id=request_id or uuid4().hex,
        also=reviews[1:],
    )


def states(desk: Desk) -> list[str]:
    with desk.sessions() as session:
        return list(session.scalars(select(Review.state).order_by(Review.id)))


def together(desk: Desk, review: int) -> tuple[int, ...]:
    with desk.sessions() as session:
        return decided_with(session, session.get_one(Review, review))


def test_what_was_decided_together_is_undone_together_and_in_the_same_hands(
    desk: Desk, near: list[int]
) -> None:
    decide(desk, near)
    assert together(desk, near[1]) == (near[0], near[2])
    undone = take_back(desk, [near[1], near[0], near[2]])
    assert len(undone.moved) == 3
    assert states(desk) == ["open"] * 3
    claim = claims.take(desk.sessions, near[1], "maria")
    assert set(claim.reviews) == set(near)
    desk.decide(near[1], "maria", claim, Verdict.CONFIRMED, also=[near[0], near[2]])
    assert states(desk) == ["decided"] * 3


def test_sent_again_it_undoes_once(desk: Desk, near: list[int]) -> None:
    decide(desk, near)
    first = take_back(desk, near, request_id="u")
    again = take_back(desk, near, request_id="u")
    assert again.repeated
    assert again.undo_id == first.undo_id
    with desk.sessions() as session:
        assert session.scalar(select(func.count()).where(DecisionRow.kind == "undo")) == 3


def test_what_another_form_decided_is_refused_and_nothing_is_undone(desk: Desk, near: list[int]) -> None:
    decide(desk, near[:2])
    decide(desk, near[2:])
    assert together(desk, near[0]) == (near[1],)
    with pytest.raises(ReviewError, match=f"Review {near[2]} was not decided together with review {near[0]}"):
        take_back(desk, [near[0], near[2]])
    assert states(desk) == ["decided"] * 3


def test_what_was_decided_again_since_is_no_more_undone_with_it(desk: Desk, near: list[int]) -> None:
    decide(desk, near)
    desk.decide(near[2], "ops", None, Verdict.CONFIRMED)
    assert together(desk, near[0]) == (near[1],)
    with pytest.raises(ReviewError, match="was not decided together"):
        take_back(desk, near)
    take_back(desk, near[:2])
    assert states(desk) == ["open", "open", "decided"]


def test_verdicts_that_wait_for_a_second_person_are_taken_back_together(desk: Desk, near: list[int]) -> None:
    policy = desk.rig.settings.policy
    asked = policy.model_copy(update={"second_review": SecondReviewSettings(share=1.0)})
    desk.rig.settings = desk.rig.settings.model_copy(update={"policy": asked})
    decide(desk, near)
    assert together(desk, near[0]) == (near[1], near[2])
    take_back(desk, near)
    with desk.sessions() as session:
        assert set(session.scalars(select(Review.stage))) == {"first"}
    assert set(claims.take(desk.sessions, near[0], "maria").reviews) == set(near)
    assert take_back_is_refused(desk, near)


def take_back_is_refused(desk: Desk, reviews: list[int]) -> bool:
    """Nothing is said of them any more."""
    with pytest.raises(ReviewError, match="no decision to undo"):
        take_back(desk, reviews)
    return desk.decisions() == 0


def test_the_queue_offers_one_undo_for_what_was_decided_together(desk: Desk, near: list[int]) -> None:
    decide(desk, near)
    decide(desk, [desk.review()])
    with desk.sessions() as session:
        alone, all_three = undoable(session, "maria")
    assert alone.together == ()
    assert {all_three.review_id, *all_three.together} == set(near)
