"""The zygote: a fresh interpreter with all decoders loaded, which forks one walled-in child for each object.

It is started by exec with a scrubbed environment, so it holds no credential, connection or index of the
worker; it talks to its parent over one socket and must never interpret what a child writes.

Wire, on a SOCK_SEQPACKET socket: first a greeting (which walls stand), then for each request with two
descriptors, the sealed media and the write end of the result pipe, one reply: how the child ended.
"""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import importlib
import math
import os
import select
import signal
import socket
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from worker.domain import Kind
from worker.media import request
from worker.media.isolation import (
    Wall,
    adopt_orphans,
    die_with_parent,
    end_orphans,
    limit_resources,
    try_walls_of_child,
    wall_in,
    wall_in_child,
)
from worker.media.limits import Limits, Reason
from worker.media.request import Hashing, task_times
from worker.media.rungs import Showing
from worker.media.sniff import Format

GREETING = struct.Struct("<4sI")
GREETING_MAGIC = b"HWZ1"
REPLY = struct.Struct("<QBi")
"""Job number, how the child ended (one of the three below), exit status or signal number."""
EXITED, SIGNALLED, TIMED_OUT = range(3)

Answer = Callable[[int, int], bytes]
"""From a descriptor and a size to the record of what was found."""

_LIMITS = struct.Struct(
    "<" + "".join("d" if field.type is float else "q" for field in dataclasses.fields(Limits))
)


def pack_limits(limits: Limits) -> str:
    """The limits as one command line argument."""
    return _LIMITS.pack(*dataclasses.astuple(limits)).hex()


def unpack_limits(argument: str) -> Limits:
    """Read what `pack_limits` wrote."""
    return Limits(*_LIMITS.unpack(bytes.fromhex(argument)))


@dataclass(frozen=True, slots=True)
class _Job:
    """One object: what a child does with it, what it says where memory ran out, and what it may cost.

    Times in seconds, memory in bytes beside the object's own.
    """

    answer: Answer
    out_of_memory: bytes
    cpu: float
    wall: float
    memory: int
    threads: bool


def _job(decoders: ModuleType, format_: Format, task: Hashing | Showing, limits: Limits) -> _Job:
    image = format_.kind is Kind.IMAGE
    cpu, wall = task_times(format_.kind, task, limits)
    # libheif decodes in a thread of its own and has no setting without.
    threads = format_ is Format.HEIF
    memory = limits.image_memory if image else limits.video_memory
    answer = functools.partial(decoders.answer, format_=format_, limits=limits, task=task)
    return _Job(answer, decoders.refusal(Reason.MEMORY_LIMIT, task), cpu, wall, memory, threads)


def main(control_fd: int, limits: Limits) -> None:
    """Serve until the parent goes away or closes the socket."""
    parent = os.pidfd_open(os.getppid())
    # Before the walls: behind them neither the modules nor this file may be reachable.
    decoders = importlib.import_module("worker.media.decode")
    decoders.warm_up(limits)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    _enter_nowhere()
    walls = wall_in()
    of_child = try_walls_of_child()
    adopt_orphans()
    gc.collect()
    gc.freeze()
    _give_back_free_memory()
    with socket.socket(fileno=control_fd) as control:
        control.send(GREETING.pack(GREETING_MAGIC, walls | of_child))
        while _readable(control.fileno(), parent):
            received, fds, _, _ = socket.recv_fds(control, request.LONGEST, 2, socket.MSG_CMSG_CLOEXEC)
            if not received:
                return
            number, format_, task = request.unpack(received)
            ended = _run(_job(decoders, format_, task, limits), fds, parent, of_child)
            if ended is None:
                return
            control.send(REPLY.pack(number, *ended))


def _run(job: _Job, fds: list[int], parent: int, walls: Wall) -> tuple[int, int] | None:
    """Fork a child for one object, wait for it, kill it at the wall clock. None when the parent has ended."""
    zygote = os.getpid()
    child = os.fork()
    if child == 0:
        _be_child(job, fds, zygote, walls)
    for fd in fds:
        os.close(fd)
    ending = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ending, select.POLLIN)
    poll.register(parent, select.POLLIN)
    events = {fd for fd, _ in poll.poll(job.wall * 1000)}
    os.close(ending)
    if ending not in events:
        _kill(child)
    _, status = os.waitpid(child, 0)
    end_orphans()
    if parent in events:
        return None
    if not events:
        return TIMED_OUT, 0
    if os.WIFSIGNALED(status):
        return SIGNALLED, os.WTERMSIG(status)
    return EXITED, os.WEXITSTATUS(status)


def _kill(child: int) -> None:
    """Kill the child and whatever shares its session; it may not have reached `setsid` yet."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)


def _be_child(job: _Job, fds: list[int], zygote: int, walls: Wall) -> NoReturn:
    """Decode one object behind all walls, write the record, end. Never returns and runs no exit handler.

    A child that can't put up the walls that stood at the start decodes nothing.
    """
    status = 1
    try:
        die_with_parent(signal.SIGKILL, zygote)
        os.setsid()
        media, result = fds
        _close_all_but(media, result)
        size = os.fstat(media).st_size
        limit_resources(cpu_seconds=math.ceil(job.cpu), address_space=job.memory + size, threads=job.threads)
        if wall_in_child(threads=job.threads) != walls:
            os._exit(status)
        try:
            record = job.answer(media, size)
        except MemoryError:
            record = job.out_of_memory
        while record:
            record = record[os.write(result, record) :]
        status = 0
    finally:
        os._exit(status)


def _close_all_but(*kept: int) -> None:
    """Close every descriptor but the standard three, which lead nowhere, and these."""
    below = 2
    for fd in sorted(kept):
        os.closerange(below + 1, fd)
        below = fd
    os.closerange(below + 1, os.sysconf("SC_OPEN_MAX"))


def _give_back_free_memory() -> None:
    """What the warm-up freed goes back to the kernel: a child gets new pages for it and copies none of the zygote's."""
    # Only glibc has it.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _enter_nowhere() -> None:
    """Work in a directory that is deleted already: it is empty, nothing can be made in it, nothing stays behind."""
    nowhere = tempfile.mkdtemp(prefix="hashwarden-")
    os.chdir(nowhere)
    Path(nowhere).rmdir()


def _readable(control: int, parent: int) -> bool:
    """Wait for a request; False when the parent has ended."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(parent, select.POLLIN)
    return parent not in {fd for fd, _ in poll.poll()}
