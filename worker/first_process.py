"""What the first process of a container owes the others: it passes signals on, and reaps whoever lost their parent.

A decoder's zygote that outlives a killed worker is adopted by process 1; one that reaps nobody fills the container's
process table. So no init program is needed in the image.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_KILLED = 128
"""What shells add to the number of the signal that ended a process."""


def stand_in() -> None:
    """As process 1, fork: this returns in the child, and the parent stays until the child ends, with its exit code.

    Does nothing in any other process. Called before anything else is imported, so that the parent stays small.
    """
    if os.getpid() != 1:
        return
    # Blocked until the handlers stand: one that comes in between must reach the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child == 0:
        _take_the_terminal()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    # Without the interpreter's own end: what is buffered is the child's to write.
    os._exit(_reap_until(child))


def _reap_until(child: int) -> int:
    """Wait for every process that ends; the exit code of `child` when it does."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _KILLED - code


def _take_the_terminal() -> None:
    """A group of its own: Ctrl-C reaches the child once, by the terminal or passed on, never by both."""
    os.setpgid(0, 0)
    if sys.stdin.isatty():
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
        signal.signal(signal.SIGTTOU, before)
