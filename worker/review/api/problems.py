"""What the API answers when it does not do as asked: `application/problem+json` by RFC 9457, one kind an error.

`code` is that of the error tree; it does not change, and a program may rely on it. `detail` is for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException

from config.errors import DatabaseError, HashwardenError
from worker.review.desk.appeals import AppealError
from worker.review.desk.claims import ClaimError
from worker.review.desk.reviews import ReviewError
from worker.review.faults import (
    NotThereError,
    PeopleError,
    ProposalError,
    TooManyTriesError,
    UnknownReasonError,
)
from worker.review.minors.cases import CaseError
from worker.review.reveal.reveals import RevealError
from worker.store.hunts import HuntError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class UnauthorizedError(HashwardenError):
    """No token came, or one that lets nobody in."""

    code: ClassVar[str] = "unauthorized"


class ForbiddenError(HashwardenError):
    """The token's roles do not allow this."""

    code: ClassVar[str] = "forbidden"


class InvalidError(HashwardenError):
    """The request is not one that this operation understands."""

    code: ClassVar[str] = "invalid"


class TooLongError(HashwardenError):
    """The body is longer than any that the API takes."""

    code: ClassVar[str] = "too_long"


class LengthNeededError(HashwardenError):
    """The body came without a length."""

    code: ClassVar[str] = "length_needed"


class NoOperationError(HashwardenError):
    """The address is none of the API's."""

    code: ClassVar[str] = "no_operation"


class MethodError(HashwardenError):
    """The address is the API's, and takes other methods."""

    code: ClassVar[str] = "method"


class BrokenError(HashwardenError):
    """Something went wrong inside Hashwarden."""

    code: ClassVar[str] = "broken"


STATUSES: dict[type[HashwardenError], int] = {
    InvalidError: 422,
    UnauthorizedError: 401,
    TooManyTriesError: 429,
    ForbiddenError: 403,
    NoOperationError: 404,
    NotThereError: 404,
    MethodError: 405,
    LengthNeededError: 411,
    TooLongError: 413,
    UnknownReasonError: 422,
    ReviewError: 409,
    ClaimError: 409,
    AppealError: 409,
    ProposalError: 409,
    CaseError: 409,
    HuntError: 409,
    PeopleError: 409,
    DatabaseError: 503,
    BrokenError: 500,
}
"""The status of each error; that of a RevealError, from 400 to 503, is its own."""


class Fault(BaseModel):
    """One thing in the request that was not understood."""

    model_config = ConfigDict(extra="forbid")

    where: str = Field(description="Where in the request, like `body.verdict`.")
    why: str = Field(description="What is wrong there, in words.")


class Problem(BaseModel):
    """Why nothing was done (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="`urn:hashwarden:problem:` and the code.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status, as it was when the answer left.", ge=400, le=599)
    detail: str = Field(description="What happened, in one sentence.")
    code: str = Field(description="The kind of error; stable.")
    next_step: str = Field(description="What to do about it; may be empty.")
    faults: list[Fault] = Field(
        default_factory=list, description="Only with the code `invalid`: each thing that was not understood."
    )


def answer(
    error: HashwardenError, faults: list[Fault] | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer that tells of an error."""
    status = error.status if isinstance(error, RevealError) else _status(type(error))
    problem = Problem(
        type=f"urn:hashwarden:problem:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.code,
        next_step=error.next_step,
        faults=faults or [],
    )
    more = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = "Bearer"
    return _Ascii(problem.model_dump(), status, more, MEDIA_TYPE)


class _Ascii(JSONResponse):
    """JSON that escapes what UTF-8 can't hold: a lone surrogate in a name of the caller's must not break the answer."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 (the signature of Starlette)
        return json.dumps(content, allow_nan=False).encode("ascii")


def _status(kind: type[HashwardenError]) -> int:
    return next((STATUSES[each] for each in kind.__mro__ if each in STATUSES), 500)


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem."""
    app.add_exception_handler(HashwardenError, _expected)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(StarletteHTTPException, _by_status)
    app.add_exception_handler(SQLAlchemyError, _without_database)
    app.add_exception_handler(Exception, _broken)


def _expected(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HashwardenError)  # noqa: S101 (registered for it alone)
    return answer(error)


def _not_understood(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (as above)
    # What was sent is not sent back: it may be a text about a person.
    faults = [
        Fault(where=".".join(str(part) for part in each["loc"]), why=each["msg"]) for each in error.errors()
    ]
    wrong = InvalidError("The request was not understood.", next_step="openapi.json says what it may hold.")
    return answer(wrong, faults)


def _by_status(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 (as above)
    step = "openapi.json lists every address and its methods."
    if error.status_code == HTTPStatus.NOT_FOUND:
        return answer(NoOperationError("The API has no such address.", next_step=step))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return answer(MethodError("This address takes other methods.", next_step=step), headers=error.headers)
    return answer(InvalidError("The request was not understood.", next_step=step))


def _without_database(_request: Request, error: Exception) -> JSONResponse:
    log.error("api_without_database", fault=type(error).__name__)
    return answer(
        DatabaseError("The database can't be reached.", next_step="Nothing was changed; send it again later.")
    )


def _broken(_request: Request, _error: Exception) -> JSONResponse:
    return answer(
        BrokenError("Something went wrong inside Hashwarden.", next_step="The log names the place.")
    )
