"""A worker process's sign of life: that it runs, and which epoch it searches.

It also keeps the epoch of an idle worker new, so that the next upload finds it ready.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from bank_sync.epoch import EpochError, EpochReader
from config.database import Sessions
from worker.store import heartbeats
from worker.store.migrate import supports

BEAT_EVERY = 10.0
"""Seconds between signs of life."""

log = structlog.get_logger()


class SignOfLife:
    """A daemon thread of a process; begun after its fork, stopped with it."""

    def __init__(
        self, sessions: Sessions, epochs: EpochReader, end_worker: Callable[[], None] = lambda: None
    ) -> None:
        """`end_worker` is called when the database no longer lets this version work on it."""
        self._sessions = sessions
        self._end_worker = end_worker
        self._epochs = epochs
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="life", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; the process counts as stopped in good order."""
        self._stop.set()
        self._thread.join()
        with suppress(SQLAlchemyError), self._sessions.begin() as session:
            heartbeats.ended(session, heartbeats.WORKER)

    def beat(self) -> None:
        """Looks for a newer epoch and writes down which one is searched."""
        number = None
        # Without any epoch `fault` says why.
        with suppress(EpochError):
            number = self._epochs.current().number
        with self._sessions.begin() as session:
            heartbeats.beat(
                session,
                heartbeats.WORKER,
                epoch=number,
                fault=self._epochs.fault,
                confirmed_at=self._epochs.confirmed_at,
            )
            supported = supports(session)
        if not supported:
            log.error(
                "version_too_old",
                message="Newer migrations ended the support of this version: update this host.",
            )
            self._end_worker()

    def _run(self) -> None:
        while True:
            try:
                self.beat()
            except Exception as fault:  # noqa: BLE001 (the next beat is the answer to any fault)
                log.warning("no_sign_of_life", fault=type(fault).__name__)
            if self._stop.wait(BEAT_EVERY):
                return
