"""Child processes that never outlive us, the account they run under, and the folder for their sockets.

Nothing here may change a folder that it did not make: as root, a server that refuses to run as root gets data
folders of its own, never new permissions on their parents.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from config.errors import HashwardenError

SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path on Linux holds 108 bytes with its end mark
_POLL_SECONDS = 0.02
_STOP_SECONDS = 10.0
_RUNTIME_PREFIX = "hw-"
_RUNTIME_LOCK = "hashwarden.lock"
_LONGEST_SOCKET = "postgres/.s.PGSQL.5432"
_LEASH = Path(__file__).with_name("leash.py")

# The death signal belongs to the thread that forked, not to the process: all children are forked by one
# thread that lives as long as the process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-spawner")


class EmbeddedError(HashwardenError):
    """An embedded server can't be started, or ended by itself."""

    code = "embedded"


class EmbeddedMissingError(EmbeddedError):
    """The parts of the `[embedded]` extra are not installed, or not whole."""

    code = "embedded_missing"


@dataclass(frozen=True)
class Account:
    """An unprivileged user of this machine."""

    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Whether this account can reach what lies in `folder`; asked of the kernel, so ACLs count too."""
        try:
            probe = subprocess.run(  # noqa: S603 (fixed program, no shell)
                ["/usr/bin/test", "-x", str(folder)],
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                check=False,
            )
        except PermissionError as error:
            raise EmbeddedError(
                "PostgreSQL refuses to run as root, and this root may not start programs as another user.",
                next_step="Run the command as an ordinary user.",
            ) from error
        return probe.returncode == 0


def unprivileged_account() -> Account | None:
    """The account for servers that refuse to run as root; None when we are an ordinary user ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "daemon"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and this machine has no user nobody to run it as.",
        next_step="Run the command as an ordinary user.",
    )


class FolderLock:
    """An exclusive hold on a folder, shared with the servers that get its `fd`: it ends with the last of them."""

    def __init__(self, path: Path, *, wait: float = 0.0) -> None:
        """Takes the lock at `path`, trying for `wait` seconds. Raises BlockingIOError when it stays taken."""
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self.release()
                    raise
            time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        os.close(self.fd)


class RuntimeFolder:
    """A short-named folder for sockets, removed at the end; one left behind by a killed process goes first."""

    def __init__(self, account: Account | None) -> None:
        base = _runtime_base(account)
        for folder in base.glob(f"{_RUNTIME_PREFIX}*"):
            _remove_if_abandoned(folder)
        self.path = Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX, dir=base))
        if account is not None:
            self.path.chmod(0o711)
        # Locked under another name first, so that nobody finds it before it is locked.
        unnamed = self.path / "lock"
        self.lock = FolderLock(unnamed)
        unnamed.rename(self.path / _RUNTIME_LOCK)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.release()


def _runtime_base(account: Account | None) -> Path:
    for candidate in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 (mkdtemp below it)
        base = Path(candidate)
        longest = base / f"{_RUNTIME_PREFIX}12345678" / _LONGEST_SOCKET
        if len(os.fsencode(longest)) > SOCKET_PATH_BYTES or not os.access(base, os.W_OK | os.X_OK):
            continue
        if account is None or account.may_enter(base):
            return base
    raise EmbeddedError(
        "There is no folder for temporary files with a name short enough for sockets.",
        next_step="Set TMPDIR to a writable folder with a short name, such as /tmp.",
    )


def _remove_if_abandoned(folder: Path) -> None:
    lock_path = folder / _RUNTIME_LOCK
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid() or not lock_path.is_file():
            return
        lock = FolderLock(lock_path)
    except OSError:  # In use, or gone meanwhile.
        return
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()


def spawn(
    command: Sequence[str],
    *,
    log_path: Path,
    working_folder: Path,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    environment: Mapping[str, str] | None = None,
    keep_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own (the terminal's Ctrl-C is ours alone), output to `log_path`.

    It gets `death_signal` when this process ends in any way, SIGKILL included. Its environment is `environment`
    and the few names below: nothing of ours, which may hold credentials.
    """
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    leash = [
        sys.executable,
        "-I",
        "-S",
        str(_LEASH),
        str(os.getpid()),
        str(int(death_signal)),
        str(uid),
        str(gid),
    ]
    inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}

    def start() -> subprocess.Popen[bytes]:
        with log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 (programs of ours, no shell)
                [*leash, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=working_folder,
                env={**inherited, "LANG": "C.UTF-8", "TZ": "UTC", **(environment or {})},
                pass_fds=keep_fds,
                start_new_session=True,
            )

    return _spawner.submit(start).result()


class Server(ABC):
    """One server process: `begin` launches it, `wait_ready` returns when it answers. Subclasses say how."""

    name: str
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def begin(self) -> None:
        """Launches the server and returns at once."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server takes requests now."""

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Returns when the server takes requests. Raises EmbeddedError when it ended or is too slow."""
        self.wait_for(self.answers, timeout)

    def start(self) -> None:
        self.begin()
        self.wait_ready()

    def stop(self) -> None:
        """Ends the server in an orderly way, by force after ten seconds. Does nothing when it is not running."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """Ends the server and all its children at once, as a crash would (SIGKILL)."""
        if self._process is None:
            return
        if self._process.poll() is None:
            children = children_of(self._process.pid)
            self._process.kill()
            self._process.wait()
            for pid in children:
                _kill(pid)
            deadline = time.monotonic() + _STOP_SECONDS
            while any(alive(pid) for pid in children) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        self._process = None

    def restart(self) -> None:
        """Stops the server where it runs, and starts it at the same address."""
        self.stop()
        self.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id. Raises EmbeddedError when the server was not started."""
        if self._process is None:
            raise EmbeddedError(f"{self.name} is not running.", next_step="Start it first.")
        return self._process.pid

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            ended = self._process.poll() if self._process else None
            if ended is not None:
                self._process = None
                raise EmbeddedError(
                    f"The embedded {self.name} ended with code {ended} while starting.",
                    next_step=f"Its log {self.log_path} says why.",
                )
            if time.monotonic() >= deadline:
                self.kill()
                raise EmbeddedError(
                    f"The embedded {self.name} did not answer within {timeout:g} seconds.",
                    next_step=f"Its log {self.log_path} may say why; try again when the machine is less busy.",
                )
            time.sleep(_POLL_SECONDS)


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _status(int(entry.name))[1] == pid]


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not yet reaped does not."""
    return _status(pid)[0] not in ("", "Z", "X")


def _status(pid: int) -> tuple[str, int]:
    """State letter and parent of a process; an empty letter when there is none (proc(5), `stat`)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", -1
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
