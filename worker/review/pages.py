"""The application of the console, and its pages of uploads.

They show no picture that was not asked for (`reveal_pages`) and name no hash, bank entry or case. Every page needs a
sign-in and a role that allows it; whatever changes something also needs a form of the same sign-in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import RequestResponseEndpoint

from bank_sync.epoch import Pointer, read_pointer
from config.database import Sessions
from config.settings import Settings
from worker.domain import Lane, State
from worker.operate.health import alarms, coverage
from worker.operate.metrics import Metrics
from worker.operate.probes import router as probes
from worker.operate.uploads import history_of, list_uploads, one_upload
from worker.review.desk_pages import DeskPages
from worker.review.doors import Asks, Doors, headers_of, of_visitor
from worker.review.office_pages import OfficePages
from worker.review.permissions import May
from worker.review.rendering import render
from worker.review.reveal import Reveals
from worker.review.reveal_pages import RevealPages
from worker.review.sign_in_pages import SignInPages

log = structlog.get_logger()

ROWS = 200
"""Rows that a list shows; the most urgent or newest ones."""

MAX_FORM_BYTES = 64 * 1024

Wake = Callable[[Sequence[tuple[int, Lane]]], object]
"""Wakes workers for uploads that a decision moved. Must not raise when the broker is away."""

Number = Annotated[int, InPath(ge=1, lt=2**63)]
"""An id as the database counts them."""

_HERE = Path(__file__).parent


def make_app(
    settings: Settings,
    sessions: Sessions,
    wake: Wake,
    *,
    metrics: Metrics | None = None,
    reveals: Reveals | None = None,
) -> FastAPI:
    """The application: pages behind a sign-in; probes, metrics and static files are open.

    Without `reveals` no page offers to show a picture.
    """

    def pointer() -> Pointer:
        return read_pointer(settings.epochs_dir)

    app = FastAPI(title="Hashwarden", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(probes(settings, sessions, pointer, metrics or Metrics(settings, sessions, pointer)))
    doors = Doors(settings.review, sessions)
    app.include_router(SignInPages(settings, sessions, doors).router())
    app.include_router(DeskPages(settings, sessions, pointer, wake, doors, reveals).router())
    if reveals is not None:
        app.include_router(RevealPages(reveals, doors).router())
    app.include_router(_Pages(settings, sessions, pointer, doors).router())
    app.include_router(OfficePages(settings, sessions, wake, doors).router())
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    answers = _Answers(headers_of(settings.review))
    app.middleware("http")(answers.guard)
    app.add_exception_handler(StarletteHTTPException, answers.told)
    app.add_exception_handler(RequestValidationError, answers.not_understood)
    app.add_exception_handler(SQLAlchemyError, answers.without_database)
    app.add_exception_handler(Exception, answers.broken)
    return app


class _Pages:
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
                raise HTTPException(404, f"There is no upload {upload_id}.")
            steps = history_of(session, [upload_id])
        return render("upload.html", **of_visitor(request), line=line, history=steps)


class _Answers:
    """What every answer carries, and the page that tells what went wrong."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    async def guard(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Headers on every answer, and no body longer than a form: it is read before anyone has signed in."""
        length = request.headers.get("content-length", "0" if request.method in {"GET", "HEAD"} else "")
        if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
            return self._problem(413, "That is more than a form of these pages sends.")
        answer = await call_next(request)
        for name, value in self._headers.items():
            # A page that loads a script of ours has said so.
            answer.headers.setdefault(name, value)
        return answer

    async def told(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)  # noqa: S101 (registered for it alone)
        return self._problem(error.status_code, str(error.detail), error.headers)

    async def not_understood(self, _request: Request, _error: Exception) -> Response:
        return self._problem(
            400, "The address or the form is not one of these pages'. Go back and try again."
        )

    async def without_database(self, _request: Request, error: Exception) -> Response:
        log.error("page_without_database", fault=type(error).__name__)
        return self._problem(
            503, "The database can't be reached. Nothing was changed; try again in a moment."
        )

    async def broken(self, _request: Request, _error: Exception) -> Response:
        return self._problem(500, "Something went wrong inside Hashwarden. The log names the place.")

    def _problem(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> HTMLResponse:
        page = render("problem.html", user="", status=status, message=message)
        return HTMLResponse(page, status_code=status, headers={**self._headers, **(headers or {})})
