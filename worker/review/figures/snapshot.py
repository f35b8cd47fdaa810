"""The database of one moment, of which figures are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import text

from config.database import Sessions
from config.deadlines import DeadlineSettings
from worker.media.rungs import Rung
from worker.review.figures.period import Asked, Days, period_until_now


class Snapshots:
    """Opens snapshots for the pages and the API. `shown` as in `Asked`."""

    def __init__(self, deadlines: DeadlineSettings, sessions: Sessions, shown: Mapping[Rung, float]) -> None:
        self._clocks = {name: profile.hours for name, profile in deadlines.profiles.items()}
        self._sessions = sessions
        self._shown = {int(rung): seconds for rung, seconds in shown.items()}

    @contextmanager
    def of(self, days: Days) -> Iterator[Asked]:
        """Figures that are read of it agree with each other."""
        with self._sessions() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            # Sorts in memory; and no compiling of queries that take less time than that does.
            session.execute(text("SET LOCAL work_mem = '64MB'"))
            session.execute(text("SET LOCAL jit = off"))
            yield Asked(session, period_until_now(session, days), self._clocks, self._shown)
