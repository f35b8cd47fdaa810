"""The operations of the desk: the queue, one review, and taking, leaving, deciding and undoing."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from config.settings import ReviewSettings
from worker.domain import Verdict
from worker.review.api.bearer import Caller, Needs
from worker.review.api.review_answers import (
    ClaimAnswer,
    CountsAnswer,
    NextAnswer,
    ReviewAnswer,
    ReviewList,
    claim_of,
    review_of,
    summary_of,
)
from worker.review.api.values import Cursor, Id, Limit, LongText, Needed, Number, Responses, ShortText, Strict
from worker.review.desk import claims
from worker.review.desk.desk import Desk, Leave
from worker.review.desk.queue import Part, Show
from worker.review.people.permissions import May
from worker.review.reveal.reveals import Reveals
from worker.store.desk import Stage

ABSENT: Responses = {404: {"description": "There is no such review, or the caller may not see it."}}
REFUSED: Responses = {
    409: {"description": "Nothing was done: the review is not as this needs it. `code` says why."}
}


class NextRequest(Strict):
    bank: ShortText = Field("", description="Only what matched this bank; empty: any.")


class ClaimRequest(Strict):
    claim: UUID = Field(description="The token of the caller's claim.")


class LeaveRequest(Strict):
    how: Leave = Field(
        description=(
            "back: it may be offered to the caller again; skipped: not for ten minutes; recused: never again; "
            "asked: another person must decide."
        )
    )
    claim: UUID | None = Field(None, description="The token of the caller's claim; back and asked need it.")


class VerdictRequest(Strict):
    verdict: Verdict
    request_id: Needed = Field(
        description="Drawn anew by the caller for each decision: sent again with the same one, it is taken once."
    )
    claim: UUID | None = Field(None, description="The claim's token; only suspected_minor needs none.")
    code: ShortText = Field("", description="A reason of the short list, by its code.")
    reason: LongText = Field("", description="Why, in words.")
    also: list[Id] = Field([], max_length=200, description="Near copies of the same claim, by review id.")
    typed: Id | None = Field(
        None, description="How many uploads this decides, as `blast` told; needed over 25."
    )


class Became(StrEnum):
    """What became of a verdict."""

    DECIDED = "decided"
    WAITS = "waits"
    """For a second person, or for a third where two disagree."""
    PROPOSED = "proposed"
    """It would release more than 25 uploads: somebody else has to approve it."""


class VerdictAnswer(Strict):
    became: Became
    verdict: Verdict
    waits: Stage | None = Field(None, description="What the review waits for now, where nothing was enacted.")
    proposal_id: int | None = None
    moved: int = Field(0, description="Uploads that changed state.")
    kept: int = Field(0, description="Uploads that it would bring back and whose bytes are deleted.")
    repeated: bool = Field(False, description="This request had been taken before.")


class UndoRequest(Strict):
    request_id: Needed = Field(description="Drawn anew for each undo: sent again it undoes once.")
    reason: LongText = ""
    also: list[Id] = Field(
        [], max_length=200, description="Reviews decided together with it, to undo with it."
    )


class UndoAnswer(Strict):
    moved: int = Field(description="Uploads that changed state.")
    kept: int = Field(description="Uploads whose bytes are deleted, so that they stay as they are.")
    proposal_id: int | None = Field(
        description="Nothing is undone yet: it would serve more than 25 uploads again; somebody else has to approve it."
    )
    repeated: bool = Field(description="This request had been taken before.")


class UndoableAnswer(Strict):
    reviews: list[int] = Field(description="Decided by the caller in the last ten minutes, the newest first.")


class ReasonsAnswer(Strict):
    reasons: dict[str, str] = Field(description="The short list of reasons: code and words.")


class ReviewOperations:
    """The desk's operations."""

    def __init__(self, settings: ReviewSettings, desk: Desk, reveals: Reveals | None) -> None:
        self._settings = settings
        self._desk = desk
        self._reveals = reveals

    def router(self) -> APIRouter:
        sees, decides = [Depends(Needs(May.SEE_REVIEWS))], [Depends(Needs(May.DECIDE))]
        made = APIRouter(tags=["reviews"])
        made.get("/queue", dependencies=sees)(self.queue)
        made.get("/counts", dependencies=sees)(self.counts)
        made.get("/reasons", dependencies=sees)(self.reasons)
        made.get("/reviews", dependencies=sees)(self.reviews)
        made.post("/queue/next", dependencies=decides, responses=REFUSED)(self.next)
        made.get("/undoable", dependencies=decides)(self.undoable)
        one = "/reviews/{review_id}"
        both = ABSENT | REFUSED
        made.get(one, dependencies=sees, responses=ABSENT)(self.review)
        made.post(f"{one}/claim", dependencies=decides, responses=both)(self.claim)
        made.post(f"{one}/renew", dependencies=decides, responses=REFUSED)(self.renew)
        made.post(f"{one}/leave", dependencies=decides, responses=both, status_code=204)(self.leave)
        made.post(f"{one}/verdict", dependencies=decides, responses=both)(self.verdict)
        made.post(f"{one}/undo", dependencies=decides, responses=both)(self.undo)
        return made

    def queue(
        self,
        caller: Caller,
        show: Show = Show.ALL,
        bank: Annotated[ShortText, Query(description="Only what matched this bank.")] = "",
        cause: Annotated[ShortText, Query(description="Only what has this cause.")] = "",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> ReviewList:
        """Open reviews, the most urgent first: by deadline, then severity, then how sure the match is."""
        found = self._desk.queue(caller, Part(show, bank, cause), limit=limit, behind=cursor).lines
        return ReviewList(
            reviews=[summary_of(line, caller.pseudonym) for line in found],
            next_cursor=found[-1].id if len(found) == limit else None,
        )

    def counts(self, caller: Caller) -> CountsAnswer:
        """How many reviews are open."""
        found = self._desk.counts()
        return CountsAnswer(parts=self._desk.parts(caller), banks=found.banks, causes=found.causes)

    def reasons(self) -> ReasonsAnswer:
        """The reasons that a verdict may name by code."""
        return ReasonsAnswer(reasons=self._settings.reasons)

    def reviews(self, caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> ReviewList:
        """Reviews of every state, the newest first; suspected minors are not among them."""
        found = self._desk.newest(limit=limit, before=cursor)
        return ReviewList(
            reviews=[summary_of(line, caller.pseudonym) for line in found],
            next_cursor=found[-1].id if len(found) == limit else None,
        )

    def next(self, caller: Caller, request: NextRequest) -> NextAnswer:
        """Take the most urgent review that is free; three at once are the most."""
        claim = self._desk.next(caller, request.bank)
        return NextAnswer(claim=claim_of(claim) if claim is not None else None)

    def undoable(self, caller: Caller) -> UndoableAnswer:
        """What the caller may still take back."""
        found = self._desk.undoable(caller)
        return UndoableAnswer(reviews=[each for mine in found for each in (mine.review_id, *mine.together)])

    def review(self, caller: Caller, review_id: Number) -> ReviewAnswer:
        """One review. That the caller looked stands in the audit log."""
        look = self._desk.look(caller, review_id)
        panel = self._reveals.panel(caller, review_id) if self._reveals is not None else None
        return review_of(look, caller.pseudonym, panel)

    def claim(self, caller: Caller, review_id: Number) -> ClaimAnswer:
        """Take a review, with its free near copies, for five minutes; the caller's own claim is renewed."""
        return claim_of(self._desk.take(caller, review_id))

    def renew(self, caller: Caller, review_id: Number, request: ClaimRequest) -> ClaimAnswer:
        """Extend a claim to five minutes from now."""
        renewed = self._desk.renew(caller, review_id, request.claim)
        if renewed is None:
            raise claims.gone(review_id)
        return claim_of(renewed)

    def leave(self, caller: Caller, review_id: Number, request: LeaveRequest) -> None:
        """Let go of a review; no reason is asked."""
        self._desk.leave(caller, review_id, request.how, request.claim)

    def verdict(self, caller: Caller, review_id: Number, request: VerdictRequest) -> VerdictAnswer:
        """Decide. Where policy asks for a second person it waits for theirs; many releases are proposed."""
        outcome = self._desk.decide(
            caller,
            review_id,
            request.verdict,
            request_id=request.request_id,
            claim=request.claim,
            code=request.code,
            reason=request.reason,
            also=request.also,
            typed=request.typed,
        )
        done = outcome.decided
        if done is None:
            return VerdictAnswer(
                became=Became.PROPOSED,
                verdict=request.verdict,
                proposal_id=outcome.proposal_id,
                repeated=outcome.repeated,
            )
        enacted = done.decision_id is not None
        return VerdictAnswer(
            became=Became.DECIDED if enacted else Became.WAITS,
            verdict=request.verdict,
            waits=None if enacted else Stage(done.waits),
            moved=len(done.moved),
            kept=done.kept,
            repeated=outcome.repeated,
        )

    def undo(self, caller: Caller, review_id: Number, request: UndoRequest) -> UndoAnswer:
        """Take back what counts: one's own for ten minutes, a lead's right while the bytes are there."""
        done = self._desk.undo(
            caller, review_id, request_id=request.request_id, reason=request.reason, also=request.also
        )
        return UndoAnswer(
            moved=len(done.moved), kept=done.kept, proposal_id=done.proposal_id, repeated=done.repeated
        )
