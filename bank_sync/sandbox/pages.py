"""The pages of the practice bank for the person whose picture it is: hash and send, see the case, take it back.

They ask for nothing personal, set no cookie, and let a browser load and send nothing but what this module lists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from bank_sync.sandbox.intake import MOST_BYTES, Intake
from bank_sync.sandbox.wire import GONE, PracticeBank, PracticeError
from config.support import load_support

NEUTRAL = "https://www.wikipedia.org/"
"""Where the way out of every page leads."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; {more}form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
PAGE_POLICY = _POLICY.format(more="")
SEND_POLICY = _POLICY.format(more="worker-src 'self'; connect-src 'self'; ")
WORKER_POLICY = "default-src 'none'; script-src 'self'"
"""The worker reads the pictures: it may load the scripts beside it and can't connect to anything."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript"}


def pages(bank: PracticeBank) -> APIRouter:
    """The pages over this bank, with the scripts and the sheet that they load."""
    router = APIRouter()
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["neutral"] = NEUTRAL
    static = {path.name: path.read_bytes() for path in (_HERE / "static").iterdir()}
    support = load_support()
    intake = Intake(bank)

    def page(name: str, *, status: int = 200, policy: str = PAGE_POLICY, **shown: object) -> Response:
        text = templates.get_template(name).render(shown)
        return HTMLResponse(text, status, _HEADERS | {"Content-Security-Policy": policy})

    @router.get("/")
    async def _start() -> Response:
        return page("start.html", here="start")

    @router.get("/send")
    async def _send() -> Response:
        return page("send.html", here="send", policy=SEND_POLICY)

    @router.post("/cases")
    async def _open_case(request: Request) -> Response:
        # A form of another site can't send this type.
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise PracticeError(415, "The body must be JSON.")
        case = intake.open_case(await _body(request), request.headers.get("idempotency-key", ""))
        told = {"caseNumber": case.number, "pin": case.pin}
        return JSONResponse(told, 201, _HEADERS)

    @router.get("/case")
    async def _case_form() -> Response:
        return page("case_form.html", here="case", number="", problem="")

    @router.post("/case")
    async def _case(request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=3)
        number, pin, wish = (str(form.get(name, "")).strip() for name in ("number", "pin", "wish"))
        try:
            if wish == "withdraw":
                bank.end_case(number, pin, "Withdrawn")
            elif wish == "reopen":
                bank.reopen_case(number, pin)
            told = bank.progress(number, pin)
        except PracticeError as error:
            return page("case_form.html", here="case", status=error.status, number=number, problem=str(error))
        return page("case.html", here="case", number=number, pin=pin, wish=wish, **_shown(told))

    @router.get("/support")
    async def _support() -> Response:
        return page("support.html", here="support", places=support)

    @router.get("/wire")
    async def _wire() -> Response:
        return page("wire.html", here="wire")

    @router.get("/static/{name}")
    async def _static(name: str) -> Response:
        if name not in static:
            raise PracticeError(404, "There is no such file.")
        headers = _HEADERS | {"Content-Security-Policy": WORKER_POLICY}
        return Response(static[name], 200, headers, _TYPES[Path(name).suffix])

    return router


async def _body(request: Request) -> bytes:
    read = b""
    async for piece in request.stream():
        read += piece
        if len(read) > MOST_BYTES:
            raise PracticeError(413, f"The body is over {MOST_BYTES} bytes: only hashes are taken.")
    return read


def _shown(told: dict[str, Any]) -> dict[str, Any]:
    """What the case's page shows of `PracticeBank.progress`: one line a hash and platform."""
    files = []
    for known in told["hashes"]:
        said = {each["source"]: each["feedbackValue"] for each in known["feedback"]}
        platforms = sorted({*said, *known["pulled"]})
        files.append(
            {
                "kind": "Video" if known["signalType"].startswith("Video") else "Picture",
                "platforms": [
                    {"name": name, "said": said.get(name), "knows": _knows(known["pulled"].get(name))}
                    for name in platforms
                ],
            }
        )
    return {"files": files, "withdrawn": told["status"] in GONE}


def _knows(pulled: str | None) -> str:
    """What a platform that pulled a case with this status knows of it."""
    if pulled is None:
        return "nothing"
    return "withdrawn" if pulled in GONE else "active"
