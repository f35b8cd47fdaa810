"""Cases of suspected minors, for the role minor_safety alone: read, reported, preserved for longer, overturned by two.

No picture is here, at no rung.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field, StringConstraints

from worker.review.api.bearer import Caller, Needs
from worker.review.api.minor_answers import CaseAnswer, CaseList, CaseSummary, case_of
from worker.review.api.proposals import ApprovedAnswer, ProposedAnswer
from worker.review.api.values import Cursor, Limit, LongText, Number, Responses, Stored, Strict
from worker.review.desk.minor_desk import MinorDesk
from worker.review.minors.cases import MAX_REFERENCE, MOST_DAYS
from worker.review.people.permissions import May


class ReportedRequest(Strict):
    reference: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REFERENCE), Stored] = Field(
        description="The number that the authority gave."
    )


class ProlongRequest(Strict):
    days: Annotated[int, Field(strict=True, ge=1, le=MOST_DAYS)] = Field(
        description="Days from now; the date only moves later."
    )


class PreservedAnswer(Strict):
    preserve_until: datetime


class OverturnRequest(Strict):
    reason: LongText = Field(
        min_length=1, pattern=r"\S", description="Why it is no suspected minor, in words."
    )


class MinorOperations:
    """The operations on cases."""

    def __init__(self, minors: MinorDesk) -> None:
        self._minors = minors

    def router(self) -> APIRouter:
        sees = [Depends(Needs(May.SEE_MINORS))]
        absent: Responses = {404: {"description": "There is no such case."}}
        refused: Responses = {
            **absent,
            409: {"description": "Nothing was done: `detail` says why."},
        }
        one = "/minors/{case_id}"
        overturn = f"{one}/overturn"
        made = APIRouter(tags=["minors"])
        made.get("/minors", dependencies=sees)(self.cases)
        made.get(one, dependencies=sees, responses=absent)(self.case)
        made.get(f"{one}/report", dependencies=sees, responses=absent)(self.report)
        made.post(f"{one}/reported", dependencies=sees, responses=refused)(self.reported)
        made.post(f"{one}/prolong", dependencies=sees, responses=refused)(self.prolong)
        made.post(overturn, dependencies=sees, responses=refused, status_code=201)(self.propose_overturn)
        made.post(f"{overturn}/{{proposal_id}}/approve", dependencies=sees, responses=refused)(
            self.approve_overturn
        )
        made.post(
            f"{overturn}/{{proposal_id}}/reject", dependencies=sees, responses=refused, status_code=204
        )(self.reject_overturn)
        return made

    def cases(self, limit: Limit = 50, cursor: Cursor = None) -> CaseList:
        """Cases of suspected minors: those that wait for a report first, the oldest first; then the newest first."""
        found = self._minors.listed(limit=limit, behind=cursor)
        return CaseList(
            cases=[CaseSummary.model_validate(line) for line in found],
            next_cursor=found[-1].id if len(found) == limit else None,
        )

    def case(self, caller: Caller, case_id: Number) -> CaseAnswer:
        """One case. That the caller looked stands in the audit log."""
        return case_of(self._minors.look(case_id, actor=caller.pseudonym))

    def report(self, caller: Caller, case_id: Number) -> dict[str, Any]:
        """The prepared report, as docs/how-to/minors.md describes it. That it was taken stands in the audit log.

        It alone tells a file's name, its address and its SHA-256: for the authority.
        """
        return self._minors.report(case_id, actor=caller.pseudonym)

    def reported(self, caller: Caller, case_id: Number, request: ReportedRequest) -> PreservedAnswer:
        """Write down under which number an authority has it; from now on it is preserved anew for the whole time."""
        until = self._minors.mark_reported(case_id, request.reference, actor=caller.pseudonym)
        return PreservedAnswer(preserve_until=until)

    def prolong(self, caller: Caller, case_id: Number, request: ProlongRequest) -> PreservedAnswer:
        """Preserve it for longer."""
        until = self._minors.prolong(case_id, request.days, actor=caller.pseudonym)
        return PreservedAnswer(preserve_until=until)

    def propose_overturn(self, caller: Caller, case_id: Number, request: OverturnRequest) -> ProposedAnswer:
        """Ask another person of the role to overturn it."""
        return ProposedAnswer(
            id=self._minors.propose_overturn(case_id, request.reason, actor=caller.pseudonym)
        )

    def approve_overturn(self, caller: Caller, case_id: Number, proposal_id: Number) -> ApprovedAnswer:
        """Overturn what somebody else proposed: the case is closed, and the review open again in their hands."""
        return ApprovedAnswer(
            moved=self._minors.approve_overturn(case_id, proposal_id, actor=caller.pseudonym)
        )

    def reject_overturn(self, caller: Caller, case_id: Number, proposal_id: Number) -> None:
        """End a proposal to overturn without an effect, one's own or another's."""
        self._minors.reject_overturn(case_id, proposal_id, actor=caller.pseudonym)
