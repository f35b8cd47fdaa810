"""A service's own word that its loops turn: a file that is touched as long as they do.

Neither database nor network takes part: a check that fails with them would have every service restarted when they are
away. What they lack is told by /health/ready and the alarms.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "RUNTIME_DIRECTORY"
"""Names the folder of these files; systemd sets it for a unit with RuntimeDirectory, the image sets it too."""

TOUCH_EVERY = 10.0
"""Seconds between two looks of a loop that waits."""

STUCK_SECONDS = 600.0
"""A loop that did not turn for so long is stuck: over the longest round, the compaction of a large index."""

_SUFFIX = ".alive"


class Alive:
    """The file of one service of this process; nothing is written where no folder is named. Thread-safe.

    It is as old as the loop that turned least lately, so that one stuck thread shows.
    """

    def __init__(self, service: str) -> None:
        folder = os.environ.get(FOLDER_VARIABLE, "")
        self._file = Path(folder) / f"{service}-{os.getpid()}{_SUFFIX}" if folder else None
        self._turned: dict[int, float] = {}
        self._lock = threading.Lock()

    def turned(self) -> None:
        """The calling thread's loop has come round."""
        if self._file is None:
            return
        now = time.time()
        with self._lock:
            self._turned[threading.get_ident()] = now
            oldest = min(self._turned.values())
            # A full or vanished folder must not end a service; the check finds no fresh file.
            with suppress(OSError):
                self._file.touch()
                os.utime(self._file, (now, oldest))

    def ended(self) -> None:
        """This service stops in good order."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


class Turns(threading.Event):
    """An event whose askers are loops that turn: each look at it is one round of the calling thread."""

    def __init__(self, alive: Alive) -> None:
        super().__init__()
        self._alive = alive

    def is_set(self) -> bool:
        self._alive.turned()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            self._alive.turned()
            left = TOUCH_EVERY if ends is None else min(TOUCH_EVERY, ends - time.monotonic())
            if super().wait(max(0.0, left)):
                return True
            if ends is not None and time.monotonic() >= ends:
                return False


@dataclass(frozen=True, slots=True)
class Sign:
    """A service that runs on this host, and the seconds since its slowest loop turned."""

    service: str
    pid: int
    age: float

    @property
    def stuck(self) -> bool:
        return self.age > STUCK_SECONDS


def signs(folder: Path) -> list[Sign]:
    """The services whose processes run, by name. Raises OSError when the folder can't be read."""
    found = []
    for file in sorted(folder.iterdir()):
        service, _, pid = file.name.removesuffix(_SUFFIX).rpartition("-")
        if not file.name.endswith(_SUFFIX) or not pid.isdigit() or not _runs(int(pid)):
            continue
        # It may stop in good order meanwhile.
        with suppress(FileNotFoundError):
            found.append(Sign(service, int(pid), max(0.0, time.time() - file.stat().st_mtime)))
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
