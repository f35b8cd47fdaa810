"""Logging set-up: structlog on top of the standard library, JSON lines on standard error.

Nothing logged may carry a hash, a bank entry, a case number, a credential, an object key or a picture.
"""

from __future__ import annotations

import logging
import sys

import structlog

from config.settings import LogSettings

_QUIET = (
    "boto3",
    "botocore",
    "urllib3",
    "httpx",
    "httpcore",
    "kombu",
    "amqp",
    "s3transfer",
    "alembic",
    "faiss",
    "celery.app.trace",
    "celery.worker.strategy",
)
"""Libraries whose info and debug lines name addresses, object keys or whole answers, or tell of every single task."""


def configure_logs(settings: LogSettings) -> None:
    """Sets up structlog and the root logger; call once a process."""
    level = getattr(logging, settings.level.upper())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _only_the_kind_of_exception,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _only_the_kind_of_exception(
    _logger: structlog.types.WrappedLogger, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Replaces a traceback by exception type and place: messages of foreign exceptions may quote data."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[1] is not None:
        frame = info[2]
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        event["exception"] = info[0].__name__ if info[0] else "unknown"
        if frame is not None:
            event["raised_at"] = f"{frame.tb_frame.f_code.co_name}:{frame.tb_lineno}"
    return event
