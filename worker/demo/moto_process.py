"""Serves moto's S3 and SQS on a socket that the parent has bound, without a line of log for a request.

Run as a script by `servers.Moto`; it must never log requests: their paths hold object keys.
Arguments: the file descriptor of the listening socket.
"""

import logging
import socket
import sys

# Quiet before werkzeug sets a level of its own.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

from moto.backends import get_backend  # noqa: E402
from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server  # noqa: E402


class _KeepAlive(MotoRequestHandler):
    protocol_version = "HTTP/1.1"


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
