"""The inbox as an application: `/v1/events` takes the notifications of stores, `/v1/items` the platform's own pushes.

What is answered by 2xx is committed; everything else is to be sent again. The token is looked at before the body is
read, no address that somebody sends is ever fetched, and nothing that was sent is in an answer or a log line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.database import Sessions
from config.errors import DatabaseError, HashwardenError
from config.settings import Settings
from worker.events.inbox import Inbox
from worker.events.parse import parse
from worker.push import faults
from worker.push.items import Items, read
from worker.push.tokens import Tokens
from worker.storage.protocol import ObjectStore

log = structlog.get_logger()

SOURCE = "event"

MAX_EVENT_BYTES = 1024 * 1024
"""S3's messages have at most 64 KiB; MinIO's and Ceph's hold one record each, with the object's metadata."""

MAX_ITEM_BYTES = 16 * 1024
"""A key, a version id and an etag, each escaped at its longest."""

BODY_SECONDS = 10.0
MOST_AT_ONCE = 16
"""Requests in work: each may hold a connection of the database. Further ones are sent away and come again."""

SAY_EVERY = 60.0

Handler = Callable[[Request], Awaitable[Response]]


class PushApp:
    """`asgi` is the application."""

    def __init__(self, settings: Settings, sessions: Sessions, store: ObjectStore, inbox: Inbox) -> None:
        stores, platform = Tokens(settings.inbox.store_tokens), Tokens(settings.inbox.platform_tokens)
        self._sessions = sessions
        self._inbox = inbox
        self._items = Items(sessions, store, inbox)
        self._at_once = 0
        self._said: dict[str, tuple[int, float]] = {}
        self.asgi = Starlette(
            routes=[
                Route("/v1/events", self.alive, methods=["HEAD"]),
                Route("/v1/events", self._guarded(stores, self.events), methods=["POST"]),
                Route("/v1/items", self._guarded(platform, self.items), methods=["POST"]),
                Route("/v1/items/{upload_id:int}", self._guarded(platform, self.item), methods=["GET"]),
                Route("/health/live", self.alive, methods=["GET"]),
                Route("/health/ready", self.ready, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _no_route, Exception: _broken},
        )

    async def alive(self, _request: Request) -> Response:
        """MinIO asks so before it sends, with or without a token."""
        return Response()

    async def ready(self, _request: Request) -> Response:
        """Whether a push would be taken: 503 without the database."""
        try:
            # Counted like a push: it holds a connection too, and anybody may ask.
            with self._counted():
                await run_in_threadpool(self._ask_database)
        except (SQLAlchemyError, faults.BusyError):
            return JSONResponse({"ready": False}, 503)
        return JSONResponse({"ready": True})

    async def events(self, request: Request) -> Response:
        """A store's notification, of any shape that the queue takes too; what is not understood is kept."""
        body = await _body(request, MAX_EVENT_BYTES)
        await run_in_threadpool(self._take, body)
        return Response(status_code=204)

    async def items(self, request: Request) -> Response:
        """An upload by reference; its place says what has become of it."""
        ref = read(await _body(request, MAX_ITEM_BYTES))
        item = await run_in_threadpool(self._items.take, ref)
        return JSONResponse(asdict(item), 202, {"Location": f"/v1/items/{item.upload_id}"})

    async def item(self, request: Request) -> Response:
        return JSONResponse(
            asdict(await run_in_threadpool(self._items.one, request.path_params["upload_id"]))
        )

    def _take(self, body: bytes) -> None:
        text_of_it = body.decode("utf-8", "replace")
        parsed = parse(text_of_it)
        if parsed.rejects:
            self._inbox.reject(SOURCE, text_of_it, parsed.rejects[0])
        self._inbox.take(parsed.events, SOURCE)

    def _ask_database(self) -> None:
        with self._sessions() as session:
            session.execute(text("SELECT 1"))

    def _guarded(self, tokens: Tokens, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                if not tokens.let_in(request.headers.get("authorization", "")):
                    raise faults.UnauthorizedError(
                        "No token came, or a wrong one.",
                        next_step="Send `Authorization: Bearer` and a token: of inbox.store_tokens or platform_tokens.",
                    )
                with self._counted():
                    return await handler(request)
            except SQLAlchemyError as fault:
                self._say(type(fault).__name__)
                return faults.answer(
                    DatabaseError("The database failed.", next_step="Nothing was taken; send it again.")
                )
            except HashwardenError as fault:
                self._say(fault.code)
                return faults.answer(fault)

        return guarded

    def _say(self, fault: str) -> None:
        """One line a minute and kind of fault: whoever has no token must not fill the log."""
        number, until = self._said.get(fault, (0, 0.0))
        now = time.monotonic()
        if now < until:
            self._said[fault] = (number + 1, until)
            return
        log.warning("push_not_taken", fault=fault, since_the_last_line=number)
        self._said[fault] = (0, now + SAY_EVERY)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._at_once >= MOST_AT_ONCE:
            raise faults.BusyError(
                f"{MOST_AT_ONCE} requests are being served.", next_step="Nothing was taken; send it again."
            )
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1


async def _body(request: Request, most: int) -> bytes:
    """The whole body, or TooLongError, TooSlowError."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise faults.TooLongError(
                        f"The body has more than {most} bytes.", next_step="Send a shorter one."
                    )
    except TimeoutError:
        raise faults.TooSlowError(
            f"The body did not come within {BODY_SECONDS:g} seconds.", next_step="Send it again."
        ) from None
    except ClientDisconnect:
        raise faults.TooSlowError("The body ended early.", next_step="Send it again.") from None
    return bytes(body)


async def _no_route(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        made = faults.answer(
            faults.MethodError(
                "This address takes another method.", next_step="docs/reference/inbox.md lists them."
            )
        )
        made.headers.update(error.headers or {})
        return made
    return faults.answer(
        faults.NotThereError("There is no such address.", next_step="docs/reference/inbox.md lists them.")
    )


async def _broken(_request: Request, error: Exception) -> Response:
    log.error("push_broken", fault=type(error).__name__)
    return faults.answer(
        faults.BrokenError("Something went wrong inside Hashwarden.", next_step="The log names the kind.")
    )
