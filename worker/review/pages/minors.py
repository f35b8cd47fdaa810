"""The pages of suspected minors, for the role minor_safety alone: the list, a case, its report, and its overturn.

No picture is on any of them, at no rung.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from config.database import Sessions
from config.errors import HashwardenError
from config.settings import Settings
from config.words import _
from worker.domain import Lane
from worker.review import audit
from worker.review.desk import proposals
from worker.review.minors import cases
from worker.review.minors.report import report_of
from worker.review.pages.doors import Asks, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people.permissions import May

ROWS = 50

Number = Annotated[int, InPath(ge=1, lt=2**63)]
Text = Annotated[str, Form(max_length=4000)]


class MinorPages:
    """The routes; each asks for the right to see suspected minors."""

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
            prefix="/minors",
            dependencies=[
                Depends(self._doors.enter),
                Depends(self._doors.check_form),
                Depends(Asks(May.SEE_MINORS)),
            ],
            default_response_class=HTMLResponse,
        )
        made.get("")(self.listed)
        made.get("/{case_id}")(self.case)
        made.get("/{case_id}/report")(self.report)
        made.post("/{case_id}/reported")(self.reported)
        made.post("/{case_id}/prolong")(self.prolong)
        made.post("/{case_id}/overturn")(self.overturn)
        made.post("/{case_id}/overturn/{proposal_id}/approve")(self.approve)
        made.post("/{case_id}/overturn/{proposal_id}/reject")(self.reject)
        return made

    def listed(self, request: Request) -> str:
        with self._sessions() as session:
            lines = cases.listed(session, limit=ROWS)
        return render("minors.html", **of_visitor(request), lines=lines, rows=ROWS)

    def case(self, request: Request, case_id: Number) -> str:
        """One case; the look is an entry of the audit log."""
        with self._sessions.begin() as session:
            detail = self._detail(session, case_id)
            report = report_of(session, self._settings.policy, detail.row)
            waiting = proposals.waiting(session, case=case_id)
            self._record(session, request, case_id, "minor_case_look")
            return render(
                "minor_case.html",
                **of_visitor(request),
                detail=detail,
                case=detail.row,
                line=detail.line,
                looks=report["looks"],
                viewed=any(file["fileViewedByEsp"] for file in report["fileDetails"]),
                waiting=waiting,
                bucket=self._settings.minors.bucket,
                days=self._settings.policy.preserve_days,
                longest=cases.MOST_DAYS,
            )

    def report(self, request: Request, case_id: Number) -> Response:
        """The prepared report as a file; that it was taken is an entry of the audit log."""
        with self._sessions.begin() as session:
            report = report_of(session, self._settings.policy, self._detail(session, case_id).row)
            self._record(session, request, case_id, "minor_report")
        return Response(
            json.dumps(report, indent=2, ensure_ascii=False) + "\n",
            media_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="case-{case_id}.json"'},
        )

    def reported(self, request: Request, case_id: Number, reference: Text) -> RedirectResponse:
        with _told(), self._sessions.begin() as session:
            cases.mark_reported(session, self._settings.policy, case_id, reference, actor=request.state.user)
        return _to(case_id)

    def prolong(self, request: Request, case_id: Number, days: Annotated[int, Form()]) -> RedirectResponse:
        with _told(), self._sessions.begin() as session:
            cases.prolong(session, case_id, days, actor=request.state.user)
        return _to(case_id)

    def overturn(self, request: Request, case_id: Number, reason: Text) -> RedirectResponse:
        """Asks another person of this role to agree."""
        with _told(), self._sessions.begin() as session:
            proposals.propose_overturn(session, case_id, actor=request.state.user, reason=reason)
        return _to(case_id)

    def approve(self, request: Request, case_id: Number, proposal_id: Number) -> RedirectResponse:
        with _told(), self._sessions.begin() as session:
            moved = proposals.approve(
                session, self._settings.policy, proposal_id, actor=request.state.user, minors=True
            )
        self._wake(moved)
        return _to(case_id)

    def reject(self, request: Request, case_id: Number, proposal_id: Number) -> RedirectResponse:
        with _told(), self._sessions.begin() as session:
            proposals.reject(session, proposal_id, actor=request.state.user, only_own=False, minors=True)
        return _to(case_id)

    def _detail(self, session: Session, case_id: int) -> cases.CaseDetail:
        detail = cases.detail(session, case_id)
        if detail is None:
            raise HTTPException(404, _("There is no case %(case)s.", case=case_id))
        return detail

    def _record(self, session: Session, request: Request, case_id: int, action: str) -> None:
        audit.record(session, actor=request.state.user, action=action, subject=("minor_case", case_id))


@contextmanager
def _told() -> Iterator[None]:
    """Shows an expected failure as a page."""
    try:
        yield
    except HashwardenError as error:
        raise HTTPException(409, error.words) from None


def _to(case_id: int) -> RedirectResponse:
    return RedirectResponse(f"/minors/{case_id}", status_code=303)
