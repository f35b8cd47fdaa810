"""Serves moto's S3 and SQS on a socket that the parent has bound, without a line of log for a request.

Run as a script by `servers.Moto`; it must never log requests: their paths hold object keys.
Arguments: the file descriptor of the listening socket.
"""

import io
import logging
import socket
import sys
from typing import Any

# Quiet before werkzeug sets a level of its own.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

from moto.backends import get_backend  # noqa: E402
from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import FakeKey  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402


class _KeepAlive(MotoRequestHandler):
    protocol_version = "HTTP/1.1"


def _listed(key: FakeKey, _copied: dict[int, Any]) -> FakeKey:
    listed = object.__new__(FakeKey)
    # Its end closes the file of its bytes and of its parts, which are the stored one's.
    listed.__dict__.update(key.__dict__, _value_buffer=io.BytesIO(), multipart=None, disposed=True)
    return listed


# For each listing of versions moto copies every object of the bucket, bytes and all, and never forgets the copies.
setattr(FakeKey, "__deepcopy__", _listed)  # noqa: B010 - mypy knows of no such method


def main(fd: int) -> None:
    for service in ("s3", "sqs"):  # Loaded before the first request, which would wait for it.
        get_backend(service)
    listener = socket.socket(fileno=fd)
    host, port = listener.getsockname()
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(host, port, application, threaded=True, request_handler=_KeepAlive, fd=fd)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
