"""What every answer carries, and the page that tells what went wrong."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import RequestResponseEndpoint

from worker.review.pages.rendering import render

log = structlog.get_logger()

MAX_FORM_BYTES = 64 * 1024


class Answers:
    """What every answer carries, and the page that tells what went wrong."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    async def guard(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Headers on every answer, and no body longer than a form: it is read before anyone has signed in."""
        if request.url.path.startswith("/api/"):
            # The API bounds its bodies itself, and answers no pages.
            return self._with_headers(await call_next(request))
        length = request.headers.get("content-length", "0" if request.method in {"GET", "HEAD"} else "")
        if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
            return self._problem(413, "That is more than a form of these pages sends.")
        return self._with_headers(await call_next(request))

    def _with_headers(self, answer: Response) -> Response:
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
