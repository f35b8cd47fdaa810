"""Pages beside the reviews: what waits for a second person, the audit log, and people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse

from config.database import Sessions
from config.errors import HashwardenError
from config.settings import Settings
from config.words import _
from worker.domain import Lane
from worker.review import audit
from worker.review.desk import proposals, rule_proposals
from worker.review.minors.restricted import restricted
from worker.review.pages.doors import Asks, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people import people, sign_ins
from worker.review.people.permissions import May
from worker.store.proposals import ProposalKind

Number = Annotated[int, InPath(ge=1, lt=2**63)]

AUDIT_ROWS = 200


class OfficePages:
    """The routes; each asks for a role."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        wake: Callable[[Sequence[tuple[int, Lane]]], object],
        doors: Doors,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._wake = wake
        self._doors = doors

    def router(self) -> APIRouter:
        made = APIRouter(
            dependencies=[Depends(self._doors.enter), Depends(self._doors.check_form)],
            default_response_class=HTMLResponse,
        )
        made.get("/proposals", dependencies=[Depends(Asks(May.SEE_PROPOSALS))])(self.proposals)
        made.post("/proposals", dependencies=[Depends(Asks(May.PROPOSE))])(self.propose)
        made.post("/proposals/{proposal_id}/approve", dependencies=[Depends(Asks(May.APPROVE))])(self.approve)
        made.post("/proposals/{proposal_id}/reject", dependencies=[Depends(Asks(May.PROPOSE))])(self.reject)
        made.get("/audit", dependencies=[Depends(Asks(May.SEE_AUDIT))])(self.audit)
        made.get("/people", dependencies=[Depends(Asks(May.MANAGE_PEOPLE))])(self.people)
        made.post("/people/sessions/{session_id}/end", dependencies=[Depends(Asks(May.MANAGE_PEOPLE))])(
            self.end_session
        )
        return made

    def proposals(self, request: Request) -> str:
        with self._sessions() as session:
            demotions, stopped = proposals.proposable(session)
            return render(
                "proposals.html",
                **of_visitor(request),
                lines=proposals.waiting(session),
                rules=rule_proposals.proposable_rules(session, self._settings),
                demotions=demotions,
                hunts=[(hunt, proposals.near_words(hunt)) for hunt in stopped],
            )

    def propose(
        self, request: Request, kind: Annotated[ProposalKind, Form()], subject_id: Annotated[int, Form(ge=0)]
    ) -> RedirectResponse:
        rules = kind is ProposalKind.CHANGE_RULES
        if not rules and kind not in proposals.PROPOSED_BY_ID:
            raise HTTPException(400, _("A bulk restore is proposed by deciding its review."))
        if kind is ProposalKind.OVERTURN_MINOR:
            # Proposed on the page of its case; who may not see that is not told whether it is there.
            raise HTTPException(
                400, _("The address or the form is not one of these pages'. Go back and try again.")
            )
        with _told(), self._sessions.begin() as session:
            if rules:
                rule_proposals.propose_rules_of(session, self._settings, actor=request.state.user)
            else:
                proposals.propose(session, kind, subject_id, actor=request.state.user)
        return RedirectResponse("/proposals", status_code=303)

    def approve(self, request: Request, proposal_id: Number) -> RedirectResponse:
        with _told(), self._sessions.begin() as session:
            moved = proposals.approve(
                session,
                self._settings.policy,
                proposal_id,
                actor=request.state.user,
                ledger_enabled=self._settings.ledger.enabled,
            )
        self._wake(moved)
        return RedirectResponse("/proposals", status_code=303)

    def reject(self, request: Request, proposal_id: Number) -> RedirectResponse:
        only_own = not request.state.visitor.may(May.APPROVE)
        with _told(), self._sessions.begin() as session:
            proposals.reject(session, proposal_id, actor=request.state.user, only_own=only_own)
        return RedirectResponse("/proposals", status_code=303)

    def audit(self, request: Request) -> str:
        with self._sessions() as session:
            entries = audit.newest(session, AUDIT_ROWS)
            hides = restricted(session, request.state.visitor.may)
            head = audit.head_of(session)
        return render(
            "audit.html",
            **of_visitor(request),
            entries=entries,
            restricted={entry.seq for entry in entries if hides(entry)},
            head=str(head),
            rows=AUDIT_ROWS,
        )

    def people(self, request: Request) -> str:
        with self._sessions() as session:
            return render(
                "people.html",
                **of_visitor(request),
                people=people.listed(session),
                sessions=sign_ins.listed(session, self._settings.review),
            )

    def end_session(self, request: Request, session_id: Number) -> RedirectResponse:
        with _told(), self._sessions.begin() as session:
            people.revoke(session, session_id, actor=request.state.user)
        return RedirectResponse("/people", status_code=303)


@contextmanager
def _told() -> Iterator[None]:
    """Shows an expected failure as a page."""
    try:
        yield
    except HashwardenError as error:
        raise HTTPException(409, error.words) from None
