"""What every answer carries, and the page that tells what went wrong."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import RequestResponseEndpoint

from config.words import Words, _
from worker.review.languages import Language, Languages, speak
from worker.review.pages.refusal import Refusal
from worker.review.pages.rendering import render

log = structlog.get_logger()

MAX_FORM_BYTES = 64 * 1024

_OF_ROUTES = {
    404: _("There is no such page."),
    405: _("This page can't be asked for in this way."),
}
"""What the framework itself answers."""


class Answers:
    """What every answer carries, and the page that tells what went wrong."""

    def __init__(self, headers: Mapping[str, str], languages: Languages) -> None:
        self._headers = headers
        self._languages = languages

    async def guard(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Headers on every answer, and no body longer than a form: it is read before anyone has signed in."""
        if request.url.path.startswith("/api/"):
            # The API bounds its bodies itself, and answers no pages.
            return self._with_headers(await call_next(request))
        length = request.headers.get("content-length", "0" if request.method in {"GET", "HEAD"} else "")
        if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
            return self._problem(request, 413, _("That is more than a form of these pages sends."))
        with speak(self._language_of(request)):
            return self._with_headers(await call_next(request))

    def _with_headers(self, answer: Response) -> Response:
        for name, value in self._headers.items():
            # A page that loads a script of ours has said so.
            answer.headers.setdefault(name, value)
        return answer

    async def told(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)  # noqa: S101 (registered for it alone)
        said = error.detail if isinstance(error.detail, Words) else _OF_ROUTES.get(error.status_code, "")
        refusal = error if isinstance(error, Refusal) else None
        return self._problem(request, error.status_code, said or error.detail, error.headers, refusal)

    async def not_understood(self, request: Request, _error: Exception) -> Response:
        return self._problem(
            request, 400, _("The address or the form is not one of these pages'. Go back and try again.")
        )

    async def without_database(self, request: Request, error: Exception) -> Response:
        log.error("page_without_database", fault=type(error).__name__)
        return self._problem(
            request, 503, _("The database can't be reached. Nothing was changed; try again in a moment.")
        )

    async def broken(self, request: Request, _error: Exception) -> Response:
        return self._problem(
            request, 500, _("Something went wrong inside Hashwarden. The log names the place.")
        )

    def _problem(
        self,
        request: Request,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        refusal: Refusal | None = None,
    ) -> HTMLResponse:
        with speak(self._language_of(request)):
            page = render("problem.html", user="", status=status, message=message, refusal=refusal)
        return HTMLResponse(page, status_code=status, headers={**self._headers, **(headers or {})})

    def _language_of(self, request: Request) -> Language:
        return self._languages.of(request.headers.get("accept-language", ""))
