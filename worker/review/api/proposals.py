"""The two-person rule: what waits, and proposing, approving and rejecting."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy.orm import Session

from config.database import Sessions
from config.settings import Settings
from worker.review.api.bearer import Caller, Needs
from worker.review.api.values import LARGEST_ID, Number, Responses, Strict
from worker.review.desk import proposals, rule_proposals
from worker.review.desk.desk import Wake
from worker.review.people.permissions import May
from worker.store.proposals import ProposalKind

Subject = Annotated[int, Field(strict=True, ge=0, le=LARGEST_ID)]


class ProposalRequest(Strict):
    """A bulk restore is proposed by deciding its review."""

    kind: Literal[ProposalKind.LIFT_DEMOTION, ProposalKind.APPROVE_HUNT, ProposalKind.CHANGE_RULES]
    subject_id: Subject = Field(description="Of the demotion or the hunt; 0 for the rules.")


class ProposalAnswer(Strict):
    id: int
    kind: ProposalKind
    subject_id: int = Field(description="Of the demotion, the hunt or the review; 0 for the rules.")
    about: str = Field(description="What it would do, in words.")
    proposed_by: str = Field(description="A pseudonym.")
    proposed_at: datetime
    expires_at: datetime
    changes: list[str] = Field(description="Of a change of the rules: setting by setting, old and new.")


class Proposable(Strict):
    """Something that nobody has proposed yet."""

    kind: ProposalKind
    subject_id: int
    about: str
    changes: list[str] = Field(default=[], description="As of a proposal.")


class ProposalList(Strict):
    waiting: list[ProposalAnswer] = Field(description="The oldest first.")
    proposable: list[Proposable]


class ProposedAnswer(Strict):
    id: int


class ApprovedAnswer(Strict):
    moved: int = Field(description="Uploads that changed state.")


class ProposalOperations:
    """The operations on proposals."""

    def __init__(self, settings: Settings, sessions: Sessions, wake: Wake) -> None:
        self._settings = settings
        self._sessions = sessions
        self._wake = wake

    def router(self) -> APIRouter:
        refused: Responses = {409: {"description": "Nothing was done: `detail` says why."}}
        made = APIRouter(tags=["proposals"])
        made.get("/proposals", dependencies=[Depends(Needs(May.SEE_PROPOSALS))])(self.proposals)
        proposes = [Depends(Needs(May.PROPOSE))]
        made.post("/proposals", dependencies=proposes, responses=refused, status_code=201)(self.propose)
        one = "/proposals/{proposal_id}"
        made.post(f"{one}/approve", dependencies=[Depends(Needs(May.APPROVE))], responses=refused)(
            self.approve
        )
        made.post(f"{one}/reject", dependencies=proposes, responses=refused, status_code=204)(self.reject)
        return made

    def proposals(self) -> ProposalList:
        """What waits for a second person, and what could be proposed."""
        with self._sessions() as session:
            demotions, hunts = proposals.proposable(session)
            return ProposalList(
                waiting=[ProposalAnswer.model_validate(line) for line in proposals.waiting(session)],
                proposable=[
                    Proposable(
                        kind=ProposalKind.LIFT_DEMOTION,
                        subject_id=row.id,
                        about=f"{row.bank}, it hit {row.uploaders} uploaders",
                    )
                    for row in demotions
                ]
                + [
                    Proposable(
                        kind=ProposalKind.APPROVE_HUNT, subject_id=row.id, about=proposals.near_words(row)
                    )
                    for row in hunts
                ]
                + self._rules(session),
            )

    def _rules(self, session: Session) -> list[Proposable]:
        changes = rule_proposals.proposable_rules(session, self._settings)
        about = "The files say other rules than those in force."
        kind = ProposalKind.CHANGE_RULES
        return [Proposable(kind=kind, subject_id=0, about=about, changes=list(changes))] if changes else []

    def propose(self, caller: Caller, request: ProposalRequest) -> ProposedAnswer:
        """Ask for a second person."""
        with self._sessions.begin() as session:
            if request.kind is ProposalKind.CHANGE_RULES:
                made = rule_proposals.propose_rules_of(session, self._settings, actor=caller.pseudonym)
            else:
                made = proposals.propose(session, request.kind, request.subject_id, actor=caller.pseudonym)
            return ProposedAnswer(id=made.id)

    def approve(self, caller: Caller, proposal_id: Number) -> ApprovedAnswer:
        """Do what somebody else proposed."""
        with self._sessions.begin() as session:
            moved = proposals.approve(
                session,
                self._settings.policy,
                proposal_id,
                actor=caller.pseudonym,
                ledger_enabled=self._settings.ledger.enabled,
            )
        self._wake(moved)
        return ApprovedAnswer(moved=len(moved))

    def reject(self, caller: Caller, proposal_id: Number) -> None:
        """End a proposal without an effect; others' only with the right to approve."""
        only_own = not caller.may(May.APPROVE)
        with self._sessions.begin() as session:
            proposals.reject(session, proposal_id, actor=caller.pseudonym, only_own=only_own)
