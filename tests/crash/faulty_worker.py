"""A real worker process with, if asked for, one fault that the real parts can't be made to have at will.

Usage: faulty_worker.py SETTINGS.json [FAULT]. A fault that strikes once leaves a file behind and does not strike
again, in this process or in another.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config.settings import load_settings
from worker import act, pipeline
from worker.domain import Lane
from worker.queue.tasks import run_worker


def once(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def memory_error(_: Path) -> None:
    def fails(*_: Any) -> None:  # noqa: ANN401
        raise MemoryError

    vars(pipeline)["find_matches"] = fails


def hang(_: Path) -> None:
    def hangs(*_: Any) -> None:  # noqa: ANN401
        # As C code that holds on: the soft limit's signal is not delivered.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        time.sleep(3600)

    vars(pipeline)["find_matches"] = hangs


def die_before_act(marker: Path) -> None:
    real = act.ensure

    def dies(*args: Any) -> bool:  # noqa: ANN401
        if once(marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)

    vars(act)["ensure"] = dies


def die_after_storage(marker: Path) -> None:
    real = act._finish

    def dies(*args: Any) -> bool:  # noqa: ANN401
        if once(marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)

    vars(act)["_finish"] = dies


FAULTS: dict[str, Callable[[Path], None]] = {
    "memory_error": memory_error,
    "hang": hang,
    "die_before_act": die_before_act,
    "die_after_storage": die_after_storage,
}


def main() -> None:
    settings_file = Path(sys.argv[1])
    if len(sys.argv) > 2:
        FAULTS[sys.argv[2]](settings_file.with_suffix(".struck"))
    settings = load_settings(**json.loads(settings_file.read_text()))
    run_worker(settings, [Lane.IMAGE, Lane.VIDEO], concurrency=2)


main()
