"""The desk as one signed-in person uses it: what waits, one review, and taking, leaving, deciding, undoing, appealing.

Pages and the API are two faces of this; what a person may see and touch is decided here and nowhere else. Which role
may come to the desk at all is asked at its door, by the table of permissions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, select

from config.database import Sessions
from config.settings import Settings
from config.words import _
from worker.domain import Lane, State, Verdict
from worker.review import audit
from worker.review.desk import appeals, claims, proposals
from worker.review.desk.checks import MAX_REQUEST_ID, ReviewError, SecondPersonError, check_text
from worker.review.desk.claims import Claim
from worker.review.desk.listing import ReviewLine, list_reviews, newest_reviews
from worker.review.desk.look import Look, check_seen, look_at
from worker.review.desk.queue import Counts, Part, Show, counts, not_a_minor, part_counts, queue
from worker.review.desk.reviews import Decided, decide_review
from worker.review.desk.undo import Mine, Undone, undo, undoable
from worker.review.faults import NotThereError, UnknownReasonError
from worker.review.people.people import Visitor
from worker.review.people.permissions import May
from worker.store.appeal_rows import Appeal
from worker.store.desk import PassKind
from worker.store.models import DecisionRow, Review, Upload
from worker.store.proposals import Proposal, ProposalKind

Wake = Callable[[Sequence[tuple[int, Lane]]], object]
"""Wakes workers for uploads that a decision moved. Must not raise when the broker is away."""


class Leave(StrEnum):
    """How a person lets go of a review."""

    BACK = "back"
    """Hands it back: it may be offered to them again."""
    SKIPPED = "skipped"
    RECUSED = "recused"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits, as one person sees it, the most urgent first."""

    lines: tuple[ReviewLine, ...]
    parts: dict[Show, int]
    """How many open reviews each part has for this person."""
    undoable: tuple[Mine, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a verdict: it was taken, or it is a proposal that somebody else has to approve."""

    decided: Decided | None
    proposal_id: int | None
    hidden: bool = False
    """This person may not see the review any more."""
    repeated: bool = False
    """The same request had come before."""


class Desk:
    """Every method takes who it is. Thread-safe; each call is a transaction of its own."""

    def __init__(self, settings: Settings, sessions: Sessions, wake: Wake) -> None:
        self._settings = settings
        self._sessions = sessions
        self._wake = wake

    def queue(
        self, visitor: Visitor, part: Part, *, limit: int, every: bool = False, behind: int | None = None
    ) -> Queue:
        """At most `limit` open reviews of a part; with `every` those of all parts, closed ones too.

        `behind` names the review behind which the list begins.
        """
        with self._sessions() as session:
            if every:
                lines = list_reviews(session, not_a_minor(), closed=True, limit=limit)
            else:
                lines = queue(session, visitor.pseudonym, part, limit=limit, behind=behind)
            return Queue(
                tuple(lines),
                part_counts(session, visitor.pseudonym),
                tuple(undoable(session, visitor.pseudonym)),
            )

    def counts(self) -> Counts:
        """How many open reviews each bank and cause has."""
        with self._sessions() as session:
            return counts(session)

    def parts(self, visitor: Visitor) -> dict[Show, int]:
        """How many open reviews each part of the queue has for this person."""
        with self._sessions() as session:
            return part_counts(session, visitor.pseudonym)

    def newest(self, *, limit: int, before: int | None = None) -> list[ReviewLine]:
        """Reviews of every state, the newest first, without suspected minors.

        `before` is the id under which the list begins.
        """
        where = [not_a_minor()]
        if before is not None:
            where.append(Review.id < before)
        with self._sessions() as session:
            return newest_reviews(session, *where, limit=limit)

    def undoable(self, visitor: Visitor) -> list[Mine]:
        """What this person decided in the last ten minutes and may still take back."""
        with self._sessions() as session:
            return undoable(session, visitor.pseudonym)

    def look(self, visitor: Visitor, review_id: int) -> Look:
        """One review; the look is an entry of the audit log. Raises NotThereError."""
        with self._sessions.begin() as session:
            seen = look_at(session, self._settings.policy, visitor, review_id)
            audit.record(session, actor=visitor.pseudonym, action="look", subject=("review", review_id))
        return seen

    def next(self, visitor: Visitor, bank: str = "") -> Claim | None:
        """Takes the most urgent free review, of a bank if one is named; None when there is none. Raises ClaimError."""
        return claims.take_next(self._sessions, visitor.pseudonym, bank or None)

    def take(self, visitor: Visitor, review_id: int) -> Claim:
        """Takes a review with its free near copies; one's own claim is renewed. Raises ClaimError, NotThereError."""
        self._check_seen(visitor, review_id)
        return claims.take(self._sessions, review_id, visitor.pseudonym)

    def renew(self, visitor: Visitor, review_id: int, claim: UUID) -> Claim | None:
        """Extends a claim; None when it is gone."""
        return claims.renew(self._sessions, review_id, visitor.pseudonym, claim)

    def leave(self, visitor: Visitor, review_id: int, how: Leave, claim: UUID | None) -> None:
        """Lets go of a review. Raises ClaimError where that needs the claim and it is gone, or NotThereError."""
        if how is Leave.BACK:
            if claim is None:
                raise claims.gone(review_id)
            claims.hand_back(self._sessions, visitor.pseudonym, claim)
            return
        try:
            self._check_seen(visitor, review_id)
        except NotThereError:
            if claim is None:
                raise
            # Who had it in hand is told that the claim is gone, and not why.
            raise claims.gone(review_id) from None
        claims.step_back(self._sessions, review_id, visitor.pseudonym, claim, PassKind(how))

    def decide(
        self,
        visitor: Visitor,
        review_id: int,
        verdict: Verdict,
        *,
        request_id: str,
        claim: UUID | None,
        code: str = "",
        reason: str = "",
        also: Sequence[int] = (),
        typed: int | None = None,
    ) -> Outcome:
        """Takes a verdict on a review and on `also`, near copies that are in the same hands.

        All but a suspected minor need the claim. `code` is of the short list of reasons, `reason` in words; `typed` is
        the number of uploads, where there are many. What would release more uploads than one person may is proposed
        instead, and the claim ends. Raises NotThereError, UnknownReasonError, ReviewError, ClaimError, ProposalError.
        """
        check_text("request id", request_id, MAX_REQUEST_ID, needed=True)
        proposals.check_request_id(request_id)
        asked = Proposal.payload["verdict"].astext == verdict
        proposal_id = self._proposed_before(visitor, review_id, request_id, asked)
        if proposal_id is not None:
            return Outcome(None, proposal_id, repeated=True)
        if not self._taken_before(visitor, review_id, verdict, request_id):
            for each in (review_id, *also):
                self._check_seen(visitor, each)
        if claim is None and verdict is not Verdict.SUSPECTED_MINOR:
            raise claims.gone(review_id)
        if code and code not in self._settings.review.reasons:
            raise UnknownReasonError(
                _("The reason is not on the list."), next_step=_("Go back and choose another.")
            )
        why = ": ".join(part for part in (code, reason) if part)
        try:
            decided = decide_review(
                self._sessions,
                self._settings.policy,
                review_id,
                verdict,
                actor=visitor.pseudonym,
                request_id=request_id,
                reason=why,
                claim=claim,
                also=also,
                typed=typed,
                most_released=proposals.BULK,
            )
        except SecondPersonError:
            payload = {"verdict": verdict.value, "reason": why, "also": [*also], "request_id": request_id}
            return Outcome(None, self._propose(visitor, review_id, payload, [review_id, *also], claim))
        self._wake(decided.moved)
        hidden = verdict is Verdict.SUSPECTED_MINOR and not visitor.may(May.SEE_MINORS)
        return Outcome(decided, None, hidden, decided.repeated)

    def _propose(
        self,
        visitor: Visitor,
        review_id: int,
        payload: Mapping[str, proposals.Payload],
        let_go: Sequence[int],
        claim: UUID | None,
    ) -> int:
        """Asks for a second person, and lets go of the reviews meanwhile; the proposal's id."""
        user = visitor.pseudonym
        with self._sessions.begin() as session:
            for each in sorted({*let_go}):
                claims.keep_from(session, each, user, PassKind.SKIPPED)
            if claim is not None:
                claims.release(session, user, claim)
            made = proposals.propose(
                session, ProposalKind.BULK_RESTORE, review_id, actor=user, payload=payload
            )
            return made.id

    def undo(
        self, visitor: Visitor, review_id: int, *, request_id: str, reason: str = "", also: Sequence[int] = ()
    ) -> Undone:
        """Takes back what counts on a review, and on those of `also` that were decided with it. Raises ReviewError,
        ProposalError, or NotThereError.

        What would serve more uploads again than a lead alone may is proposed instead. A suspected minor is overturned
        by two persons, on the page of its case.
        """
        check_text("request id", request_id, MAX_REQUEST_ID, needed=True)
        proposals.check_request_id(request_id)
        proposal_id = self._proposed_before(visitor, review_id, request_id, Proposal.payload.has_key("undo"))
        if proposal_id is not None:
            return Undone(None, repeated=True, proposal_id=proposal_id)
        try:
            undone = undo(
                self._sessions,
                self._settings.policy,
                review_id,
                actor=visitor.pseudonym,
                request_id=request_id,
                reason=reason,
                also=also,
                lead=visitor.may(May.UNDO_OTHERS),
                most_released=proposals.BULK,
            )
        except SecondPersonError:
            if also:
                raise
            with self._sessions.begin() as session:
                made = proposals.propose_undo(
                    session, review_id, actor=visitor.pseudonym, request_id=request_id, reason=reason
                )
                return Undone(None, proposal_id=made.id)
        except ReviewError:
            self._check_seen(visitor, review_id)
            raise
        self._wake(undone.moved)
        return undone

    def appeal(self, visitor: Visitor, upload_id: int, *, reason: str, source: str) -> appeals.Opened:
        """Opens an appeal against the removal of an upload. Raises AppealError, the same for an upload that does not
        exist, that was not removed and that this person may not see."""
        with self._sessions() as session:
            query = select(Review.verdict).join(Upload, Upload.content_id == Review.content_id)
            verdict = session.scalar(query.where(Upload.id == upload_id))
        if verdict == Verdict.SUSPECTED_MINOR and not visitor.may(May.SEE_MINORS):
            raise appeals.not_removed(upload_id)
        return appeals.open_appeal(
            self._sessions, self._settings, upload_id, reason=reason, actor=visitor.pseudonym, source=source
        )

    def removed_upload(self, bucket: str, key: str, version_id: str | None = None) -> int:
        """The upload under a key that was removed last, of one version if it is named. Raises AppealError."""
        query = select(Upload.id).where(
            Upload.bucket == bucket, Upload.key == key, Upload.state == State.REMOVED
        )
        if version_id is not None:
            query = query.where(Upload.version_id == version_id)
        with self._sessions() as session:
            found = session.scalar(query.order_by(Upload.state_since.desc(), Upload.id.desc()).limit(1))
        if found is None:
            raise appeals.AppealError(
                _("No upload of this key was removed by a decision that can be appealed."),
                next_step=_("Name the bucket, key and version as its webhook did."),
            )
        return found

    def appeal_state(self, appeal_id: int) -> Appeal:
        """An appeal as it stands. Raises NotThereError."""
        with self._sessions() as session:
            found = session.get(Appeal, appeal_id)
        if found is None:
            raise NotThereError(
                _("There is no appeal %(appeal)s.", appeal=appeal_id),
                next_step=_("Opening one tells its id."),
            )
        return found

    def _taken_before(self, visitor: Visitor, review_id: int, verdict: Verdict, request_id: str) -> bool:
        """Whether this person has taken this very decision: who may see the review no more may still send it again."""
        query = (
            select(DecisionRow.id)
            .join(Review, Review.content_id == DecisionRow.content_id)
            .where(
                Review.id == review_id,
                DecisionRow.request_id == request_id,
                DecisionRow.actor == visitor.pseudonym,
                DecisionRow.verdict == verdict,
            )
        )
        with self._sessions() as session:
            return session.scalar(query) is not None

    def _proposed_before(
        self, visitor: Visitor, review_id: int, request_id: str, asked: ColumnElement[bool]
    ) -> int | None:
        """The proposal that this very request of this person has become; `asked` is what it asked for."""
        query = select(Proposal.id).where(
            Proposal.kind == ProposalKind.BULK_RESTORE,
            Proposal.subject_id == review_id,
            Proposal.proposed_by == visitor.pseudonym,
            Proposal.payload["request_id"].astext == request_id,
            asked,
        )
        with self._sessions() as session:
            return session.scalar(query.order_by(Proposal.id.desc()).limit(1))

    def _check_seen(self, visitor: Visitor, review_id: int) -> None:
        with self._sessions() as session:
            check_seen(session, visitor, review_id)
