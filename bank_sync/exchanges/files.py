"""A bank in a text file: one `type value` line a signal, as `hashwarden match --bank` reads them too.

Lines that begin with # and blank lines are skipped. A line taken out of the file is a withdrawn signal, so a
file with one unreadable line is refused whole: half a file must never withdraw the other half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bank_sync.bank import BankRecord
from bank_sync.exchanges.protocol import ExchangeError, FeedbackItem, Page
from bank_sync.signals import SignalError, parse

_PAGE = 1000


class BankFileError(ExchangeError):
    """A bank file can't be read, or a line of it is no signal. Names the line, never what it holds."""

    code = "bank_file"


def read_signals(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Line number (from 1), signal type and packed signal of each line. Raises BankFileError."""
    lines = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                lines = number
                stripped = line.strip()
                if not stripped or stripped.startswith("#"):
                    continue
                signal_type, _, value = stripped.partition(" ")
                try:
                    yield number, signal_type, parse(signal_type, value.strip())
                except SignalError as error:
                    raise BankFileError(
                        f"Line {number} of {path} is not a `type value` line: {error.message}",
                        next_step="Correct or remove that line; nothing of the file was taken.",
                    ) from None
    except OSError as error:
        raise BankFileError(
            f"The bank file {path} can't be read: {error.strerror}.",
            next_step="Correct the bank's path or the file's permissions.",
        ) from None
    except UnicodeDecodeError:
        raise BankFileError(
            f"The bank file {path} is not UTF-8 text.", next_step="Save it as UTF-8, one signal a line."
        ) from None
    if not lines:
        raise BankFileError(
            f"The bank file {path} is empty, which would withdraw all of its signals.",
            next_step="If that is meant, leave a comment line (# ...) in it; otherwise restore it.",
        )


class FileExchange:
    """Reads the whole file before it yields the first page."""

    first_start = 0
    overlap = 0
    snapshot = True
    max_feedback = 0

    def __init__(self, path: Path) -> None:
        self._path = path

    def fetch(self, start: int, token: str | None) -> Iterator[Page]:  # noqa: ARG002 (a file has no cursor)
        records = [BankRecord(signal_type, signal) for _, signal_type, signal in read_signals(self._path)]
        for at in range(0, max(len(records), 1), _PAGE):
            more = at + _PAGE < len(records)
            yield Page(tuple(records[at : at + _PAGE]), (), more, None, start)

    def submit_feedback(self, items: Sequence[FeedbackItem]) -> None:
        """Nobody to tell."""

    def close(self) -> None:
        """Nothing is open."""
