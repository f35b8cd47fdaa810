"""How far a load has come: a bar on a terminal, else a log line now and then. Says names and counts alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

Progress = Callable[[str, int, int | None], None]
"""Called after each page with the name of what is loaded, the records done and, where it is known, all of them."""

EVERY = 10.0
"""Seconds between two log lines; what is done sooner logs none."""


def silent(_name: str, _done: int, _total: int | None) -> None:
    """Shows nothing."""


@contextmanager
def shown(clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """Progress on standard error, for as long as the block runs."""
    if sys.stderr.isatty():
        with _bar() as progress:
            yield progress
    else:
        yield _logged(clock)


@contextmanager
def _bar() -> Iterator[Progress]:
    # Drawing a bar is for people alone; cron never loads it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield show


def _logged(clock: Callable[[], float]) -> Progress:
    log = structlog.get_logger()
    told = clock()

    def show(name: str, done: int, total: int | None) -> None:
        nonlocal told
        if clock() - told >= EVERY:
            told = clock()
            log.info("bank_progress", bank=name, records=done, of=total)

    return show
