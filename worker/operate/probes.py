"""What machines ask: `/health/live`, `/health/ready` and `/metrics`. They need no password and tell no data."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from bank_sync.epoch import EpochError
from config.database import Sessions
from config.errors import HashwardenError
from config.settings import Settings
from worker.operate.alarms.index import PointerReader
from worker.operate.broker import ask
from worker.operate.metrics import CONTENT_TYPE, Metrics
from worker.store.migrate import require_current


def router(settings: Settings, sessions: Sessions, pointer: PointerReader, metrics: Metrics) -> APIRouter:
    made = APIRouter()

    @made.get("/health/live")
    def live() -> dict[str, str]:
        """This process answers."""
        return {"status": "live"}

    @made.get("/health/ready")
    def ready() -> JSONResponse:
        """Database, epoch and broker, each ok or with the code of its fault; 503 when one is missing."""
        parts = {
            "database": _database(sessions),
            "epoch": _epoch(pointer),
            "broker": _broker(settings),
        }
        fine = all(state == "ok" for state in parts.values())
        return JSONResponse({"ready": fine, **parts}, status_code=200 if fine else 503)

    @made.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return made


def _database(sessions: Sessions) -> str:
    try:
        with sessions() as session:
            require_current(session.get_bind().engine)
    except HashwardenError as error:
        return error.code
    except SQLAlchemyError as error:
        return type(error).__name__
    return "ok"


def _epoch(pointer: PointerReader) -> str:
    try:
        pointer()
    except EpochError as error:
        return error.fault
    return "ok"


def _broker(settings: Settings) -> str:
    try:
        ask(settings.broker)
    except HashwardenError as error:
        return error.code
    return "ok"
