"""The pages of suspected minors, for the role minor_safety alone: the list, a case, its report, and its overturn.

No picture is on any of them, at no rung.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse

from config.errors import HashwardenError
from config.settings import Settings
from worker.review.desk.minor_desk import MinorDesk
from worker.review.faults import NotThereError
from worker.review.minors import cases
from worker.review.pages.doors import Asks, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people.permissions import May

ROWS = 50

Number = Annotated[int, InPath(ge=1, lt=2**63)]
Text = Annotated[str, Form(max_length=4000)]


class MinorPages:
    """The routes; each asks for the right to see suspected minors."""

    def __init__(self, settings: Settings, minors: MinorDesk, doors: Doors) -> None:
        self._settings = settings
        self._minors = minors
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
        lines = self._minors.listed(limit=ROWS)
        return render("minors.html", **of_visitor(request), lines=lines, rows=ROWS)

    def case(self, request: Request, case_id: Number) -> str:
        with _told():
            look = self._minors.look(case_id, actor=request.state.user)
        return render(
            "minor_case.html",
            **of_visitor(request),
            detail=look.detail,
            case=look.detail.row,
            line=look.detail.line,
            looks=look.looks,
            viewed=look.viewed,
            waiting=look.waiting,
            bucket=self._settings.minors.bucket,
            days=self._settings.policy.preserve_days,
            longest=cases.MOST_DAYS,
        )

    def report(self, request: Request, case_id: Number) -> Response:
        """The prepared report as a file."""
        with _told():
            report = self._minors.report(case_id, actor=request.state.user)
        return Response(
            json.dumps(report, indent=2, ensure_ascii=False) + "\n",
            media_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="case-{case_id}.json"'},
        )

    def reported(self, request: Request, case_id: Number, reference: Text) -> RedirectResponse:
        with _told():
            self._minors.mark_reported(case_id, reference, actor=request.state.user)
        return _to(case_id)

    def prolong(self, request: Request, case_id: Number, days: Annotated[int, Form()]) -> RedirectResponse:
        with _told():
            self._minors.prolong(case_id, days, actor=request.state.user)
        return _to(case_id)

    def overturn(self, request: Request, case_id: Number, reason: Text) -> RedirectResponse:
        """Asks another person of this role to agree."""
        with _told():
            self._minors.propose_overturn(case_id, reason, actor=request.state.user)
        return _to(case_id)

    def approve(self, request: Request, case_id: Number, proposal_id: Number) -> RedirectResponse:
        with _told():
            self._minors.approve_overturn(case_id, proposal_id, actor=request.state.user)
        return _to(case_id)

    def reject(self, request: Request, case_id: Number, proposal_id: Number) -> RedirectResponse:
        with _told():
            self._minors.reject_overturn(case_id, proposal_id, actor=request.state.user)
        return _to(case_id)


@contextmanager
def _told() -> Iterator[None]:
    """Shows an expected failure as a page."""
    try:
        yield
    except NotThereError as error:
        raise HTTPException(404, error.words) from None
    except HashwardenError as error:
        raise HTTPException(409, error.words) from None


def _to(case_id: int) -> RedirectResponse:
    return RedirectResponse(f"/minors/{case_id}", status_code=303)
