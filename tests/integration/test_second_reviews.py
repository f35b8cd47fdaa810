"""Undo, the blind second review and appeals, on real uploads with a bank, an own bank and a platform that is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text, update

from bank_sync.bank import BankEntry, Feedback
from bank_sync.epoch import read_pointer
from worker.domain import PURGED, Kind, State, Verdict
from worker.operate.health import alarms
from worker.review.desk import appeals, claims
from worker.review.desk.claims import ClaimError
from worker.review.desk.reviews import Decided, ReviewError, decide_review
from worker.review.desk.undo import Undone, undo
from worker.store.appeal_rows import Appeal
from worker.store.desk import Opinion
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload, WebhookMessage
from worker.store.people import Person, Role

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


class Case:
    """One content that matches the bank, uploaded twice, held, with its review."""

    def __init__(self, rig: Rig, bucket: str) -> None:
        self.rig = rig
        self.bucket = bucket
        self.body = rig.jpeg(rig.picture(1))
        rig.bank_pdq(rig.hash_of(self.body))
        self.first, _ = rig.scan(bucket, "first.jpg", self.body)
        self.second, _ = rig.scan(bucket, "second.jpg", self.body)
        with rig.sessions() as session:
            self.review = session.scalars(select(Review.id)).one()

    def rule(self, **second_review: object) -> None:
        self.rig.with_policy(second_review=second_review)

    def decide(self, actor: str, verdict: Verdict, review: int | None = None) -> Decided:
        """As on the pages: taken, then decided by the claim."""
        review = review or self.review
        claim = claims.take(self.rig.sessions, review, actor)
        return decide_review(
            self.rig.sessions,
            self.rig.settings.policy,
            review,
            verdict,
            actor=actor,
            request_id=uuid4().hex,
            claim=claim.token,
        )

    def people(self, **roles: Role) -> None:
        """People with these pseudonyms and roles."""
        with self.rig.sessions.begin() as session:
            session.add_all(
                Person(name=name, pseudonym=name, roles=[role.value]) for name, role in roles.items()
            )

    def alarms(self) -> set[str]:
        """Which alarms of people's duties are raised."""
        with self.rig.sessions() as session:
            found = alarms(session, self.rig.settings, lambda: read_pointer(self.rig.settings.epochs_dir))
        return {alarm.code.value for alarm in found} & {"no_adjudicator", "not_preserved"}

    def undo(self, actor: str, *, lead: bool = False, request_id: str = "") -> Undone:
        return undo(
            self.rig.sessions,
            self.rig.settings.policy,
            self.review,
            actor=actor,
            request_id=request_id or uuid4().hex,
            lead=lead,
        )

    def appeal(self) -> appeals.Opened:
        return appeals.open_appeal(
            self.rig.sessions,
            self.rig.settings,
            self.first,
            reason="that is me, and I agreed",
            actor="ops",
            source="api",
        )

    def states(self) -> set[str]:
        with self.rig.sessions() as session:
            return set(session.scalars(select(Upload.state)))

    def row(self, review: int | None = None) -> Review:
        with self.rig.sessions() as session:
            return session.get_one(Review, review or self.review)

    def sent(self) -> None:
        """What waits for the bank has arrived there."""
        with self.rig.sessions.begin() as session:
            session.execute(update(Feedback).where(Feedback.dropped.is_(None)).values(sent_at=func.now()))

    def told(self) -> list[str]:
        with self.rig.sessions() as session:
            query = select(Feedback.value).where(Feedback.dropped.is_(None)).order_by(Feedback.id)
            return list(session.scalars(query))

    def world(self) -> dict[str, object]:
        """Everything that a decision may change, but for the record of it and its times."""
        with self.rig.sessions() as session:
            return {
                "uploads": session.execute(
                    select(
                        Upload.id,
                        Upload.state,
                        Upload.reason,
                        Upload.access_wanted,
                        Upload.purge_at.is_(None),
                    ).order_by(Upload.id)
                ).all(),
                "matches": session.execute(
                    select(MatchRow.id, MatchRow.dismissed_by).order_by(MatchRow.id)
                ).all(),
                "own": session.scalars(
                    select(BankEntry.live).where(BankEntry.bank == "own", BankEntry.live)
                ).all(),
                "review": session.execute(
                    select(
                        Review.state,
                        Review.stage,
                        Review.cause,
                        Review.verdict,
                        Review.decision_id,
                        Review.preserve_until,
                        Review.due_at,
                    )
                ).all(),
                "told": session.scalars(
                    select(Feedback.value).where(Feedback.dropped.is_(None)).order_by(Feedback.id)
                ).all(),
            }


@pytest.fixture
def case(rig: Rig, versioned_bucket: str) -> Case:
    return Case(rig, versioned_bucket)


@pytest.mark.parametrize("verdict", [each for each in Verdict if each is not Verdict.SUSPECTED_MINOR])
def test_an_undo_puts_everything_back_and_the_review_into_the_same_hands(
    case: Case, verdict: Verdict
) -> None:
    before = case.world()
    case.decide("maria", verdict)
    undone = case.undo("maria")
    assert undone.kept == 0
    assert case.world() == before
    with case.rig.sessions() as session:
        claim = claims.claim_of(session, case.review)
        assert claim is not None
        assert claim.actor == "maria"
        kinds = session.execute(select(DecisionRow.kind, DecisionRow.verdict).order_by(DecisionRow.id)).all()
    assert kinds == [("verdict", verdict), ("undo", "")]


def test_an_undo_of_a_second_verdict_brings_the_first_back(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    before = case.world()
    decide_review(
        case.rig.sessions,
        case.rig.settings.policy,
        case.review,
        Verdict.LAWFUL,
        actor="ops",
        request_id="two",
    )
    assert case.states() == {State.RELEASED}
    case.undo("ops")
    after = case.world()
    assert after.pop("matches") == before.pop("matches")
    assert after == before
    assert case.row().verdict == Verdict.CONFIRMED


def test_what_was_told_to_the_bank_is_told_otherwise_by_an_undo(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    case.sent()
    case.undo("maria")
    assert case.told() == ["PendingReview", "Blocked", "PendingReview"]


def test_an_undo_reaches_what_came_since_and_was_judged_by_the_decision(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    third, state = case.rig.scan(case.bucket, "third.jpg", case.body)
    assert state is State.REMOVED
    case.undo("maria")
    assert case.rig.row(third).state == State.HELD
    case.decide("maria", Verdict.NOT_A_MATCH)
    fourth, state = case.rig.scan(case.bucket, "fourth.jpg", case.body)
    assert state is State.CLEAR
    case.undo("maria")
    assert case.rig.row(fourth).state == State.HELD
    assert case.rig.row(fourth).purge_at is None


def test_an_undo_brings_back_the_bytes_that_are_there_and_counts_the_others(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    case.rig.make_due(case.second)
    case.rig.process(case.second)
    assert case.rig.row(case.second).access_applied == PURGED
    undone = case.undo("maria")
    assert ([upload for upload, _ in undone.moved], undone.kept) == ([case.first], 1)


def test_only_who_decided_undoes_within_ten_minutes_and_a_lead_later(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    with pytest.raises(ReviewError, match="Somebody else decided"):
        case.undo("jo")
    with case.rig.sessions.begin() as session:
        session.execute(text("ALTER TABLE decisions DISABLE TRIGGER append_only"))
        session.execute(update(DecisionRow).values(at=DecisionRow.at - timedelta(minutes=11)))
    with pytest.raises(ReviewError, match="10 minutes"):
        case.undo("maria")
    case.undo("jo", lead=True)
    assert case.states() == {State.HELD}


def test_a_request_undoes_once_and_there_is_nothing_more_to_undo(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    once = case.undo("maria", request_id="u")
    again = case.undo("maria", request_id="u")
    assert (again.undo_id, again.repeated, again.moved) == (once.undo_id, True, ())
    with pytest.raises(ReviewError, match="no decision to undo"):
        case.undo("maria")


def test_the_first_verdict_moves_nothing_and_agreement_enacts_it(case: Case) -> None:
    case.rule(share=1)
    before = case.world()
    assert case.decide("maria", Verdict.CONFIRMED).waits == "second"
    after = case.world()
    assert case.row().stage == "second"
    assert {**after, "review": 0} == {**before, "review": 0}
    with pytest.raises(ClaimError, match="for somebody else"):
        claims.take(case.rig.sessions, case.review, "maria")
    assert claims.take_next(case.rig.sessions, "maria") is None
    assert case.decide("jo", Verdict.CONFIRMED).decision_id is not None
    assert case.states() == {State.REMOVED}


def test_an_operator_is_no_way_around_the_second_person(case: Case) -> None:
    case.rule(share=1)
    policy = case.rig.settings.policy
    for number, told in enumerate((None, "another person than ops")):
        request = {"actor": "ops", "request_id": str(number), "force": True}
        if told is None:
            decide_review(case.rig.sessions, policy, case.review, Verdict.CONFIRMED, **request)  # type: ignore[arg-type]
        else:
            with pytest.raises(ReviewError, match=told):
                decide_review(case.rig.sessions, policy, case.review, Verdict.CONFIRMED, **request)  # type: ignore[arg-type]
    assert case.states() == {State.HELD}


def test_two_who_disagree_are_settled_by_an_adjudicator_who_took_no_part(case: Case) -> None:
    case.rule(share=1)
    case.people(maria=Role.LEAD, jo=Role.ADJUDICATOR, lou=Role.REVIEWER)
    case.decide("maria", Verdict.CONFIRMED)
    assert case.decide("jo", Verdict.LAWFUL).waits == "adjudication"
    assert case.states() == {State.HELD}
    for person in ("maria", "jo", "lou", "nobody"):
        with pytest.raises(ClaimError, match="an adjudicator decides who took no part"):
            claims.take(case.rig.sessions, case.review, person)
        assert claims.take_next(case.rig.sessions, person) is None
    for name in ("operator:lou", "operator:root", "operator:jo"):
        with pytest.raises(ReviewError, match="needs another person"):
            decide_review(
                case.rig.sessions,
                case.rig.settings.policy,
                case.review,
                Verdict.LAWFUL,
                actor=name,
                request_id=name,
            )
    assert case.alarms() == {"no_adjudicator"}
    case.people(kim=Role.ADJUDICATOR)
    assert case.alarms() == set()
    case.decide("kim", Verdict.LAWFUL)
    assert case.states() == {State.RELEASED}
    case.undo("kim")
    assert case.row().stage == "adjudication"
    assert case.states() == {State.HELD}


def test_a_first_verdict_can_be_taken_back_until_somebody_has_the_review(case: Case) -> None:
    case.rule(share=1)
    case.decide("maria", Verdict.CONFIRMED)
    claims.take(case.rig.sessions, case.review, "jo")
    with pytest.raises(ReviewError, match="in another person's hands"):
        case.undo("maria")
    case.decide("jo", Verdict.LAWFUL)
    with pytest.raises(ReviewError, match="not yours"):
        case.undo("maria")
    case.undo("jo")
    assert case.row().stage == "second"
    case.decide("jo", Verdict.CONFIRMED)
    assert case.states() == {State.REMOVED}


def test_a_suspected_minor_acts_at_once_from_anyone_at_any_stage(case: Case) -> None:
    case.rule(share=1)
    case.decide("maria", Verdict.CONFIRMED)
    decided = case.decide("jo", Verdict.SUSPECTED_MINOR)
    assert decided.decision_id is not None
    assert case.states() == {State.HELD}
    assert case.told() == []
    row = case.row()
    assert row.closed_at is not None
    assert row.preserve_until is not None
    assert timedelta(days=364) < row.preserve_until - row.closed_at < timedelta(days=366)


@pytest.mark.parametrize(
    ("rule", "waits"),
    [
        ({"distance": 0}, ""),
        ({"first_hit": True}, "second"),
        ({"restores": True}, ""),
        ({"share": 0.0}, ""),
        ({}, ""),
    ],
)
def test_rules_ask_for_a_second_person(case: Case, rule: dict[str, object], waits: str) -> None:
    case.rule(**rule)
    assert case.decide("maria", Verdict.CONFIRMED).waits == waits


def test_a_far_match_needs_two(case: Case) -> None:
    case.rule(distance=20)
    with case.rig.sessions.begin() as session:
        session.execute(update(Review).values(nearest=21))
    assert case.decide("maria", Verdict.CONFIRMED).waits == "second"


def test_an_entry_that_was_decided_once_is_no_first_hit(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    case.rule(first_hit=True)
    copy = case.rig.jpeg(case.rig.picture(1), quality=40)
    case.rig.scan(case.bucket, "copy.jpg", copy)
    with case.rig.sessions() as session:
        other = session.scalars(select(Review.id).where(Review.id != case.review)).one()
    assert case.decide("maria", Verdict.CONFIRMED, other).waits == ""


def test_to_restore_what_was_removed_two_persons_are_needed(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    case.rule(restores=True)
    again = decide_review(
        case.rig.sessions, case.rig.settings.policy, case.review, Verdict.LAWFUL, actor="ops", request_id="r"
    )
    assert again.waits == "second"
    assert case.states() == {State.REMOVED}
    case.decide("jo", Verdict.LAWFUL)
    assert case.states() == {State.RELEASED}


def test_an_appeal_is_decided_by_somebody_else_and_nothing_is_deleted_meanwhile(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    opened = case.appeal()
    assert case.appeal() == appeals.Opened(opened.appeal_id, case.review, known=True)
    assert case.row().stage == "appeal"
    with case.rig.sessions() as session:
        assert set(session.scalars(select(Upload.purge_at))) == {None}
    with pytest.raises(ClaimError, match="for somebody else"):
        claims.take(case.rig.sessions, case.review, "maria")
    case.decide("jo", Verdict.CONFIRMED)
    with case.rig.sessions() as session:
        appeal = session.get_one(Appeal, opened.appeal_id)
        assert (appeal.state, appeal.decided_by) == ("upheld", "jo")
        assert None not in set(session.scalars(select(Upload.purge_at)))


def test_those_who_agreed_on_a_removal_decide_no_appeal_of_it(case: Case) -> None:
    case.rule(share=1)
    case.decide("maria", Verdict.CONFIRMED)
    case.decide("jo", Verdict.CONFIRMED)
    case.appeal()
    for person in ("maria", "jo"):
        with pytest.raises(ClaimError, match="for somebody else"):
            claims.take(case.rig.sessions, case.review, person)
    assert case.decide("kim", Verdict.LAWFUL).waits == ""


def test_an_overturn_restores_tells_the_bank_and_opens_the_entrys_other_removals(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    copy, _ = case.rig.scan(case.bucket, "copy.jpg", case.rig.jpeg(case.rig.picture(1), quality=30))
    with case.rig.sessions() as session:
        other = session.scalars(select(Review.id).where(Review.id != case.review)).one()
    case.decide("maria", Verdict.CONFIRMED, other)
    case.appeal()
    decided = case.decide("jo", Verdict.HASH_WRONG)
    assert {upload for upload, _ in decided.moved} == {case.first, case.second}
    assert case.told()[-1] == "NotBlocked"
    again = case.row(other)
    assert (again.state, again.cause, again.verdict) == ("open", "reopened", "confirmed")
    assert (case.rig.row(copy).state, case.rig.row(copy).purge_at) == (State.REMOVED, None)
    case.undo("jo")
    assert (case.row().stage, case.row().verdict) == ("appeal", "confirmed")
    assert case.row(other).state == "decided"
    assert case.rig.row(copy).purge_at is not None
    with case.rig.sessions() as session:
        assert session.scalars(select(Appeal.state)).all() == ["open"]


def test_an_overturn_waits_for_other_decisions_before_it_holds_what_they_wait_for(case: Case) -> None:
    case.decide("maria", Verdict.CONFIRMED)
    copy, _ = case.rig.scan(case.bucket, "copy.jpg", case.rig.jpeg(case.rig.picture(1), quality=30))
    with case.rig.sessions() as session:
        other = session.scalars(select(Review.id).where(Review.id != case.review)).one()
    case.decide("maria", Verdict.CONFIRMED, other)
    case.first = copy
    case.appeal()
    first, second = case.row().content_id, case.row(other).content_id
    locked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with ThreadPoolExecutor(1) as pool:
        with case.rig.sessions.begin() as decision, case.rig.sessions() as watch:
            decision.execute(select(Content.id).where(Content.id == first).with_for_update())
            overturn = pool.submit(case.decide, "jo", Verdict.HASH_WRONG, other)
            while not watch.scalar(locked):
                assert not overturn.done()
                watch.rollback()
            # It would have held this one, its own, and both would wait for ever.
            decision.execute(select(Content.id).where(Content.id == second).with_for_update(nowait=True))
        overturn.result(30)
    assert case.row(case.review).cause == "reopened"


def test_what_was_not_removed_by_a_decision_is_not_appealed(case: Case) -> None:
    with pytest.raises(appeals.AppealError, match="not removed by a decision"):
        case.appeal()
    case.decide("maria", Verdict.SUSPECTED_MINOR)
    with pytest.raises(appeals.AppealError, match="not removed by a decision"):
        case.appeal()


def test_near_copies_of_one_entry_become_a_cluster(case: Case) -> None:
    case.rig.scan(case.bucket, "copy.jpg", case.rig.jpeg(case.rig.picture(1), quality=50))
    case.rig.scan(case.bucket, "other.jpg", case.rig.jpeg(case.rig.picture(2)))
    claim = claims.take(case.rig.sessions, case.review, "maria")
    assert len(claim.reviews) == 2
    decided = decide_review(
        case.rig.sessions,
        case.rig.settings.policy,
        case.review,
        Verdict.CONFIRMED,
        actor="maria",
        request_id="both",
        claim=claim.token,
        also=claim.reviews[1:],
    )
    assert len(decided.moved) == 3


def test_an_opinion_is_no_secret_of_the_database_but_no_decision(case: Case) -> None:
    case.rule(share=1)
    case.decide("maria", Verdict.CONFIRMED)
    with case.rig.sessions() as session:
        assert session.scalars(select(Opinion.actor)).all() == ["maria"]
        assert session.scalars(select(DecisionRow)).all() == []
        assert "item.removed" not in set(session.scalars(select(WebhookMessage.type)))
        assert session.scalars(select(Content.kind)).all() == [Kind.IMAGE]
