"""What a decoder that was taken over can still do: each attempt is made for real, behind the walls of a child."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from worker.media import seccomp
from worker.media.isolation import Wall

_SCRIPT = Path(__file__)
_ROOT = Path(__file__).parents[3]


def _attempts() -> dict[str, object]:
    """What an intruder tries; each returns or raises OSError, unless the kernel ends the process."""
    import resource
    import socket

    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: int) -> None:
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "")

    zygote = os.getppid()
    program = [b"/bin/true", None]
    return {
        "internet": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "process": os.fork,
        "program": lambda: libc.execv(program[0], (ctypes.c_char_p * 2)(*program)),
        "trace": lambda: libc.ptrace(16, zygote, 0, 0),
        "memory of the zygote": lambda: libc.process_vm_readv(zygote, 0, 0, 0, 0, 0),
        "namespace": lambda: libc.unshare(0x10000000),
        "second numbers": lambda: call(0x40000000 + 39),
        "kill the zygote": lambda: os.kill(zygote, signal.SIGKILL),
        "starve the zygote": lambda: resource.prlimit(zygote, resource.RLIMIT_CPU, (0, 0)),
        "raise a limit": lambda: resource.prlimit(0, resource.RLIMIT_CORE, (0, 0)),
        "signal by descriptor": lambda: __import__("fcntl").fcntl(1, 8, zygote),
        "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write a file": lambda: os.open("/tmp/found", os.O_WRONLY | os.O_CREAT),  # noqa: S108
        "list a folder": lambda: os.listdir("/"),  # noqa: PTH208
        "memory that runs": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
        "thread": lambda: threading.Thread(target=int).start(),
        "read the clock": lambda: os.times(),
        "take memory": lambda: bytearray(50_000_000),
    }


_FOR_LANDLOCK = ("read a file", "write a file", "list a folder", "kill the zygote", "take memory")


def _report(only: str) -> None:
    """Runs in an interpreter of its own: put up the walls as zygote and child do, then try each."""
    from worker.media import isolation, landlock

    isolation.wall_in()
    ended = {}
    for name in _FOR_LANDLOCK if only == "landlock" else _attempts():
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            attempts = _attempts()
            if only == "landlock":
                landlock.restrict()
            else:
                isolation.wall_in_child(threads=False)
            try:
                attempts[name]()  # type: ignore[operator]
                os.write(write_end, b"0")
            except OSError as refused:
                os.write(write_end, str(refused.errno).encode())
            except RuntimeError:
                os.write(write_end, str(errno.EAGAIN).encode())
            os._exit(0)
        os.close(write_end)
        _, status = os.waitpid(child, 0)
        told = os.read(read_end, 10)
        os.close(read_end)
        ended[name] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(told or b"-1000")
    print(json.dumps(ended))  # noqa: T201 - read by the test


def _tried(only: str = "") -> dict[str, int]:
    """Attempt to outcome: 0 done, above 0 the error, below 0 the signal that ended the process."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(_SCRIPT), only], capture_output=True, text=True, check=True, cwd=_ROOT,
        env={"PYTHONPATH": str(_ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def standing() -> Wall:
    script = "from worker.media import isolation as i; i.wall_in(); print(int(i.try_walls_of_child()))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=_ROOT
    )
    return Wall(int(done.stdout))


def test_behind_all_walls_only_computing_is_left(standing: Wall) -> None:
    if not standing & Wall.FILTERED_CALLS:
        pytest.skip("this kernel or machine has no filter of system calls")
    found = _tried()
    ends = -signal.SIGSYS
    assert found == {
        "internet": ends,
        "unix socket": ends,
        "process": ends,
        "program": ends,
        "trace": ends,
        "memory of the zygote": ends,
        "namespace": ends,
        "second numbers": ends,
        "kill the zygote": errno.EPERM,
        "starve the zygote": errno.EPERM,
        "raise a limit": errno.EPERM,
        "signal by descriptor": errno.EPERM,
        "read a file": errno.EPERM,
        "write a file": errno.EPERM,
        "list a folder": errno.EPERM,
        "memory that runs": errno.EPERM,
        "thread": errno.EAGAIN,
        "read the clock": 0,
        "take memory": 0,
    }


def test_landlock_alone_closes_files_and_signals(standing: Wall) -> None:
    if not standing & Wall.NO_FILES or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("this kernel has no Landlock that knows signals")
    found = _tried("landlock")
    assert found == {
        "read a file": errno.EACCES,
        "write a file": errno.EACCES,
        "list a folder": errno.EACCES,
        "kill the zygote": errno.EPERM,
        "take memory": 0,
    }


@pytest.mark.parametrize("machine", seccomp._MACHINES)
def test_every_machine_allows_what_decoding_needs(machine: str) -> None:
    _, numbers = seccomp._MACHINES[machine]
    assert len(set(numbers.values())) == len(numbers)
    assert set(seccomp._ALLOWED) - set(numbers) <= {"poll", "ppoll"}
    assert {"execve", "socket", "connect", "ptrace", "io_uring_setup"} <= set(numbers)
    assert set(numbers) <= {
        *seccomp._ALLOWED, *seccomp._INTRUSIONS,
        "mmap", "mprotect", "fcntl", "prctl", "prlimit64", "clone", "clone3",
    }  # fmt: skip


if __name__ == "__main__":
    _report(sys.argv[1])
