"""What the inbox answers when it does not do as asked: `application/problem+json` by RFC 9457, as the API does."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from starlette.responses import JSONResponse

from config.errors import DatabaseError, HashwardenError
from worker.errors import ObjectGone, ObjectSuperseded, StorageError, StorageRefused

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 2
"""Told to who comes while nothing can be taken; stores have pauses of their own."""


class UnauthorizedError(HashwardenError):
    """No token came, or a wrong one."""

    code: ClassVar[str] = "unauthorized"


class TooLongError(HashwardenError):
    """The body is longer than any that is taken."""

    code: ClassVar[str] = "too_long"


class TooSlowError(HashwardenError):
    """The body did not come in time."""

    code: ClassVar[str] = "too_slow"


class BusyError(HashwardenError):
    """As many requests as are served at once are being served."""

    code: ClassVar[str] = "busy"


class InvalidError(HashwardenError):
    """The body is not what this address takes."""

    code: ClassVar[str] = "invalid"


class NotScannedError(HashwardenError):
    """The object lies where nothing is scanned."""

    code: ClassVar[str] = "not_scanned"


class NotThereError(HashwardenError):
    """There is no such address or item."""

    code: ClassVar[str] = "not_there"


class MethodError(HashwardenError):
    """The address takes other methods."""

    code: ClassVar[str] = "method"


class BrokenError(HashwardenError):
    """Something went wrong inside Hashwarden."""

    code: ClassVar[str] = "broken"


STATUSES: dict[type[HashwardenError], int] = {
    UnauthorizedError: 401,
    NotThereError: 404,
    ObjectGone: 404,
    MethodError: 405,
    TooSlowError: 408,
    ObjectSuperseded: 409,
    TooLongError: 413,
    InvalidError: 422,
    NotScannedError: 422,
    BrokenError: 500,
    BusyError: 503,
    StorageError: 503,
    StorageRefused: 503,
    DatabaseError: 503,
}


def answer(error: HashwardenError) -> JSONResponse:
    """The answer that tells of an error."""
    status = STATUSES[type(error)]
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNAUTHORIZED):
        # The body was not read to its end.
        headers["Connection"] = "close"
    return JSONResponse(
        {
            "type": f"urn:hashwarden:problem:{error.code}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": error.message,
            "code": error.code,
            "next_step": error.next_step,
        },
        status,
        headers,
        MEDIA_TYPE,
    )
