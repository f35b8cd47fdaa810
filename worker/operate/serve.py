"""Puts an application on its address; without TLS in front never on one that other hosts reach."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp

from config.errors import HashwardenError, SettingsError

TURN_SECONDS = 10
"""How often the loop that serves says that it turns."""


class BindError(HashwardenError):
    """A service can't listen on its address."""

    code: ClassVar[str] = "bind"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an application is served; `what` names it in sentences, `group` the settings that say so."""

    what: str
    group: str
    host: str
    port: int
    tls: bool


def serve(app: ASGIApp, place: Place, stop: threading.Event, ready: Callable[[str], None]) -> None:
    """Serves until `stop` is set; `ready` is told the address once it listens.

    Raises SettingsError for an address of other hosts without TLS, BindError when it can't be had.
    """
    variable = f"HASHWARDEN_{place.group.upper()}__"
    if not place.tls and not is_loopback(place.host):
        raise SettingsError(
            f"The {place.what} would listen on {place.host} without TLS.",
            next_step=f"Put TLS in front and set {variable}TLS=true, or {place.group}.host to 127.0.0.1.",
        )
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        listener = socket.create_server((place.host, place.port), family=family)
    except OSError as error:
        raise BindError(
            f"The {place.what} can't listen on {place.host} port {place.port}: {error.strerror}.",
            next_step=f"Set {variable}HOST and {variable}PORT to an address that is free.",
        ) from None
    # Connections inherit it. An answer goes out as head and body: without it the body waits for the other side's
    # acknowledgement of the head, 40 ms; asyncio sets it only for sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        host = f"[{place.host}]" if family is socket.AF_INET6 else place.host
        ready(f"http://{host}:{listener.getsockname()[1]}/")

        async def turn() -> None:
            """That this loop turns is seen by `hashwarden alive`."""
            stop.is_set()

        # Addresses hold no more than ids, yet who looked at what is nobody's log line.
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
