"""A bank in a text file: one `type value` line a signal, as `hashwarden match --bank` reads them too.

Lines that begin with # and blank lines are skipped. A line taken out of the file is a withdrawn signal, so a
file with one unreadable line is refused whole: half a file must never withdraw the other half. Memory is bounded
whatever the file's length: it is read line by line, once to check it and once to take it.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bank_sync.bank import BankRecord
from bank_sync.exchanges.protocol import ExchangeError, FeedbackItem, Page, TokenRejectedError
from bank_sync.signals import SignalError, parse

PAGE = 50_000
"""Records of a page: enough that a commit costs next to nothing, and held in some tens of megabytes."""

_PAGE_BYTES = 32 * 2**20
"""Bytes of signals after which a page ends early: the frames of a film take megabytes."""

_LONGEST_LINE = 16 * 2**20
"""Bytes; the longest signal, a video of 100,000 frames, takes nine million."""


class BankFileError(ExchangeError):
    """A bank file can't be read, or a line of it is no signal. Names the line, never what it holds."""

    code = "bank_file"


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    """From 1."""
    signal_type: str
    signal: bytes
    end: int
    """Offset of the byte after it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a file was read: which file, the offset and number of lines, the records before it and in all."""

    file: str
    offset: int = 0
    lines: int = 0
    done: int = 0
    total: int = 0

    @classmethod
    def read(cls, token: str) -> _Place:
        """Raises ValueError."""
        file, *numbers = token.split(" ")
        return cls(file, *map(int, numbers))

    def __str__(self) -> str:
        return f"{self.file} {self.offset} {self.lines} {self.done} {self.total}"


def read_signals(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Line number (from 1), signal type and packed signal of each line. Raises BankFileError."""
    for line in _lines(path):
        yield line.number, line.signal_type, line.signal


def _lines(path: Path, offset: int = 0, before: int = 0) -> Iterator[_Line]:
    """The signals from a line's beginning on, `before` lines into the file."""
    number = before
    with _opened(path), path.open("rb") as file:
        file.seek(offset)
        end = offset
        while line := file.readline(_LONGEST_LINE + 1):
            number += 1
            end += len(line)
            if len(line) > _LONGEST_LINE:
                raise BankFileError(
                    f"Line {number} of {path} is longer than {_LONGEST_LINE} bytes.",
                    next_step="Put one signal on each line; nothing of the file was taken.",
                )
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            stripped = line.decode("utf-8").strip()
            if not stripped or stripped.startswith("#"):
                continue
            signal_type, _, value = stripped.partition(" ")
            try:
                signal = parse(signal_type, value.strip())
            except SignalError as error:
                raise BankFileError(
                    f"Line {number} of {path} is not a `type value` line: {error.message}",
                    next_step="Correct or remove that line; nothing of the file was taken.",
                ) from None
            yield _Line(number, signal_type, signal, end)
    if not number:
        raise BankFileError(
            f"The bank file {path} is empty, which would withdraw all of its signals.",
            next_step="If that is meant, leave a comment line (# ...) in it; otherwise restore it.",
        )


@contextmanager
def _opened(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BankFileError(
            f"The bank file {path} can't be read: {error.strerror}.",
            next_step="Correct the bank's path or the file's permissions.",
        ) from None
    except UnicodeDecodeError:
        raise BankFileError(
            f"The bank file {path} is not UTF-8 text.", next_step="Save it as UTF-8, one signal a line."
        ) from None


def file_identity(path: Path) -> str:
    """What changes when a file is written to or replaced: device, inode, size and times. Raises BankFileError."""
    with _opened(path):
        about = os.stat(path)  # noqa: PTH116 (one call, whatever the path's class)
    return f"{about.st_dev}:{about.st_ino}:{about.st_size}:{about.st_mtime_ns}:{about.st_ctime_ns}"


class FileExchange:
    """Checks every line before it yields the first page, and that the file is still the same before the last.

    A page's token is a place in this very file; for another file, or one written to since, it is refused.
    """

    first_start = 0
    overlap = 0
    snapshot = True
    max_feedback = 0
    second_keys: frozenset[str] = frozenset()

    def __init__(self, path: Path) -> None:
        self._path = path

    def version(self) -> str:
        return file_identity(self._path)

    def fetch(self, start: int, token: str | None) -> Iterator[Page]:
        file = file_identity(self._path)
        place = self._known(token, file) if token is not None else _Place(file, total=self._count())
        while True:
            records: list[BankRecord] = []
            size = 0
            last: _Line | None = None
            for line in _lines(self._path, place.offset, place.lines):
                records.append(BankRecord(line.signal_type, line.signal))
                size += len(line.signal)
                last = line
                if len(records) == PAGE or size > _PAGE_BYTES:
                    break
            done = place.done + len(records)
            if last is not None:
                place = _Place(file, last.end, last.number, done, place.total)
            more = done < place.total and last is not None
            if not more and (done != place.total or file_identity(self._path) != file):
                raise BankFileError(
                    f"The bank file {self._path} was changed while it was read.",
                    next_step="Nothing was withdrawn. Put a new file in place by renaming it, and sync again.",
                )
            yield Page(tuple(records), (), more, str(place) if more else None, start, done, place.total)
            if not more:
                return

    def _count(self) -> int:
        return sum(1 for _ in _lines(self._path))

    def _known(self, token: str, file: str) -> _Place:
        try:
            place = _Place.read(token)
        except (ValueError, TypeError):
            place = _Place("")
        if place.file != file:
            raise TokenRejectedError(
                f"The bank file {self._path} is not the one whose reading was broken off.",
                next_step="It is read from its beginning.",
            )
        return place

    def submit_feedback(self, items: Sequence[FeedbackItem]) -> None:
        """Nobody to tell."""

    def close(self) -> None:
        """Nothing is open."""
