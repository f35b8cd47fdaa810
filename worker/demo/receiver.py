"""The demonstration's stand-in for a platform: takes webhooks on a real socket and checks their signatures.

It keeps event types and ids only, in memory.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One event whose signature was right."""

    message_id: str
    type: str
    data: dict[str, Any]


class Receiver:
    """What the platform has been told. Safe from several threads."""

    def __init__(self, secret: str) -> None:
        self._verifier = Webhook(secret)
        self._lock = threading.Lock()
        self._received: dict[str, Received] = {}
        self._refused = 0
        self.url = ""

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Checks one delivery and keeps it; the HTTP status to answer with. One sent twice is kept once."""
        try:
            event = self._verifier.verify(body, headers)
        except WebhookVerificationError:
            with self._lock:
                self._refused += 1
            return 401
        received = Received(headers["webhook-id"], str(event["type"]), dict(event["data"]))
        with self._lock:
            self._received[received.message_id] = received
        return 204

    @property
    def refused(self) -> int:
        """Deliveries whose signature was wrong or missing."""
        with self._lock:
            return self._refused

    def received(self) -> list[Received]:
        with self._lock:
            return list(self._received.values())

    def counts(self) -> Counter[str]:
        """How many events came of each type."""
        return Counter(event.type for event in self.received())

    def keys_told(self, event_type: str) -> set[str]:
        """The object keys that events of a type named."""
        return {str(event.data["key"]) for event in self.received() if event.type == event_type}


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    """A receiver on a free loopback port, in threads of this process."""
    receiver = Receiver(secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("content-length", "0")), _MAX_BYTES)
            body = self.rfile.read(length)
            self.send_response(receiver.take(body, {k.lower(): v for k, v in self.headers.items()}))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the terminal belongs to the demonstration."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hashwarden"
    thread = threading.Thread(target=server.serve_forever, name="platform", daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
