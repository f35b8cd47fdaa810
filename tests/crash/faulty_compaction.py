"""A process that publishes and compacts, and dies by SIGKILL at the n-th change of the disk; told n on its stdin.

Prints `ready` once, then for each n `killed` or `done`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bank_sync.compaction import Compaction
from bank_sync.epoch import publish_if_changed
from config.database import make_engine, make_sessions
from config.settings import DatabaseSettings


def _kill_at(step: int) -> None:
    left = [step]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (whatever the real one takes)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "unlink"), (Path, "touch")):
        setattr(owner, name, counted(getattr(owner, name)))


def _work(url: str, folder: Path) -> None:
    sessions = make_sessions(make_engine(DatabaseSettings(url=SecretStr(url))))
    with sessions.begin() as session:
        publish_if_changed(session, folder, keep=2)
    Compaction(sessions, folder, after=3600, keep=2).run(always=True)


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    print("ready", flush=True)  # noqa: T201 (the test reads it)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os.dup2(2, 1)  # Logs go to stdout, which is the test's.
            _kill_at(int(line))
            _work(url, folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            print("killed", flush=True)  # noqa: T201
        elif status == 0:
            print("done", flush=True)  # noqa: T201
        else:
            sys.exit(1)


if __name__ == "__main__":
    main()
