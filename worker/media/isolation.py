"""The kernel's walls around the decoders, by ctypes where the standard library of Python 3.11 has no call.

Each wall stands alone: one that this machine forbids is left out and told, never an error here.
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
from enum import IntFlag
from pathlib import Path

from worker.media import landlock, seccomp

_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_NOBODY = 65_534
_OPEN_FILES = 16

_libc = ctypes.CDLL(None, use_errno=True)


class Wall(IntFlag):
    """Which walls stand; `doctor` shows them."""

    NONE = 0
    NO_NETWORK = 1
    """A network namespace of its own, without any interface."""
    OTHER_USER = 2
    """Not the user of the worker: neither its files nor its processes can be touched."""
    NO_PRIVILEGES = 4
    """No capabilities, and none to be gained by running a set-user-id program."""
    FILTERED_CALLS = 8
    """A seccomp filter: no socket, no process, no program, no signal to another; new memory can't be run."""
    NO_FILES = 16
    """Landlock: no file can be opened; from Linux 6.12 on no process outside can be signalled either."""


def wall_in() -> Wall:
    """Give up network, privileges and, as root, the user id. For a single-threaded process, once.

    Called after all imports: the user 'nobody' may not be able to read them.
    """
    walls = Wall.NONE
    if os.geteuid() == 0:
        if _libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC) == 0:
            walls |= Wall.NO_NETWORK
        with contextlib.suppress(PermissionError):
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            walls |= Wall.OTHER_USER
    if not walls & Wall.NO_NETWORK and _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) == 0:
        walls |= Wall.NO_NETWORK
    # A user namespace gives its first process every capability inside it; a decoder needs none.
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, bytes(24)) == 0 and _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        walls |= Wall.NO_PRIVILEGES
    # No other process of the same user may read this one's memory or attach to it.
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return walls


def wall_in_child(*, threads: bool) -> Wall:
    """Add the walls that a child puts up for itself, after it has everything it needs open.

    They are the child's own because its zygote must fork, kill and look for orphans. Being in a Landlock
    domain of its own keeps a child from signalling its zygote, which has the same user; a process id
    namespace would do that as well, but needs a privilege at every fork that the zygote has given up.
    """
    walls = Wall.NONE
    if landlock.restrict():
        walls |= Wall.NO_FILES
    if seccomp.install(threads=threads):
        walls |= Wall.FILTERED_CALLS
    return walls


def try_walls_of_child() -> Wall:
    """Which walls a child can put up here, found out by one that does nothing else."""
    child = os.fork()
    if child == 0:
        os._exit(wall_in_child(threads=False))
    _, status = os.waitpid(child, 0)
    return Wall(os.WEXITSTATUS(status)) if os.WIFEXITED(status) else Wall.NONE


def die_with_parent(signal_number: int, parent: int) -> None:
    """Get this signal when the process `parent`, which forked this one, ends; end at once if it has ended already.

    Set after the last change of user, which clears it.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        # It ended between the fork and the line above: no signal would ever come.
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets away."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """Kill and reap whatever an ended child left behind."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            os.waitpid(-1, 0)


def limit_resources(*, cpu_seconds: int, address_space: int, threads: bool) -> None:
    """Bound CPU and memory; allow no file to be written, no core dumped and, without `threads`, no process.

    `address_space` counts what is already mapped. The CPU limit is told by SIGXCPU at `cpu_seconds`.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    if not threads:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
