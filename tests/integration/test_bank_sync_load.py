"""Loads of many records: what is taken is what a small model says, and what was broken off goes on where it was."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import ColumnElement, delete, func, literal_column, select

from bank_sync import progress
from bank_sync.bank import (
    KNOWN_STATUSES,
    BankCheckpoint,
    BankEntry,
    BankRecord,
    Changes,
    OwnImport,
    OwnSupport,
    upsert,
    withdraw_unseen,
)
from bank_sync.exchanges import files
from bank_sync.exchanges.files import BankFileError, FileExchange
from bank_sync.exchanges.protocol import Page, TokenRejectedError
from bank_sync.imports import import_file
from bank_sync.own_bank import add_own
from bank_sync.sync import sync_bank
from config.database import Sessions, make_engine, make_sessions
from config.errors import DatabaseError
from config.policy import BankSettings
from config.settings import DatabaseSettings


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAGE", 10)


@dataclass
class Known:
    """What the model knows of an entry."""

    record: BankRecord
    generation: int
    withdrawn: bool


class Model:
    """What `upsert` and `withdraw_unseen` do, said once more in a dictionary."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, bytes], Known] = {}
        self.changed: set[tuple[str, bytes]] = set()

    def upsert(self, records: Sequence[BankRecord], generation: int) -> Changes:
        changes = Changes()
        self.changed = set()
        for key, record in {(r.signal_type, r.signal): r for r in records}.items():
            known = self.entries.get(key)
            same = known is not None and known.record == record and known.withdrawn != record.live
            changes += Changes(
                new=known is None,
                changed=known is not None and not same,
                unchanged=same,
                withdrawn=known is not None and not known.withdrawn and not record.live,
                reactivated=known is not None and known.withdrawn and record.live,
                unknown_status=record.raw_status.strip().lower() not in KNOWN_STATUSES,
            )
            if not same:
                self.changed.add(key)
            self.entries[key] = Known(record, generation, not record.live)
        return changes

    def withdraw_unseen(self, generation: int) -> int:
        unseen = [k for k in self.entries.values() if not k.withdrawn and k.generation < generation]
        for known in unseen:
            known.withdrawn = True
        return len(unseen)


_SIZES = {"pdq": 32, "video_md5": 16}
_RECORDS = st.builds(
    lambda kind, byte, **rest: BankRecord(kind, bytes([byte]) * _SIZES[kind], **rest),
    st.sampled_from(["pdq", "video_md5"]),
    st.integers(0, 3),
    raw_status=st.sampled_from(["Active", " active ", "Withdrawn", "Deleted", "", "Frozen \t\\ \n \u2603"]),
    case_numbers=st.sampled_from(
        [{}, {"a": "Active"}, {"a": "Withdrawn"}, {"b\\N\t": "Active", "a": "Deleted"}]
    ),
    regions=st.sampled_from([[], ["EU"], [{"x": [1, None, "\\."]}]]),
    feedback=st.sampled_from([[], [{"source": "\u2603", "n": 1.5}]]),
    last_modified=st.integers(0, 3),
    quality=st.sampled_from([0, 50, 100]),
)
_BATCHES = st.lists(st.tuples(st.lists(_RECORDS, max_size=12), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=_BATCHES)
def test_batches_do_what_the_model_does(
    sessions: Sessions, batches: list[tuple[list[BankRecord], bool]]
) -> None:
    with sessions.begin() as session:
        session.execute(delete(BankEntry))
    model, generation = Model(), 1
    for records, ends in batches:
        with sessions.begin() as session:
            before = {(r.signal_type, r.signal): r for r in session.scalars(select(BankEntry))}
            assert upsert(session, "practice", records, generation=generation) == model.upsert(
                records, generation
            )
        with sessions() as session:
            after = {(r.signal_type, r.signal): r for r in session.scalars(select(BankEntry))}
        assert after.keys() == model.entries.keys()
        for key, row in after.items():
            known = model.entries[key]
            names = ("raw_status", "case_numbers", "regions", "feedback", "last_modified", "quality")
            assert [getattr(row, n) for n in names] == [getattr(known.record, n) for n in names]
            assert (row.live, row.generation) == (not known.withdrawn, known.generation)
            assert (row.withdrawn_at is None) == row.live
            if key in before and key not in model.changed:
                assert (row.updated_at, row.withdrawn_at) == (
                    before[key].updated_at,
                    before[key].withdrawn_at,
                )
            if key in before:
                assert (row.changed_in != before[key].changed_in) == (row.live != before[key].live)
        if ends:
            generation += 1
            with sessions.begin() as session:
                assert withdraw_unseen(session, "practice", generation) == model.withdraw_unseen(generation)


def test_what_is_the_same_and_marked_is_not_written_again(sessions: Sessions) -> None:
    records = [BankRecord("pdq", bytes([n]) * 32) for n in range(3)]
    xmin: ColumnElement[str] = literal_column("xmin::text")
    versions = select(xmin).select_from(BankEntry).order_by(BankEntry.id)
    with sessions.begin() as session:
        upsert(session, "practice", records, generation=4)
        first = session.scalars(versions).all()
    with sessions.begin() as session:
        changed = replace(records[1], quality=7)
        assert upsert(session, "practice", [records[0], changed, records[2]], generation=4).changed == 1
        second = session.scalars(versions).all()
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]


def test_two_batches_of_one_transaction_do_not_mix(sessions: Sessions) -> None:
    with sessions.begin() as session:
        upsert(session, "one", [BankRecord("pdq", b"\x01" * 32)])
        upsert(session, "two", [BankRecord("pdq", b"\x02" * 32)])
    with sessions() as session:
        rows = session.execute(select(BankEntry.bank, BankEntry.signal).order_by(BankEntry.bank)).all()
    assert [tuple(row) for row in rows] == [("one", b"\x01" * 32), ("two", b"\x02" * 32)]


def test_what_the_database_refuses_is_not_quoted(sessions: Sessions) -> None:
    with sessions() as session, pytest.raises(DatabaseError, match="SQLSTATE 22003") as caught:
        upsert(session, "practice", [BankRecord("pdq", b"\xab" * 32, quality=70_000)])
    assert caught.value.__cause__ is None
    assert "abab" not in str(caught.value)


def _write(path: Path, numbers: Sequence[int]) -> None:
    path.write_text("".join(f"pdq {n:064x}\n" for n in numbers), encoding="ascii")


def _live(sessions: Sessions, bank: str) -> set[int]:
    with sessions() as session:
        signals = session.scalars(select(BankEntry.signal).where(BankEntry.bank == bank, BankEntry.live))
        return {int.from_bytes(signal) for signal in signals}


class KilledError(Exception):
    """Stands for the end of the process after a page."""


def _killed_after(pages: int) -> Callable[[str, int, int | None], None]:
    left = pages

    def progress_(_name: str, _done: int, _total: int | None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError

    return progress_


@pytest.mark.usefixtures("small_pages")
def test_a_file_sync_that_was_broken_off_goes_on_and_withdraws_only_at_its_end(
    sessions: Sessions, tmp_path: Path
) -> None:
    path = tmp_path / "bank.txt"
    bank = BankSettings(exchange="file", path=path)
    _write(path, [*range(45), 900])
    assert sync_bank(sessions, "listed", bank).pages == 5
    _write(path, range(47))
    with pytest.raises(KilledError):
        sync_bank(sessions, "listed", bank, progress=_killed_after(2))
    assert 900 in _live(sessions, "listed")
    told: list[tuple[int, int | None]] = []
    report = sync_bank(sessions, "listed", bank, progress=lambda _, done, total: told.append((done, total)))
    assert (report.resumed, report.pages, report.orphans_withdrawn) == (True, 3, 1)
    assert told == [(30, 47), (40, 47), (47, 47)]
    assert _live(sessions, "listed") == set(range(47))


@pytest.mark.usefixtures("small_pages")
def test_another_file_than_the_one_broken_off_is_read_from_its_beginning(
    sessions: Sessions, tmp_path: Path
) -> None:
    path = tmp_path / "bank.txt"
    bank = BankSettings(exchange="file", path=path)
    _write(path, range(40))
    with pytest.raises(KilledError):
        sync_bank(sessions, "listed", bank, progress=_killed_after(3))
    # The first lines, which were taken, are not in the new file.
    _write(path, range(20, 60))
    report = sync_bank(sessions, "listed", bank)
    assert (report.pages, report.orphans_withdrawn) == (4, 20)
    assert _live(sessions, "listed") == set(range(20, 60))


@pytest.mark.usefixtures("small_pages")
def test_a_file_that_changes_while_it_is_read_withdraws_nothing(sessions: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "bank.txt"
    bank = BankSettings(exchange="file", path=path)
    _write(path, range(40))
    sync_bank(sessions, "listed", bank)
    _write(path, range(10, 40))

    def rewrites(_name: str, done: int, _total: int | None) -> None:
        if done == 20:
            fresh = tmp_path / "fresh.txt"
            _write(fresh, range(10, 40))
            fresh.rename(path)

    with pytest.raises(BankFileError, match="changed while it was read"):
        sync_bank(sessions, "listed", bank, progress=rewrites)
    assert _live(sessions, "listed") == set(range(40))
    with sessions() as session:
        assert session.get_one(BankCheckpoint, "listed").last_error == "bank_file"
    assert sync_bank(sessions, "listed", bank).orphans_withdrawn == 10


@pytest.mark.usefixtures("small_pages")
def test_a_bad_line_in_the_middle_takes_nothing(sessions: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "bank.txt"
    _write(path, range(40))
    with path.open("a") as file:
        file.write("pdq 00\n")
    with pytest.raises(BankFileError, match="Line 41"):
        sync_bank(sessions, "listed", BankSettings(exchange="file", path=path))
    with pytest.raises(BankFileError, match="Line 41"):
        import_file(sessions, path)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(BankEntry)) == 0


@pytest.mark.usefixtures("small_pages")
def test_a_token_of_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.txt"
    _write(path, range(20))
    first = next(iter(FileExchange(path).fetch(0, None)))
    rest: list[Page] = list(FileExchange(path).fetch(0, first.token))
    assert [len(page.records) for page in rest] == [10]
    _write(path, range(21))
    for token in (first.token, "", "nonsense", "a b c"):
        with pytest.raises(TokenRejectedError):
            list(FileExchange(path).fetch(0, token))


@pytest.mark.usefixtures("small_pages")
def test_an_import_that_was_broken_off_goes_on_and_adds_what_one_by_one_would(
    sessions: Sessions, tmp_path: Path
) -> None:
    path = tmp_path / "own.txt"
    _write(path, [*range(35), 3])
    with sessions.begin() as session:
        # One is there already for another reason, and one was withdrawn.
        add_own(session, "pdq", (5).to_bytes(32), 60, [], source="content")
        gone = add_own(session, "pdq", (30).to_bytes(32), 100, [], source="content")
        session.get_one(BankEntry, gone).live = False
    with pytest.raises(KilledError):
        import_file(sessions, path, progress=_killed_after(2))
    imported = import_file(sessions, path)
    assert (imported.signals, imported.before) == (36, 20)
    assert _live(sessions, "own") == set(range(35))
    with sessions() as session:
        supports = session.scalars(select(OwnSupport.standing).where(OwnSupport.source == "import")).all()
        assert supports == [True] * 35
        assert session.scalars(select(BankEntry.quality).distinct()).all() == [100]
        assert session.scalars(select(BankEntry.withdrawn_at).distinct()).all() == [None]
        assert session.scalar(select(func.count()).select_from(OwnImport)) == 0
    again = import_file(sessions, path)
    assert (again.signals, again.before) == (36, 0)


_LOAD = """
import sys
from pathlib import Path
from pydantic import SecretStr
from bank_sync.exchanges import files
from bank_sync.sync import sync_bank
from config.database import make_engine, make_sessions
from config.policy import BankSettings
from config.settings import DatabaseSettings

files.PAGE = 200
sessions = make_sessions(make_engine(DatabaseSettings(url=SecretStr(sys.argv[1]))))
bank = BankSettings(exchange="file", path=Path(sys.argv[2]))
told = lambda name, done, total: print(done, flush=True)
print(sync_bank(sessions, "listed", bank, progress=told).resumed, flush=True)
"""


@pytest.mark.parametrize("lines_told", [1, 4, 9])
def test_a_load_killed_for_real_goes_on(
    sessions: Sessions, database_url: str, tmp_path: Path, lines_told: int
) -> None:
    path = tmp_path / "bank.txt"
    _write(path, range(4000))
    command = [sys.executable, "-c", _LOAD, database_url, str(path)]

    def run(until: int | None) -> list[str]:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            told: list[str] = []
            for line in process.stdout:
                if line.strip().isdecimal() or line.startswith(("True", "False")):
                    told.append(line.strip())
                if until is not None and len(told) == until:
                    # In the middle of whatever it does next.
                    process.send_signal(signal.SIGKILL)
                    break
            process.stdout.read()
        return told

    first = run(lines_told)
    second = run(None)
    assert int(first[-1]) < int(second[0]) <= int(first[-1]) + 600
    assert second[-2:] == ["4000", "True"]
    assert _live(sessions, "listed") == set(range(4000))


def test_progress_is_a_log_line_now_and_then_where_nobody_watches() -> None:
    now = 0.0

    def clock() -> float:
        return now

    with structlog.testing.capture_logs() as logs, progress.shown(clock) as show:
        for done in range(1, 31):
            now += 1
            show("listed", done * 100, 3000)
    assert [(line["event"], line["bank"], line["records"], line["of"]) for line in logs] == [
        ("bank_progress", "listed", 1000, 3000),
        ("bank_progress", "listed", 2000, 3000),
        ("bank_progress", "listed", 3000, 3000),
    ]


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress.shown() as show:
        show("listed", 500, 3000)
        show("listed", 3000, 3000)
    assert "listed" in terminal.getvalue()
    assert "3000/3000" in terminal.getvalue()
