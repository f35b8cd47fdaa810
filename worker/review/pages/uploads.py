"""The pages of uploads, and of each upload's history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse

from bank_sync.epoch import Pointer
from config.database import Sessions
from config.settings import Settings
from config.words import _
from worker.domain import State
from worker.operate.health import alarms, coverage
from worker.operate.uploads import history_of, list_uploads, one_upload
from worker.review.pages.doors import Asks, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people.permissions import May

ROWS = 200
"""Rows that a list shows; the most urgent or newest ones."""

Number = Annotated[int, InPath(ge=1, lt=2**63)]
"""An id as the database counts them."""


class UploadPages:
    """The routes. Each is behind the doors, which leave in the request's state who it is, and asks for a role."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        pointer: Callable[[], Pointer],
        doors: Doors,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._pointer = pointer
        self._doors = doors

    def router(self) -> APIRouter:
        made = APIRouter(
            dependencies=[Depends(self._doors.enter), Depends(self._doors.check_form)],
            default_response_class=HTMLResponse,
        )
        made.get("/uploads", dependencies=[Depends(Asks(May.SEE_UPLOADS))])(self.uploads)
        made.get("/uploads/{upload_id}", dependencies=[Depends(Asks(May.SEE_UPLOADS))])(self.upload)
        return made

    def uploads(self, request: Request, state: State | None = None) -> str:
        with self._sessions() as session:
            return render(
                "uploads.html",
                **of_visitor(request),
                lines=list_uploads(
                    session, state=state, limit=ROWS, minors=request.state.visitor.may(May.SEE_MINORS)
                ),
                state=state,
                coverage=coverage(session),
                alarms=alarms(session, self._settings, self._pointer),
                rows=ROWS,
            )

    def upload(self, request: Request, upload_id: Number) -> str:
        with self._sessions() as session:
            line = one_upload(session, upload_id, minors=request.state.visitor.may(May.SEE_MINORS))
            if line is None:
                raise HTTPException(404, _("There is no upload %(upload)s.", upload=upload_id))
            steps = history_of(session, [upload_id])
        return render("upload.html", **of_visitor(request), line=line, history=steps)
