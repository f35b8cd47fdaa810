"""Claims on real PostgreSQL: one person at a time, whoever comes at once, and every way back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from config.database import Sessions
from worker.domain import Effect, Kind, State, Verdict
from worker.review.desk import claims
from worker.review.desk.claims import Claim, ClaimError
from worker.review.desk.reviews import ReviewError, decide_review
from worker.store.desk import ClaimRow, ClusterRow, PassKind
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


class Desk:
    """Reviews without media: rows as a scan leaves them, most urgent first."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.sessions: Sessions = rig.sessions

    def review(self, *, hours: float = 48, priority: int = 50, uploads: int = 1, distance: int = 4) -> int:
        with self.sessions.begin() as session:
            content = Content(sha256=uuid4().bytes * 2, size=1, kind=Kind.IMAGE, fingerprint=[])
            session.add(content)
            session.flush()
            session.add_all(
                Upload(bucket="b", key=uuid4().hex, version_id="v", state=State.HELD, content_id=content.id)
                for _ in range(uploads)
            )
            session.add(
                MatchRow(
                    content_id=content.id,
                    entry_id=content.id,
                    bank="stopncii",
                    signal_type="pdq",
                    distance=distance,
                    effect=Effect.HOLD,
                    index_epoch=1,
                )
            )
            review = Review(
                content_id=content.id,
                cause="match",
                priority=priority,
                nearest=distance,
                due_at=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, hours),
            )
            session.add(review)
            session.flush()
            return review.id

    def near_copies(self, *review_ids: int) -> None:
        with self.sessions.begin() as session:
            ids = session.scalars(select(Review.content_id).where(Review.id.in_(review_ids))).all()
            session.add_all(ClusterRow(content_id=each, cluster=min(ids)) for each in ids)

    def expire(self, review_id: int) -> None:
        with self.sessions.begin() as session:
            session.execute(
                update(ClaimRow)
                .where(ClaimRow.review_id == review_id)
                .values(lease_until=func.clock_timestamp())
            )

    def decide(
        self,
        review_id: int,
        actor: str,
        claim: Claim | None,
        verdict: Verdict = Verdict.LAWFUL,
        **more: object,
    ) -> object:
        return decide_review(
            self.sessions,
            self.rig.settings.policy,
            review_id,
            verdict,
            actor=actor,
            request_id=uuid4().hex,
            claim=claim.token if claim is not None else None,
            **more,  # type: ignore[arg-type]
        )

    def decisions(self) -> int:
        with self.sessions() as session:
            return session.scalars(select(func.count()).select_from(DecisionRow)).one()


@pytest.fixture
def desk(rig: Rig) -> Desk:
    return Desk(rig)


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Runs calls in threads that start together; what each returned or raised."""
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], object]) -> object:
        start.wait()
        try:
            return call()
        except (ClaimError, ReviewError) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def test_next_is_the_deadline_then_the_priority_then_the_nearest(desk: Desk) -> None:
    late = desk.review(hours=48, priority=90)
    soon = desk.review(hours=2, priority=10)
    with desk.sessions.begin() as session:
        due = session.get_one(Review, late).due_at
        far, near, severe = (desk.review(distance=distance) for distance in (30, 2, 31))
        session.execute(update(Review).where(Review.id.in_([far, near, severe])).values(due_at=due))
        session.execute(update(Review).where(Review.id == severe).values(priority=95))
    order = []
    for person in range(5):
        claim = claims.take_next(desk.sessions, f"p{person}")
        assert claim is not None
        order.append(claim.reviews[0])
    assert order == [soon, severe, late, near, far]
    assert claims.take_next(desk.sessions, "late") is None


def test_people_who_come_at_once_never_get_the_same_review(desk: Desk) -> None:
    for _ in range(6):
        desk.review()
    found = at_once(*(lambda n=n: claims.take_next(desk.sessions, f"p{n}") for n in range(8)))
    taken = [claim.reviews[0] for claim in found if isinstance(claim, Claim)]
    assert len(taken) == len(set(taken)) == 6
    assert found.count(None) == 2


def test_one_review_taken_by_many_at_once_is_one_persons(desk: Desk) -> None:
    review = desk.review()
    found = at_once(*(lambda n=n: claims.take(desk.sessions, review, f"p{n}") for n in range(8)))
    assert Counter(type(each) for each in found) == {Claim: 1, ClaimError: 7}


def test_a_person_has_three_at_most_however_many_pages_they_press(desk: Desk) -> None:
    for _ in range(6):
        desk.review()
    found = at_once(*(lambda: claims.take_next(desk.sessions, "maria") for _ in range(6)))
    assert Counter(type(each) for each in found) == {Claim: 3, ClaimError: 3}
    (full, *_) = [each for each in found if isinstance(each, ClaimError)]
    assert "hand one back" in str(full)


def test_an_expired_claim_returns_by_itself_and_its_token_decides_nothing_more(desk: Desk) -> None:
    review = desk.review()
    old = claims.take(desk.sessions, review, "maria")
    with pytest.raises(ClaimError, match="Somebody else has"):
        claims.take(desk.sessions, review, "jo")
    desk.expire(review)
    new = claims.take_next(desk.sessions, "jo")
    assert new is not None
    assert new.reviews == (review,)
    with pytest.raises(ClaimError, match="not in your hands"):
        desk.decide(review, "maria", old)
    assert claims.renew(desk.sessions, review, "maria", old.token) is None
    desk.decide(review, "jo", new)
    assert desk.decisions() == 1


def test_a_lease_that_ran_out_and_that_nobody_took_still_decides(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    desk.expire(review)
    desk.decide(review, "maria", claim)
    assert desk.decisions() == 1


def test_a_token_is_of_one_person_and_one_review(desk: Desk) -> None:
    one, other = desk.review(), desk.review()
    claim = claims.take(desk.sessions, one, "maria")
    for review, actor in ((one, "jo"), (other, "maria")):
        with pytest.raises(ClaimError):
            desk.decide(review, actor, claim)
    assert desk.decisions() == 0


def test_a_sign_of_life_extends_the_claim(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    renewed = claims.renew(desk.sessions, review, "maria", claim.token)
    assert renewed is not None
    assert renewed.lease_until > claim.lease_until


def test_handed_back_it_is_offered_again_at_once(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    claims.hand_back(desk.sessions, "maria", claim.token)
    again = claims.take_next(desk.sessions, "maria")
    assert again is not None
    assert again.reviews == (review,)


def test_who_stepped_back_never_gets_it_again(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    claims.step_back(desk.sessions, review, "maria", claim.token, PassKind.RECUSED)
    assert claims.take_next(desk.sessions, "maria") is None
    with pytest.raises(ClaimError, match="for somebody else"):
        claims.take(desk.sessions, review, "maria")
    # A skip does not make the last word weaker.
    claims.step_back(desk.sessions, review, "maria", None, PassKind.SKIPPED)
    assert claims.take_next(desk.sessions, "maria") is None
    assert claims.take_next(desk.sessions, "jo") is not None


def test_a_skipped_one_is_not_the_next_and_can_be_taken_by_hand(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    claims.step_back(desk.sessions, review, "maria", claim.token, PassKind.SKIPPED)
    assert claims.take_next(desk.sessions, "maria") is None
    assert claims.take(desk.sessions, review, "maria").reviews == (review,)


def test_asking_for_another_person_marks_the_review(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    claims.step_back(desk.sessions, review, "maria", claim.token, PassKind.ASKED)
    with desk.sessions() as session:
        assert session.get_one(Review, review).asked
    with pytest.raises(ClaimError, match="not in your hands"):
        claims.step_back(desk.sessions, review, "maria", claim.token, PassKind.ASKED)
    other = claims.take_next(desk.sessions, "jo")
    assert other is not None
    desk.decide(review, "jo", other)


def test_near_copies_are_taken_and_decided_together_but_for_those_in_other_hands(desk: Desk) -> None:
    first, second, third = (desk.review() for _ in range(3))
    desk.near_copies(first, second, third)
    other = claims.take(desk.sessions, third, "jo")
    assert other.reviews == (third, first, second)
    claims.hand_back(desk.sessions, "jo", other.token)
    claim = claims.take(desk.sessions, first, "maria")
    assert set(claim.reviews) == {first, second, third}
    for _ in range(2):
        desk.review()
        assert claims.take_next(desk.sessions, "maria") is not None  # a cluster counts once
    desk.decide(first, "maria", claim, also=[second])
    with desk.sessions() as session:
        states = dict(session.execute(select(Review.id, Review.state)).all())
    assert (states[first], states[second], states[third]) == ("decided", "decided", "open")


def test_over_25_uploads_their_number_is_typed(desk: Desk) -> None:
    review = desk.review(uploads=30)
    claim = claims.take(desk.sessions, review, "maria")
    for typed in (None, 3, 31):
        with pytest.raises(ReviewError, match="decides 30 uploads"):
            desk.decide(review, "maria", claim, typed=typed)
    desk.decide(review, "maria", claim, typed=30)


def test_an_operator_waits_for_who_has_it_in_hand_unless_they_force_it(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    with pytest.raises(ReviewError, match="--force"):
        desk.decide(review, "ops", None)
    desk.decide(review, "ops", None, force=True)
    with pytest.raises(ClaimError):
        desk.decide(review, "maria", claim)
    assert desk.decisions() == 1


def test_two_pages_of_one_person_that_decide_at_once_decide_once(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    found = at_once(*(lambda: desk.decide(review, "maria", claim) for _ in range(4)))
    assert sum(isinstance(each, ClaimError) for each in found) == 3
    assert desk.decisions() == 1


def test_a_suspected_minor_needs_no_claim_and_ends_others(desk: Desk) -> None:
    review = desk.review()
    claim = claims.take(desk.sessions, review, "maria")
    desk.decide(review, "jo", None, Verdict.SUSPECTED_MINOR)
    with pytest.raises(ClaimError):
        desk.decide(review, "maria", claim)
    with desk.sessions() as session:
        assert session.get_one(Review, review).preserve_until is not None
