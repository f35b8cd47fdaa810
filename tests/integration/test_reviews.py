"""Decisions on real uploads: what moves, what is remembered, what the bank and the platform are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from bank_sync.bank import BankEntry, Feedback, OwnSupport
from worker.domain import State, Verdict
from worker.review.desk.reviews import Decided, ReviewError, decide_review
from worker.store.models import DecisionRow, MatchRow, Review, Upload, WebhookMessage

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


class Case:
    """One content that matches the bank, uploaded twice, held, with its review."""

    def __init__(self, rig: Rig, bucket: str) -> None:
        self.rig = rig
        self.bucket = bucket
        self.body = rig.jpeg(rig.picture(1))
        rig.bank_pdq(rig.hash_of(self.body))
        self.first, state = rig.scan(bucket, "first.jpg", self.body)
        assert state is State.HELD
        self.second, state = rig.scan(bucket, "second.jpg", self.body)
        assert state is State.HELD
        with rig.sessions() as session:
            self.review = session.scalars(select(Review.id)).one()

    def decide(self, verdict: Verdict, request_id: str = "one", reason: str = "") -> Decided:
        return decide_review(
            self.rig.sessions,
            self.rig.settings.policy,
            self.review,
            verdict,
            actor="maria",
            request_id=request_id,
            reason=reason,
        )

    def states(self) -> set[str]:
        with self.rig.sessions() as session:
            return set(session.scalars(select(Upload.state)))

    def told(self) -> list[str]:
        """What waits to be told to the bank, or was."""
        with self.rig.sessions() as session:
            query = select(Feedback.value).where(Feedback.dropped.is_(None)).order_by(Feedback.id)
            return list(session.scalars(query))

    def own_bank(self) -> list[bool]:
        """For each entry of the own bank, whether it is live."""
        with self.rig.sessions() as session:
            return list(session.scalars(select(BankEntry.live).where(BankEntry.bank == "own")))


@pytest.fixture
def case(rig: Rig, versioned_bucket: str) -> Case:
    return Case(rig, versioned_bucket)


def test_confirmed_moves_every_upload_of_the_content(case: Case) -> None:
    decided = case.decide(Verdict.CONFIRMED, reason="the person on the report")
    assert {upload_id for upload_id, _ in decided.moved} == {case.first, case.second}
    assert case.states() == {State.REMOVED}
    with case.rig.sessions() as session:
        review = session.get_one(Review, case.review)
        assert (review.state, review.verdict) == ("decided", "confirmed")
        decision = session.scalars(select(DecisionRow)).one()
        assert (decision.actor, decision.reason) == ("maria", "the person on the report")
        assert all(session.scalars(select(Upload.purge_at.is_not(None))))
        assert set(session.scalars(select(Upload.announced_at))) == {None}
        # Typed for states and history: free words stay with the decision.
        assert set(session.scalars(select(Upload.reason))) == {"decided_confirmed"}


def test_confirmed_tells_bank_platform_and_own_bank(case: Case) -> None:
    case.decide(Verdict.CONFIRMED)
    assert case.told() == ["PendingReview", "Blocked"]
    assert case.own_bank() == [True]
    with case.rig.sessions() as session:
        events = list(session.scalars(select(WebhookMessage.type).order_by(WebhookMessage.id)))
    assert events == ["item.held", "item.held", "item.removed", "item.removed"]


def test_a_request_decides_once(case: Case) -> None:
    once = case.decide(Verdict.CONFIRMED)
    again = case.decide(Verdict.CONFIRMED)
    assert again == Decided(once.decision_id, Verdict.CONFIRMED, repeated=True)
    assert case.told() == ["PendingReview", "Blocked"]
    with case.rig.sessions() as session:
        assert len(session.scalars(select(DecisionRow)).all()) == 1


def test_a_request_id_is_not_used_for_another_verdict(case: Case) -> None:
    case.decide(Verdict.CONFIRMED)
    with pytest.raises(ReviewError, match="already decided something else"):
        case.decide(Verdict.LAWFUL)
    assert case.states() == {State.REMOVED}


def test_undone_before_the_bytes_are_deleted(case: Case) -> None:
    case.decide(Verdict.CONFIRMED, "one")
    case.rig.make_due(case.second)
    case.rig.process(case.second)  # deletes the second upload's bytes, the first one's wait
    undone = case.decide(Verdict.NOT_A_MATCH, "two")
    assert [upload_id for upload_id, _ in undone.moved] == [case.first]
    assert undone.kept == 1
    case.rig.process(case.first)
    assert case.rig.get(case.bucket, "first.jpg") == case.body
    assert case.rig.get(case.bucket, "second.jpg") is None
    assert case.own_bank() == [False]
    assert case.told() == ["PendingReview", "Blocked", "NotBlocked"]
    with case.rig.sessions() as session:
        assert session.get_one(Upload, case.first).purge_at is None
        assert all(session.scalars(select(MatchRow.dismissed_by.is_not(None))))


def test_deciding_the_same_again_keeps_nothing_back(case: Case) -> None:
    case.decide(Verdict.CONFIRMED, "one")
    case.rig.make_due(case.first)
    case.rig.process(case.first)
    again = case.decide(Verdict.CONFIRMED, "two")
    assert (again.moved, again.kept) == ((), 0)


@pytest.mark.parametrize("verdict", [Verdict.NOT_A_MATCH, Verdict.LAWFUL, Verdict.HASH_WRONG])
def test_a_release_lasts_for_the_uploads_to_come(case: Case, verdict: Verdict) -> None:
    case.decide(verdict)
    assert case.states() == {State.RELEASED}
    assert case.told() == ["PendingReview", "NotBlocked"]
    case.rig.process(case.first)
    assert case.rig.get(case.bucket, "first.jpg") == case.body
    _, state = case.rig.scan(case.bucket, "third.jpg", case.body)
    assert state is State.CLEAR


def test_a_suspected_minor_stays_withheld_and_nothing_more_is_told(case: Case) -> None:
    decided = case.decide(Verdict.SUSPECTED_MINOR)
    assert decided.moved == ()
    assert case.states() == {State.HELD}
    assert case.told() == []
    assert case.own_bank() == [True]


def test_a_suspected_minor_stops_the_deletion_and_what_was_not_told_yet(case: Case) -> None:
    case.decide(Verdict.CONFIRMED, "one")
    case.decide(Verdict.SUSPECTED_MINOR, "two")
    assert case.states() == {State.HELD}
    assert case.told() == []
    assert case.own_bank() == [True]
    with case.rig.sessions() as session:
        assert set(session.scalars(select(Upload.purge_at))) == {None}


def test_what_was_told_before_a_suspected_minor_stays_told(case: Case) -> None:
    with case.rig.sessions.begin() as session:
        session.execute(update(Feedback).values(sent_at=Feedback.created_at))
    case.decide(Verdict.SUSPECTED_MINOR)
    assert case.told() == ["PendingReview"]


def test_the_own_bank_rests_on_the_entries_that_led_to_it(case: Case) -> None:
    case.decide(Verdict.CONFIRMED)
    with case.rig.sessions() as session:
        assert list(session.scalars(select(OwnSupport.standing))) == [False]


def test_an_unknown_review_is_named(rig: Rig) -> None:
    with pytest.raises(ReviewError, match=r"no review 99\..*hashwarden reviews"):
        decide_review(rig.sessions, rig.settings.policy, 99, Verdict.LAWFUL, actor="maria", request_id="one")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"actor": " "}, "needs a name"),
        ({"request_id": ""}, "needs a request id"),
        ({"reason": "a\x00b"}, "control characters"),
        ({"reason": "a" * 4001}, "4001 characters"),
    ],
)
def test_texts_that_can_not_be_kept_are_refused(case: Case, texts: dict[str, str], told: str) -> None:
    given = {"actor": "maria", "request_id": "one", "reason": "", **texts}
    with pytest.raises(ReviewError, match=told):
        decide_review(
            case.rig.sessions,
            case.rig.settings.policy,
            case.review,
            Verdict.LAWFUL,
            actor=given["actor"],
            request_id=given["request_id"],
            reason=given["reason"],
        )
    assert case.states() == {State.HELD}
