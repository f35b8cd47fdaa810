"""A file of signals into the platform's own bank, page by page: what a kill breaks off goes on where it was.

Nothing of a file with an unreadable line is taken. An import of the same file again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete
from sqlalchemy.orm import Session

from bank_sync import locks
from bank_sync.bank import OWN_BANK, OwnImport
from bank_sync.exchanges.files import FileExchange, file_identity
from bank_sync.exchanges.protocol import ExchangeError, Page
from bank_sync.own_bank import add_own_by_themselves
from bank_sync.progress import Progress, silent
from config.database import Sessions, database_errors

IMPORT_SOURCE = "import"
"""What supports an imported own-bank entry: it stands by itself."""


class ImportRunningError(ExchangeError):
    """Another import into the own bank is running."""

    code = "import_running"


@dataclass(frozen=True, slots=True)
class Imported:
    """How many signals the file holds, and how many of them an earlier import that was broken off had taken."""

    signals: int
    before: int


def import_file(sessions: Sessions, path: Path, *, progress: Progress = silent) -> Imported:
    """Puts the signals of `path` into the own bank; publishes nothing. Raises ExchangeError and DatabaseError."""
    with database_errors(), locks.held(sessions.kw["bind"], "import") as mine:
        if not mine:
            raise ImportRunningError(
                "Another import is running.", next_step="Wait for it to end, then run this one."
            )
        file = file_identity(path)
        with sessions.begin() as session:
            # The place in any other file is given up: its import begins again, which changes nothing either.
            session.execute(delete(OwnImport).where(OwnImport.file != file))
            kept = session.get(OwnImport, file)
            token = kept.token if kept else None
        before: int | None = None
        done = 0
        for page in FileExchange(path).fetch(0, token):
            with sessions.begin() as session:
                add_own_by_themselves(session, page.records, source=IMPORT_SOURCE)
                _remember(session, file, page)
            done = page.done or 0
            if before is None:
                before = done - len(page.records)
            progress(OWN_BANK, done, page.total)
        return Imported(done, before or 0)


def _remember(session: Session, file: str, page: Page) -> None:
    if page.token is None:
        session.execute(delete(OwnImport).where(OwnImport.file == file))
    else:
        session.merge(OwnImport(file=file, token=page.token))
