"""Becomes the given program after tying its life to the process that asked for it.

Run as a script by `processes.spawn`, with the standard library alone: it must never import a package of ours,
because it runs with `-I -S`, before the real program. A small program of its own rather than a `preexec_fn`,
which is unsafe in a process with threads.

Arguments: parent pid, signal number, user id, group id (both -1: unchanged), program, its arguments.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_FAILED = 127  # what a shell exits with when it can't run a program


def main(arguments: list[str]) -> None:
    parent, death_signal, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user: the kernel clears the death signal when the credentials change.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # It died before the signal was armed.
        sys.exit(_FAILED)
    try:
        os.execv(command[0], command)  # noqa: S606 (no shell is the point)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 (standard error is the log)
        sys.exit(_FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
