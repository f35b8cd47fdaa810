"""The practice bank as a web service: the partner wire, and the practice-only door for cases and faults.

It logs counts only, and nothing that it is told is ever written to disk.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from bank_sync.sandbox.faults import Faults
from bank_sync.sandbox.pages import pages
from bank_sync.sandbox.wire import TOKEN_SECONDS, PracticeBank, PracticeError

PLATFORM = "practice-platform"
"""The name under which feedback given with the practice keys appears."""

_MAX_PAGE = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PracticeKeys:
    """The keys it accepts. The defaults are public: a practice bank holds nothing worth a secret."""

    subscription: str = "practice-subscription-key"
    fetch: str = "practice-fetch-key"
    submit: str = "practice-submit-key"
    feedback: str = "practice-feedback-key"


def make_app(keys: PracticeKeys | None = None, *, now: Callable[[], float] = time.time) -> FastAPI:
    """A practice bank of its own, empty."""
    accepted = keys or PracticeKeys()
    bank = PracticeBank(now)
    faults = Faults()
    app = FastAPI(title="Hashwarden practice bank", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(pages(bank))

    @app.exception_handler(PracticeError)
    async def _refuse(_request: Request, error: PracticeError) -> Response:
        return JSONResponse({"statusCode": error.status, "message": str(error)}, error.status)

    @app.get("/FetchHashes")
    async def _fetch(request: Request) -> Response:
        _check_keys(request, accepted.subscription, accepted.fetch)
        if (bent := await _before(faults)) is not None:
            return bent
        query = request.query_params
        try:
            start, size = int(query["startTimestamp"]), int(query.get("pageSize", "800"))
        except (KeyError, ValueError):
            raise PracticeError(400, "startTimestamp and pageSize must be whole numbers.") from None
        if not 0 < size <= _MAX_PAGE:
            raise PracticeError(400, f"pageSize must be 1 to {_MAX_PAGE}.")
        token = query.get("nextPageToken")
        if token is not None and faults.use("same_page") is not None:
            token, same = None, True
        else:
            same = token is None and "same_page" in faults.listed()
        expiry = faults.use("token_expires") if token else None
        seconds = TOKEN_SECONDS if expiry is None else float(expiry.get("seconds", 0))
        records, high, following, more = bank.page(PLATFORM, start, size, token, seconds)
        body: dict[str, Any] = {
            "count": len(records),
            "hasMoreRecords": more or same,
            "nextSetTimestamp": high,
            "nextPageToken": following,
            "hashRecords": records,
        }
        body = faults.bend_page(body, first=token is None)
        log.info("practice_page", records=len(records), more=body.get("hasMoreRecords"))
        raw = json.dumps(body)
        if faults.use("truncated_json") is not None:
            raw = raw[: len(raw) // 2]
        return Response(raw, media_type="application/json")

    @app.post("/SubmitHashes")
    async def _submit_hashes(request: Request) -> Response:
        _check_keys(request, accepted.subscription, accepted.submit)
        if (bent := await _before(faults)) is not None:
            return bent
        records = await _counted(request, "hashRecords")
        bank.submit_hashes(PLATFORM, records)
        return _posted(faults, len(records))

    @app.post("/SubmitFeedback")
    async def _submit_feedback(request: Request) -> Response:
        _check_keys(request, accepted.subscription, accepted.feedback)
        if (bent := await _before(faults)) is not None:
            return bent
        items = await _counted(request, "hashFeedbacks")
        bank.submit_feedback(PLATFORM, items)
        log.info("practice_feedback", items=len(items))
        return _posted(faults, len(items))

    @app.post("/practice/cases")
    async def _open_case(request: Request) -> Response:
        hashes = (await _json(request)).get("hashes")
        if not isinstance(hashes, list) or not all(isinstance(item, dict) for item in hashes):
            raise PracticeError(400, "A case needs a list of hashes.")
        case = bank.open_case((str(h.get("signalType")), str(h.get("hashValue", ""))) for h in hashes)
        log.info("practice_case", **bank.counts())
        return JSONResponse({"caseNumber": case.number, "pin": case.pin}, 201)

    @app.get("/practice/cases/{number}")
    async def _progress(number: str, pin: str = "") -> Response:
        return JSONResponse(bank.progress(number, pin))

    @app.post("/practice/cases/{number}/withdraw")
    async def _withdraw(number: str, request: Request) -> Response:
        told = await _json(request)
        status = "Deleted" if told.get("delete") else "Withdrawn"
        return JSONResponse({"hashes": bank.end_case(number, str(told.get("pin", "")), status)})

    @app.post("/practice/cases/{number}/reopen")
    async def _reopen(number: str, request: Request) -> Response:
        told = await _json(request)
        return JSONResponse({"hashes": bank.reopen_case(number, str(told.get("pin", "")))})

    @app.put("/practice/faults")
    async def _set_faults(request: Request) -> Response:
        faults.set(await _json(request))
        return JSONResponse(faults.listed())

    @app.get("/practice/faults")
    async def _list_faults() -> Response:
        return JSONResponse(faults.listed())

    return app


@contextmanager
def running(host: str = "127.0.0.1", port: int = 0, keys: PracticeKeys | None = None) -> Iterator[str]:
    """A practice bank on a real socket in a thread of this process; yields its base address."""
    server, listener = _server(make_app(keys), host, port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="practice-bank")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def serve(host: str, port: int, ready: Callable[[str], None]) -> None:
    """Runs a practice bank in the foreground until it is told to end; `ready` gets its base address."""
    server, listener = _server(make_app(), host, port)
    try:
        ready(f"http://{host}:{listener.getsockname()[1]}")
        server.run(sockets=[listener])
    finally:
        listener.close()


def _server(app: FastAPI, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    listener = socket.create_server((host, port), backlog=128)
    # Connections inherit it; asyncio sets it only for sockets that name their protocol, and answers wait 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Access logs would hold page tokens.
    config = uvicorn.Config(
        app, access_log=False, log_level="warning", ws="none", lifespan="off", log_config=None
    )
    return uvicorn.Server(config), listener


def _check_keys(request: Request, subscription: str, function: str) -> None:
    for header, wanted in (("Ocp-Apim-Subscription-Key", subscription), ("x-functions-key", function)):
        given = request.headers.get(header, "")
        if not secrets.compare_digest(given.encode(), wanted.encode()):
            raise PracticeError(401, f"{header} is missing or not the key of this endpoint.")


async def _before(faults: Faults) -> Response | None:
    """The faults that concern any endpoint; an answer that replaces the endpoint's own."""
    if (slow := faults.use("slow")) is not None:
        await asyncio.sleep(float(slow.get("seconds", 1)))
    if (status := faults.use("status")) is not None:
        headers = {"Retry-After": str(status["retry_after"])} if "retry_after" in status else None
        code = int(status.get("code", 500))
        return JSONResponse({"statusCode": code, "message": "Practice fault."}, code, headers)
    if faults.use("html_200") is not None:
        return HTMLResponse("<html><body>Down for maintenance</body></html>")
    return None


async def _json(request: Request) -> dict[str, Any]:
    try:
        told = await request.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise PracticeError(400, "The body must be a JSON object.")
    return told


async def _counted(request: Request, name: str) -> list[dict[str, Any]]:
    told = await _json(request)
    items = told.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PracticeError(400, f"{name} must be a list of objects.")
    if told.get("count") != len(items):
        raise PracticeError(400, f"count is not the number of {name}.")
    return items


def _posted(faults: Faults, count: int) -> Response:
    if faults.use("post_204") is not None:
        return Response(status_code=204)
    if faults.use("post_empty") is not None:
        return Response(status_code=200)
    return JSONResponse({"accepted": count})
