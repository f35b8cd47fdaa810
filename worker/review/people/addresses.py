"""From which address a request comes, as sign-ins and tokens are slowed down by it."""

from __future__ import annotations

from starlette.requests import Request

from config.settings import ReviewSettings


def address_of(request: Request, settings: ReviewSettings) -> str:
    """Behind TLS the last entry of X-Forwarded-For: the proxy in front wrote it."""
    forwarded = request.headers.get("x-forwarded-for", "") if settings.tls else ""
    nearest = forwarded.rpartition(",")[2].strip()[:100]
    return nearest or (request.client.host if request.client else "")
