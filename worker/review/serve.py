"""Puts the review pages on their address; without TLS in front never on one that other hosts reach."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import ClassVar

import uvicorn
from fastapi import FastAPI

from config.errors import HashwardenError, SettingsError
from config.settings import ReviewSettings

TURN_SECONDS = 10
"""How often the loop that serves says that it turns."""


class BindError(HashwardenError):
    """The pages can't listen on their address."""

    code: ClassVar[str] = "bind"


def serve(
    app: FastAPI, settings: ReviewSettings, stop: threading.Event, ready: Callable[[str], None]
) -> None:
    """Serves until `stop` is set; `ready` is told the address once it listens.

    Raises SettingsError for an address of other hosts without TLS, BindError when it can't be had.
    """
    if not settings.tls and not is_loopback(settings.host):
        raise SettingsError(
            f"The review pages would listen on {settings.host} without TLS.",
            next_step="Put TLS in front and set HASHWARDEN_REVIEW__TLS=true, or review.host to 127.0.0.1.",
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise BindError(
            f"The review pages can't listen on {settings.host} port {settings.port}: {error.strerror}.",
            next_step="Set HASHWARDEN_REVIEW__HOST and HASHWARDEN_REVIEW__PORT to an address that is free.",
        ) from None
    # Connections inherit it. An answer goes out as head and body: without it the body waits for the other side's
    # acknowledgement of the head, 40 ms; asyncio sets it only for sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        host = f"[{settings.host}]" if family is socket.AF_INET6 else settings.host
        ready(f"http://{host}:{listener.getsockname()[1]}/")

        async def turn() -> None:
            """That this loop turns is seen by `hashwarden alive`."""
            stop.is_set()

        # Addresses hold no more than ids, yet who looked at which review is nobody's log line.
        config = uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            callback_notify=turn,
            timeout_notify=TURN_SECONDS,
        )
        server = uvicorn.Server(config)
        threading.Thread(target=_end, args=(server, stop), daemon=True).start()
        server.run(sockets=[listener])


def _end(server: uvicorn.Server, stop: threading.Event) -> None:
    """uvicorn's own handlers stand only while it serves: a signal before that must not be lost."""
    stop.wait()
    server.should_exit = True


def is_loopback(host: str) -> bool:
    """Whether only this host reaches the address; a name other than localhost counts as open."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
