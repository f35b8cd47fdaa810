"""A relay between a browser and a server that keeps every byte which the browser sent."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PIECE = 65_536


class Tap:
    """What went by."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._lock = threading.Lock()
        self._sent = bytearray()
        self.address = ""

    @property
    def sent(self) -> bytes:
        """Everything that was sent so far, over all connections."""
        with self._lock:
            return bytes(self._sent)

    def carry(self, client: socket.socket) -> None:
        """Relays one connection until both sides have ended it."""
        with socket.create_connection(self._upstream) as server:
            back = threading.Thread(target=self._pump, args=(server, client, False))
            back.start()
            self._pump(client, server, True)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        try:
            while piece := source.recv(_PIECE):
                if keep:
                    with self._lock:
                        self._sent += piece
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # The other side is gone: so is this connection.
            pass


@contextmanager
def tapped(host: str, port: int) -> Iterator[Tap]:
    """A relay on a port of its own before `host:port`."""
    tap = Tap(host, port)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            tap.carry(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        tap.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield tap
        finally:
            server.shutdown()
            thread.join()
