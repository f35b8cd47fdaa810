"""The zygote: a fresh interpreter with all decoders loaded, which forks one walled-in child for each object.

It is started by exec with a scrubbed environment, so it holds no credential, connection or index of the
worker; it talks to its parent over one socket and must never interpret what a child writes.

Wire, on a SOCK_SEQPACKET socket: first a greeting (which walls stand), then for each request with two
descriptors, the sealed media and the write end of the result pipe, one reply: how the child ended.
"""

import contextlib
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
from pathlib import Path
from typing import NoReturn

from worker.domain import CloserLook, HashedMedia, Kind, Placement, Profile
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
from worker.media.limits import Limits, Reason, refused
from worker.media.record import PLACEMENT, pack, pack_placement, parse_placement
from worker.media.sniff import Format
from worker.media.views import CODES, NAMES

GREETING = struct.Struct("<4sI")
GREETING_MAGIC = b"HWZ1"
REQUEST = struct.Struct("<QBBBB")
"""Job number, index of the format in `Format`, index of the profile in `Profile`; of a closer look the number and how
many seeds follow, of a first look neither."""
SEED = struct.Struct(f"<B{PLACEMENT}")
"""Code of the view and its placement."""
MOST_SEEDS = 16
REPLY = struct.Struct("<QBi")
"""Job number, how the child ended (one of the three below), exit status or signal number."""
EXITED, SIGNALLED, TIMED_OUT = range(3)

Decode = Callable[[int, int], HashedMedia]
"""From a descriptor and a size to what was found."""

FORMATS = tuple(Format)
PROFILES = tuple(Profile)
_LIMITS = struct.Struct(
    "<" + "".join("d" if field.type is float else "q" for field in dataclasses.fields(Limits))
)


def pack_limits(limits: Limits) -> str:
    """The limits as one command line argument."""
    return _LIMITS.pack(*dataclasses.astuple(limits)).hex()


def unpack_limits(argument: str) -> Limits:
    """Read what `pack_limits` wrote."""
    return Limits(*_LIMITS.unpack(bytes.fromhex(argument)))


def pack_request(job: int, format_: Format, profile: Profile, closer: CloserLook | None) -> bytes:
    """One request; at most `MOST_SEEDS` seeds of a closer look are sent."""
    seeds = closer.seeds[:MOST_SEEDS] if closer else ()
    header = REQUEST.pack(
        job, FORMATS.index(format_), PROFILES.index(profile), closer.number if closer else 0, len(seeds)
    )
    return header + b"".join(SEED.pack(CODES[name], *pack_placement(placement)) for name, placement in seeds)


def unpack_request(request: bytes) -> tuple[int, Format, Profile, CloserLook | None]:
    """Read what `pack_request` wrote."""
    job, format_code, profile_code, number, count = REQUEST.unpack_from(request)
    seeds: list[tuple[str, Placement]] = []
    for at in range(count):
        code, *place = SEED.unpack_from(request, REQUEST.size + at * SEED.size)
        placement = parse_placement(place)
        if placement is not None:
            seeds.append((NAMES[code], placement))
    closer = CloserLook(number, tuple(seeds)) if seeds else None
    return job, FORMATS[format_code], PROFILES[profile_code], closer


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
    with socket.socket(fileno=control_fd) as control:
        control.send(GREETING.pack(GREETING_MAGIC, walls | of_child))
        while _readable(control.fileno(), parent):
            request, fds, _, _ = socket.recv_fds(
                control, REQUEST.size + MOST_SEEDS * SEED.size, 2, socket.MSG_CMSG_CLOEXEC
            )
            if not request:
                return
            job, format_, profile, closer = unpack_request(request)
            ended = _run(
                functools.partial(
                    decoders.decode, format_=format_, limits=limits, profile=profile, closer=closer
                ),
                format_,
                fds,
                limits,
                parent,
                of_child,
            )
            if ended is None:
                return
            control.send(REPLY.pack(job, *ended))


def _run(
    decode: Decode,
    format_: Format,
    fds: list[int],
    limits: Limits,
    parent: int,
    walls: Wall,
) -> tuple[int, int] | None:
    """Fork a child for one object, wait for it, kill it at the wall clock. None when the parent has ended."""
    zygote = os.getpid()
    child = os.fork()
    if child == 0:
        _be_child(decode, format_, fds, limits, zygote, walls)
    for fd in fds:
        os.close(fd)
    wall = limits.image_wall if format_.kind is Kind.IMAGE else limits.video_wall
    ending = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ending, select.POLLIN)
    poll.register(parent, select.POLLIN)
    events = {fd for fd, _ in poll.poll(wall * 1000)}
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


def _be_child(
    decode: Decode,
    format_: Format,
    fds: list[int],
    limits: Limits,
    zygote: int,
    walls: Wall,
) -> NoReturn:
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
        image = format_.kind is Kind.IMAGE
        # libheif decodes in a thread of its own and has no setting without.
        threads = format_ is Format.HEIF
        limit_resources(
            cpu_seconds=math.ceil(limits.image_cpu if image else limits.video_cpu),
            address_space=(limits.image_memory if image else limits.video_memory) + size,
            threads=threads,
        )
        if wall_in_child(threads=threads) != walls:
            os._exit(status)
        try:
            record = pack(decode(media, size))
        except MemoryError:
            record = pack(refused(Reason.MEMORY_LIMIT))
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
