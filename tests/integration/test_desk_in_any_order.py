"""Claims, verdicts, undos and appeals in any order: one decider, nothing before two agree, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import create_engine, delete, func, select, text, update

from config.database import Sessions, make_sessions
from config.settings import Settings
from worker.domain import Effect, Kind, State, Verdict
from worker.review.desk import appeals, claims
from worker.review.desk.claims import MOST, Claim, ClaimError
from worker.review.desk.enact import TARGET
from worker.review.desk.reviews import ReviewError, decide_review
from worker.review.desk.undo import undo
from worker.store.desk import ClaimRow, ClusterRow, Opinion, PassKind, Stage
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload
from worker.store.people import Person, Role

PEOPLE = st.sampled_from(["ann", "bo", "cy", "di"])
REVIEWS = st.integers(1, 4)
VERDICTS = st.sampled_from([Verdict.CONFIRMED, Verdict.CONFIRMED, Verdict.LAWFUL, Verdict.SUSPECTED_MINOR])


class Desk(RuleBasedStateMachine):
    """Four reviews, two of them near copies, and four people; every match is decided by two."""

    settings: Settings
    sessions: Sessions

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, int], Claim] = {}
        with self.sessions.begin() as session:
            tables = "uploads, contents, matches, reviews, decisions, upload_history, webhook_outbox, appeals"
            # The ledger of looks goes with them, and refuses it otherwise.
            session.execute(text("SET LOCAL session_replication_role = replica"))
            session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
            session.execute(text("SET LOCAL session_replication_role = origin"))
            session.execute(delete(Person))
            session.add_all(
                Person(name=name, pseudonym=name, roles=[Role.ADJUDICATOR.value]) for name in ("cy", "di")
            )
            for number in range(1, 5):
                content = Content(sha256=uuid4().bytes * 2, size=1, kind=Kind.IMAGE, fingerprint=[])
                session.add(content)
                session.flush()
                session.add(
                    Upload(
                        bucket="b", key=str(number), version_id="v", state=State.HELD, content_id=content.id
                    )
                )
                session.add(
                    MatchRow(
                        content_id=content.id,
                        entry_id=1,
                        bank="stopncii",
                        signal_type="pdq",
                        distance=number,
                        effect=Effect.HOLD,
                        index_epoch=1,
                    )
                )
                session.add(Review(content_id=content.id, cause="match", nearest=number))
                if number < 3:
                    session.add(ClusterRow(content_id=content.id, cluster=1))
                session.flush()

    @rule(who=PEOPLE, review=REVIEWS)
    def take(self, who: str, review: int) -> None:
        try:
            claim = claims.take(self.sessions, review, who)
        except ClaimError:
            return
        for each in claim.reviews:
            self.held[who, each] = claim

    @rule(who=PEOPLE)
    def take_next(self, who: str) -> None:
        try:
            claim = claims.take_next(self.sessions, who)
        except ClaimError:
            return
        for each in claim.reviews if claim is not None else ():
            assert claim is not None
            self.held[who, each] = claim

    @rule(review=REVIEWS)
    def the_lease_ends(self, review: int) -> None:
        with self.sessions.begin() as session:
            session.execute(
                update(ClaimRow)
                .where(ClaimRow.review_id == review)
                .values(lease_until=func.clock_timestamp())
            )

    @rule(who=PEOPLE, review=REVIEWS, how=st.sampled_from(["back", PassKind.RECUSED, PassKind.SKIPPED]))
    def leave(self, who: str, review: int, how: str) -> None:
        claim = self.held.pop((who, review), None)
        if claim is not None and how == "back":
            claims.hand_back(self.sessions, who, claim.token)
        elif claim is not None:
            claims.step_back(self.sessions, review, who, claim.token, PassKind(how))

    @rule(who=PEOPLE, review=REVIEWS, verdict=VERDICTS, together=st.booleans())
    def decide(self, who: str, review: int, verdict: Verdict, together: bool) -> None:
        """With whatever token this person last had: it may be gone."""
        claim = self.held.get((who, review))
        if claim is None:
            return
        owner = self.owner(review)
        before = self.states()
        stages = self.stages()
        also = [each for each in claim.reviews if each != review] if together else []
        try:
            decided = decide_review(
                self.sessions,
                self.settings.policy,
                review,
                verdict,
                actor=who,
                request_id=uuid4().hex,
                claim=claim.token,
                also=also,
            )
        except (ClaimError, ReviewError):
            assert self.states() == before
            return
        if verdict is not Verdict.SUSPECTED_MINOR:
            assert owner == who, "decided by somebody who did not have it"
            if stages[review] == Stage.FIRST:
                assert decided.waits == Stage.SECOND
        if decided.waits:
            assert self.states()[review] == before[review], "moved before two agreed"
        else:
            assert self.states()[review] == TARGET[verdict]

    @rule(who=PEOPLE, review=REVIEWS, lead=st.booleans())
    def take_back(self, who: str, review: int, lead: bool) -> None:
        try:
            undo(self.sessions, self.settings.policy, review, actor=who, request_id=uuid4().hex, lead=lead)
        except ReviewError:
            return
        with self.sessions() as session:
            claim = claims.claim_of(session, review)
        if claim is not None:
            self.held[who, review] = claim

    @rule(upload=REVIEWS)
    def appeal(self, upload: int) -> None:
        before = self.states()
        try:
            appeals.open_appeal(
                self.sessions, self.settings, upload, reason="it is me", actor="ops", source="api"
            )
        except appeals.AppealError:
            return
        assert self.states() == before

    def owner(self, review: int) -> str | None:
        with self.sessions() as session:
            return session.scalar(select(ClaimRow.actor).where(ClaimRow.review_id == review))

    def states(self) -> dict[int, str]:
        with self.sessions() as session:
            rows = session.execute(
                select(Review.id, Upload.state).join(Upload, Upload.content_id == Review.content_id)
            ).all()
        return dict(rows)

    def stages(self) -> dict[int, str]:
        with self.sessions() as session:
            return dict(session.execute(select(Review.id, Review.stage)).all())

    @invariant()
    def nobody_has_more_than_they_may(self) -> None:
        with self.sessions() as session:
            rows = session.execute(
                select(ClaimRow.actor, func.count(ClaimRow.token.distinct()))
                .join(Review, Review.id == ClaimRow.review_id)
                .where(Review.state == "open", ClaimRow.lease_until > func.clock_timestamp())
                .group_by(ClaimRow.actor)
            ).all()
        # An undo gives its review back even to who has three.
        assert all(number <= MOST + 1 for _, number in rows)

    @invariant()
    def no_review_is_lost(self) -> None:
        """Each waits for a person or has a decision that its upload's state follows."""
        with self.sessions() as session:
            reviews = session.scalars(select(Review)).all()
            verdicts = dict(session.execute(select(DecisionRow.id, DecisionRow.verdict)).all())
            waiting = session.execute(
                select(Opinion.review_id, Opinion.actor).where(
                    Opinion.stands.is_(True), Opinion.decision_id.is_(None)
                )
            ).all()
        states = self.states()
        assert len(reviews) == 4
        for review in reviews:
            assert review.state in {"open", "decided"}
            said = [actor for each, actor in waiting if each == review.id]
            assert len(said) == len(set(said)), "one person counted twice"
            if review.state == "decided":
                assert review.decision_id is not None
                assert verdicts[review.decision_id] == review.verdict
                assert states[review.id] == TARGET[Verdict(review.verdict)]
            elif review.stage in {Stage.FIRST, Stage.SECOND, Stage.ADJUDICATION}:
                counts = TARGET[Verdict(review.verdict)] if review.verdict else State.HELD
                assert states[review.id] == counts, "moved while it waits"
                expected = {Stage.FIRST: 0, Stage.SECOND: 1, Stage.ADJUDICATION: 2}[Stage(review.stage)]
                assert len(said) == expected
            else:
                assert states[review.id] == State.REMOVED


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = create_engine(database_url)
    yield make_sessions(engine)
    engine.dispose()


def test_in_any_order_one_person_decides_and_nothing_is_lost(sessions: Sessions, settings: Settings) -> None:
    second = settings.policy.second_review.model_copy(update={"share": 1.0})
    policy = settings.policy.model_copy(update={"second_review": second})
    Desk.sessions = sessions
    Desk.settings = settings.model_copy(update={"policy": policy})
    run_state_machine_as_test(
        Desk,
        settings=hypothesis_settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
