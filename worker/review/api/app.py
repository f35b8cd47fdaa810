"""The API as an application of its own, mounted under `/api/v1`: its operations, its errors and its description."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.middleware.base import RequestResponseEndpoint
from starlette.routing import Mount

from bank_sync.epoch import Pointer
from config.database import Sessions
from config.settings import Settings
from worker.review.api import problems
from worker.review.api.appeals import AppealOperations
from worker.review.api.audit import AuditOperations
from worker.review.api.bearer import Bearers
from worker.review.api.figures import FigureOperations
from worker.review.api.me import MeOperations
from worker.review.api.minors import MinorOperations
from worker.review.api.openapi import describe
from worker.review.api.people import PeopleOperations
from worker.review.api.proposals import ProposalOperations
from worker.review.api.query import known_query
from worker.review.api.reveal import RevealOperations
from worker.review.api.reviews import ReviewOperations
from worker.review.api.uploads import UploadOperations
from worker.review.desk.desk import Desk, Wake
from worker.review.desk.minor_desk import MinorDesk
from worker.review.figures.snapshot import Snapshots
from worker.review.reveal.reveals import Reveals

WHERE = "/api/v1"

MAX_BODY_BYTES = 64 * 1024


def make_api(
    settings: Settings,
    sessions: Sessions,
    pointer: Callable[[], Pointer],
    desk: Desk,
    minors: MinorDesk,
    snapshots: Snapshots,
    wake: Wake,
    reveals: Reveals | None,
) -> FastAPI:
    """The API; everything but its description needs a token. Without `reveals` no picture is shown."""
    api = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    bearers = Bearers(settings.review, sessions)
    for operations in (
        ReviewOperations(settings.review, desk, reveals),
        RevealOperations(reveals),
        MinorOperations(minors),
        AppealOperations(desk),
        UploadOperations(settings, sessions, pointer),
        ProposalOperations(settings, sessions, wake),
        PeopleOperations(settings.review, sessions),
        MeOperations(settings.review, sessions),
        AuditOperations(sessions),
        FigureOperations(snapshots),
    ):
        api.include_router(operations.router(), dependencies=[Depends(bearers.enter), Depends(known_query)])
    # Half a second, which no start needs to wait for.
    described = cache(partial(describe, api, WHERE))

    @api.get("/openapi.json", include_in_schema=False)
    def description() -> JSONResponse:
        return JSONResponse(described())

    problems.install(api)
    api.middleware("http")(_bounded)
    return api


class ApiMount(Mount):
    """The place of the API in the console; a line feed in an address does not lead to the pages."""

    def __init__(self, api: FastAPI) -> None:
        super().__init__(WHERE, app=api)
        # `.` of the pattern matches no line feed without it.
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)


async def _bounded(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """No body longer than any operation takes: it is read before the token is."""
    if "transfer-encoding" in request.headers:
        return problems.answer(
            problems.LengthNeededError(
                "The body came without a length.", next_step="Send a Content-Length, not in chunks."
            )
        )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return problems.answer(
            problems.TooLongError(
                f"The body has more than {MAX_BODY_BYTES} bytes.", next_step="Send a shorter one."
            )
        )
    return await call_next(request)
