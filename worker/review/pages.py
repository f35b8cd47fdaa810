"""The plain review pages: open reviews, one review with its facts and a form to decide it, and the uploads.

They show no picture and name no hash, bank entry or case. Every page needs the password; a decision also needs a
form that one of these pages gave to the same person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import structlog
from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import RequestResponseEndpoint

from bank_sync.epoch import Pointer, read_pointer
from config.database import Sessions
from config.settings import Settings
from worker.domain import Lane, State, Verdict
from worker.operate.health import alarms, coverage, words
from worker.operate.metrics import Metrics
from worker.operate.probes import router as probes
from worker.operate.uploads import history_of, list_uploads, one_upload
from worker.review.doors import HEADERS, Forms, visitor
from worker.review.listing import list_reviews, review_detail
from worker.review.reviews import ReviewError, decide_review

log = structlog.get_logger()

ROWS = 200
"""Rows that a list shows; the most urgent or newest ones."""

MAX_FORM_BYTES = 64 * 1024

VERDICT_WORDS = {
    Verdict.CONFIRMED: "Confirmed: remove it",
    Verdict.NOT_A_MATCH: "Not a match, another picture: release it",
    Verdict.LAWFUL: "The same picture, but lawful here: release it",
    Verdict.HASH_WRONG: "The bank's hash is wrong: release it",
    Verdict.SUSPECTED_MINOR: "Suspected minor: keep it withheld and preserved",
}

Wake = Callable[[Sequence[tuple[int, Lane]]], object]
"""Wakes workers for uploads that a decision moved. Must not raise when the broker is away."""

Number = Annotated[int, InPath(ge=1, lt=2**63)]
"""An id as the database counts them."""

_HERE = Path(__file__).parent


def make_app(
    settings: Settings, sessions: Sessions, wake: Wake, *, metrics: Metrics | None = None
) -> FastAPI:
    """The application: pages behind the password; probes, metrics and the style sheet are open."""

    def pointer() -> Pointer:
        return read_pointer(settings.epochs_dir)

    app = FastAPI(title="Hashwarden", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(probes(settings, sessions, pointer, metrics or Metrics(settings, sessions, pointer)))
    app.include_router(_Pages(settings, sessions, pointer, wake).router())
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    app.middleware("http")(_guard)
    app.add_exception_handler(StarletteHTTPException, _told)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(SQLAlchemyError, _without_database)
    app.add_exception_handler(Exception, _broken)
    return app


class _Pages:
    """The routes. Each is behind `_enter`, which leaves the visitor's name in the request's state."""

    def __init__(
        self, settings: Settings, sessions: Sessions, pointer: Callable[[], Pointer], wake: Wake
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._pointer = pointer
        self._wake = wake
        self._forms = Forms()

    def router(self) -> APIRouter:
        made = APIRouter(dependencies=[Depends(self._enter)], default_response_class=HTMLResponse)
        made.get("/")(self.reviews)
        made.get("/reviews/{review_id}")(self.review)
        made.post("/reviews/{review_id}")(self.decide)
        made.get("/uploads")(self.uploads)
        made.get("/uploads/{upload_id}")(self.upload)
        return made

    def _enter(self, request: Request) -> None:
        if self._settings.review.password is None:
            raise HTTPException(
                503, "The review pages are off: set HASHWARDEN_REVIEW__PASSWORD and start them again."
            )
        user = visitor(request.headers.get("authorization", ""), self._settings.review)
        if user is None:
            raise HTTPException(
                401,
                "Sign in with your name and the password of the review pages.",
                headers={"WWW-Authenticate": 'Basic realm="Hashwarden", charset="UTF-8"'},
            )
        request.state.user = user

    def reviews(self, request: Request, every: bool = False) -> str:
        with self._sessions() as session:
            lines = list_reviews(session, closed=every, limit=ROWS)
            raised = alarms(session, self._settings, self._pointer)
        return _render(
            "reviews.html", user=request.state.user, lines=lines, every=every, alarms=raised, rows=ROWS
        )

    def review(self, request: Request, review_id: Number) -> str:
        with self._sessions() as session:
            detail = review_detail(session, review_id)
        if detail is None:
            raise HTTPException(404, f"There is no review {review_id}.")
        user = request.state.user
        return _render(
            "review.html",
            user=user,
            detail=detail,
            verdicts=VERDICT_WORDS,
            token=self._forms.token(user, review_id),
            request_id=str(uuid4()),
            removal_delay=self._settings.policy.removal_delay,
        )

    def decide(
        self,
        request: Request,
        review_id: Number,
        verdict: Annotated[Verdict, Form()],
        token: Annotated[str, Form()],
        request_id: Annotated[str, Form()],
        reason: Annotated[str, Form()] = "",
    ) -> RedirectResponse:
        user = request.state.user
        if not self._forms.good(token, user, review_id):
            raise HTTPException(
                403, "This form is out of date. Nothing was decided: go back, load the page again and decide."
            )
        try:
            decided = decide_review(
                self._sessions,
                self._settings.policy,
                review_id,
                verdict,
                actor=user,
                request_id=request_id,
                reason=reason,
            )
        except ReviewError as error:
            raise HTTPException(409, str(error)) from None
        self._wake(decided.moved)
        return RedirectResponse(f"/reviews/{review_id}", status_code=303)

    def uploads(self, request: Request, state: State | None = None) -> str:
        with self._sessions() as session:
            return _render(
                "uploads.html",
                user=request.state.user,
                lines=list_uploads(session, state=state, limit=ROWS),
                state=state,
                coverage=coverage(session),
                alarms=alarms(session, self._settings, self._pointer),
                rows=ROWS,
            )

    def upload(self, request: Request, upload_id: Number) -> str:
        with self._sessions() as session:
            line = one_upload(session, upload_id)
            if line is None:
                raise HTTPException(404, f"There is no upload {upload_id}.")
            steps = history_of(session, [upload_id])
        return _render("upload.html", user=request.state.user, line=line, history=steps)


async def _guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Headers on every answer, and no body longer than a form: it is read before anyone has signed in."""
    length = request.headers.get("content-length", "0" if request.method in {"GET", "HEAD"} else "")
    if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
        return _problem(413, "That is more than a form of these pages sends.")
    answer = await call_next(request)
    answer.headers.update(HEADERS)
    return answer


async def _told(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 (registered for it alone)
    return _problem(error.status_code, str(error.detail), error.headers)


async def _not_understood(_request: Request, _error: Exception) -> Response:
    return _problem(400, "The address or the form is not one of these pages'. Go back and try again.")


async def _without_database(_request: Request, error: Exception) -> Response:
    log.error("page_without_database", fault=type(error).__name__)
    return _problem(503, "The database can't be reached. Nothing was changed; try again in a moment.")


async def _broken(_request: Request, _error: Exception) -> Response:
    return _problem(500, "Something went wrong inside Hashwarden. The log names the place.")


def _problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    page = _render("problem.html", user="", status=status, message=message)
    return HTMLResponse(page, status_code=status, headers={**HEADERS, **(headers or {})})


def _when(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _frame_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f} min {rest:04.1f} s" if minutes else f"{rest:.1f} s"


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["age"] = words
    made.filters["when"] = _when
    made.filters["frame_time"] = _frame_time
    made.globals["states"] = [state.value for state in State]
    return made


_TEMPLATES = _templates()


def _render(name: str, **values: Any) -> str:  # noqa: ANN401 (what the template reads)
    return _TEMPLATES.get_template(name).render(**values)
