"""The seam between the worker and the decoders: sealed bytes go in; checked hashes, or few checked pixels, come out.

Refusals and crashes of hostile media are results; only a fault of the sandbox itself raises. This module and
all it imports must stay free of decoders: the worker's process never parses media.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import structlog

from worker.domain import CloserLook, HashedMedia, Kind, Profile
from worker.errors import SandboxError
from worker.media import child, raster, record, request
from worker.media.isolation import Wall
from worker.media.limits import Limits, Reason, refused
from worker.media.media import Media
from worker.media.request import Hashing
from worker.media.rungs import Showing, Shown
from worker.media.sniff import Format
from worker.media.views import with_complements

_log = structlog.get_logger()

_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    # Each thread adds address space, and a fork copies one thread only.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    # A child touches only new memory. By huge pages that costs a third less of a small picture's time, and only the
    # heap has them: up to 32 MiB come from it, it grows by 8 MiB, and what is freed stays for what is asked for next.
    "GLIBC_TUNABLES": ":".join(
        (
            "glibc.malloc.hugetlb=1",
            f"glibc.malloc.mmap_threshold={32 << 20}",
            f"glibc.malloc.top_pad={8 << 20}",
            f"glibc.malloc.trim_threshold={1 << 30}",
        )
    ),
}
_PACKAGES = Path(__file__).resolve().parents[2]
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from worker.media import child; "
    "child.main(int(sys.argv[2]), child.unpack_limits(sys.argv[3]))"
)
_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0
_RETRY = "It is tried again; if this lasts, see `hashwarden doctor`."


class MediaSandbox(Protocol):
    """Hashes objects. Closed by `close`, or by leaving its `with`."""

    def hash(
        self, media: Media, profile: Profile = Profile.PLAIN, closer: CloserLook | None = None
    ) -> HashedMedia:
        """Hash one object: every view that `profile` looks up, complements included.

        With `closer`, of a picture: instead of the profile's views of an edited copy the fine ones around its seeds.

        What can't be hashed comes back as UNSUPPORTED or UNSCANNABLE with a `Reason`. A partial decode comes
        back with its hashes, `partial`, and the limit that ended it as the reason, if one did.
        Raises `SandboxError` for a fault of the sandbox itself.
        """
        ...

    def close(self) -> None: ...


class MediaViewer(Protocol):
    """Shows objects to a reviewer; each sandbox that hashes is one too."""

    def show(self, media: Media, showing: Showing) -> Shown:
        """Render one object for a reviewer's eyes: no more pixels than the rung allows, and no other data.

        What can't be shown comes back without rasters and with a `Reason`. Raises `SandboxError` as `hash` does.
        """
        ...

    def close(self) -> None: ...


def refusal_unseen(media: Media, format_: Format, limits: Limits) -> Reason | None:
    """What can be refused without any decoder: empty, of no allowed format, too long."""
    if media.size == 0:
        return Reason.EMPTY
    if format_ is Format.UNKNOWN:
        return Reason.FORMAT_NOT_ALLOWED
    if media.size > (limits.image_bytes if format_.kind is Kind.IMAGE else limits.video_bytes):
        return Reason.FILE_SIZE_LIMIT
    return None


def read_record(untrusted_record: bytes, format_: Format, limits: Limits) -> HashedMedia:
    """The checked result of a child, with complements; a record out of bounds counts as a crash."""
    try:
        media = record.parse(untrusted_record, format_, limits)
    except record.RecordError as fault:
        _log.warning("sandbox_record_refused", fault=str(fault))
        return refused(Reason.CRASHED)
    return replace(media, hashes=with_complements(media.hashes))


def read_raster(untrusted_record: bytes, showing: Showing, kind: Kind) -> Shown:
    """The checked rasters of a child; a record out of bounds counts as a crash."""
    try:
        return raster.parse(untrusted_record, showing, kind)
    except record.RecordError as fault:
        _log.warning("sandbox_record_refused", fault=str(fault))
        return Shown(reason=Reason.CRASHED)


class _Zygote:
    """One running zygote and the socket to it. Raises `SandboxError` when it doesn't start or has ended."""

    def __init__(self, limits: Limits) -> None:
        self.owner = os.getpid()
        self._jobs = 0
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            arguments = [str(_PACKAGES), str(theirs.fileno()), child.pack_limits(limits)]
            try:
                self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                    [sys.executable, "-I", "-c", _START, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_ENVIRONMENT,
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as fault:
                self.control.close()
                raise SandboxError("The hashing process could not be started.", next_step=_RETRY) from fault
        self.walls = self._greeting()

    def _greeting(self) -> Wall:
        self.control.settimeout(_START_SECONDS)
        try:
            greeting = self.control.recv(child.GREETING.size)
        except OSError:
            greeting = b""
        if len(greeting) != child.GREETING.size:
            self.end()
            raise SandboxError(
                f"The hashing process ended with status {self.process.returncode} before it was ready.",
                next_step="Check that the installation is complete; it needs Linux 5.3 or newer.",
            )
        self.control.settimeout(None)
        return Wall(child.GREETING.unpack(greeting)[1])

    def send(self, media: Media, format_: Format, task: Hashing | Showing) -> int:
        """Hand over one object; returns the read end of its result pipe. Raises OSError when the zygote is gone."""
        self._jobs += 1
        packed = request.pack(self._jobs, format_, task)
        read_end, write_end = os.pipe()
        try:
            socket.send_fds(self.control, [packed], [media.fd, write_end], socket.MSG_NOSIGNAL)
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        os.set_blocking(read_end, False)
        return read_end

    def receive(self, result: int, longest: int, seconds: float) -> tuple[int, int, bytes]:
        """How the child ended, and the untrusted record it wrote, one byte over `longest` at most."""
        untrusted_record = bytearray()
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(result, select.POLLIN)
        while True:
            events = {fd for fd, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)}
            if not events:
                raise SandboxError("The hashing process does not answer.", next_step=_RETRY)
            if result in events and not _drain(result, untrusted_record, longest + 1):
                poll.unregister(result)
            if self.control.fileno() in events:
                break
        reply = self.control.recv(child.REPLY.size)
        if len(reply) != child.REPLY.size:
            raise SandboxError("The hashing process ended in the middle of an object.", next_step=_RETRY)
        job, ended, status = child.REPLY.unpack(reply)
        if job != self._jobs:
            raise SandboxError("The hashing process answered for another object.", next_step=_RETRY)
        _drain(result, untrusted_record, longest + 1)
        return ended, status, bytes(untrusted_record)

    def end(self) -> None:
        """End the process; its children die with it."""
        self.control.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
        else:
            # A fork of the owner: the process is not this one's child, only the socket's copy is its own.
            self.process.returncode = 0


def _drain(fd: int, into: bytearray, longest: int) -> bool:
    """Read what is there, `longest` in all at most; False when no more will be read."""
    while len(into) < longest:
        try:
            chunk = os.read(fd, min(65_536, longest - len(into)))
        except BlockingIOError:
            return True
        if not chunk:
            return False
        into += chunk
    return False


class ZygoteSandbox:
    """The sandbox of production: one zygote, started at the first use, one child an object.

    Safe to share between threads, which take turns; a process forked from this one starts a zygote of its own.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None

    @property
    def walls(self) -> Wall:
        """Which walls stand around the decoders on this machine; starts the zygote."""
        with self._lock:
            return self._ready().walls

    def hash(
        self, media: Media, profile: Profile = Profile.PLAIN, closer: CloserLook | None = None
    ) -> HashedMedia:
        format_ = media.format()
        refusal = refusal_unseen(media, format_, self._limits)
        if refusal is not None:
            return refused(refusal)
        longest = record.longest(format_, self._limits)
        done = self._do(media, format_, Hashing(profile, closer), longest)
        return refused(done) if isinstance(done, Reason) else read_record(done, format_, self._limits)

    def show(self, media: Media, showing: Showing) -> Shown:
        format_ = media.format()
        refusal = refusal_unseen(media, format_, self._limits)
        if refusal is not None:
            return Shown(reason=refusal)
        done = self._do(media, format_, showing, raster.longest(showing, format_.kind))
        return Shown(reason=done) if isinstance(done, Reason) else read_raster(done, showing, format_.kind)

    def _do(self, media: Media, format_: Format, task: Hashing | Showing, longest: int) -> bytes | Reason:
        """The untrusted record of a child that did the task, or why there is none."""
        _, wall = request.task_times(format_.kind, task, self._limits)
        with self._lock:
            result = self._send(media, format_, task)
            try:
                zygote = self._ready()
                ended, status, untrusted_record = zygote.receive(result, longest, wall + _GRACE_SECONDS)
            except BaseException:
                self._discard()
                raise
            finally:
                os.close(result)
        return untrusted_record if (ended, status) == (child.EXITED, 0) else _reason(ended, status)

    def close(self) -> None:
        with self._lock:
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, media: Media, format_: Format, task: Hashing | Showing) -> int:
        """Hand over the object; a zygote that has ended meanwhile is replaced once."""
        try:
            return self._ready().send(media, format_, task)
        except OSError:
            _log.warning("sandbox_restarted")
            self._discard()
        try:
            return self._ready().send(media, format_, task)
        except OSError as fault:
            self._discard()
            raise SandboxError("The hashing process takes no objects.", next_step=_RETRY) from fault

    def _ready(self) -> _Zygote:
        if self._zygote is not None and self._zygote.owner != os.getpid():
            self._discard()
        if self._zygote is None:
            self._zygote = _Zygote(self._limits)
        return self._zygote

    def _discard(self) -> None:
        if self._zygote is not None:
            self._zygote.end()
            self._zygote = None


def _reason(ended: int, status: int) -> Reason:
    if ended == child.TIMED_OUT:
        return Reason.WALL_LIMIT
    if ended == child.SIGNALLED and status == signal.SIGXCPU:
        return Reason.CPU_LIMIT
    if ended == child.SIGNALLED and status == signal.SIGSYS:
        # Decoders ask for none of what the filter ends a child for: somebody's code ran in it.
        _log.error("sandbox_intrusion_stopped")
    return Reason.CRASHED
