"""The checkpoint: a sync killed anywhere ends in the state of one that was not, and nothing is lost or skipped."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update

from bank_sync import locks
from bank_sync.bank import BankCheckpoint, BankEntry, BankRecord, upsert
from bank_sync.exchanges import open_exchange
from bank_sync.exchanges.files import BankFileError, FileExchange
from bank_sync.exchanges.protocol import Exchange, FeedbackItem, MalformedAnswerError, Page
from bank_sync.own_bank import add_own
from bank_sync.sandbox.app import running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sync import sync_bank
from config.database import Sessions, make_engine, make_sessions
from config.policy import BankSettings
from config.settings import DatabaseSettings

HASHES = [("pdq", bytes([n + 1]) * 32) for n in range(7)]
PAGES = 4  # of two records each


class KilledError(Exception):
    """Stands for the end of the process between two statements."""


class KilledExchange:
    """Another exchange that dies after some pages: before the next is asked for, or once it is read."""

    def __init__(self, inner: Exchange, pages: int, *, after_reading: bool) -> None:
        self._inner = inner
        self._pages = pages
        self._after_reading = after_reading
        self.first_start = inner.first_start
        self.overlap = inner.overlap
        self.snapshot = inner.snapshot
        self.max_feedback = inner.max_feedback
        self.second_keys = inner.second_keys

    def version(self) -> str:
        return self._inner.version()

    def fetch(self, start: int, token: str | None) -> Iterator[Page]:
        pages = self._inner.fetch(start, token)
        for number in itertools.count():
            if number == self._pages and not self._after_reading:
                raise KilledError
            page = next(pages, None)
            if page is None:
                return
            if number == self._pages:
                raise KilledError
            yield page

    def submit_feedback(self, items: Sequence[FeedbackItem]) -> None:
        self._inner.submit_feedback(items)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def practice() -> Iterator[PracticeClient]:
    with running() as address, PracticeClient(address) as client:
        yield client


def _state(sessions: Sessions, name: str) -> tuple[Any, ...]:
    """Everything that a sync leaves behind, but for ids and times of this machine."""
    with sessions() as session:
        entries = session.execute(
            select(
                BankEntry.signal,
                BankEntry.live,
                BankEntry.raw_status,
                BankEntry.case_numbers,
                BankEntry.feedback,
                BankEntry.last_modified,
                BankEntry.generation == BankCheckpoint.generation,
            )
            .join(BankCheckpoint, BankCheckpoint.bank == BankEntry.bank)
            .where(BankEntry.bank == name)
            .order_by(BankEntry.signal)
        ).all()
        row = session.get_one(BankCheckpoint, name)
    assert row.drained_at is not None
    return entries, row.next_start, row.full_sync, row.cursor_token, row.cursor_start


def _expire_token(sessions: Sessions, name: str) -> None:
    with sessions.begin() as session:
        session.execute(
            update(BankCheckpoint)
            .where(BankCheckpoint.bank == name)
            .values(cursor_issued_at=text("now() - interval '61 minutes'"))
        )


@pytest.mark.parametrize("fate", ["token lives", "token expires here", "token expires at the bank"])
def test_a_sync_killed_at_any_page_ends_like_one_that_was_not(
    sessions: Sessions, practice: PracticeClient, fate: str
) -> None:
    bank = practice.bank_settings(page_size=2)
    withdrawn = practice.open_case(HASHES[:3])
    practice.open_case(HASHES[2:])
    practice.withdraw(withdrawn)
    sync_bank(sessions, "whole", bank)
    expected = _state(sessions, "whole")
    # Twice each: at every page, and then at another one.
    for number, (first, after_reading) in enumerate(itertools.product(range(PAGES + 1), [False, True])):
        second = (2 * first + 1) % (PAGES + 1)
        name = f"killed{number}"
        for pages in (first, second):
            exchange = KilledExchange(open_exchange(name, bank), pages, after_reading=after_reading)
            try:
                sync_bank(sessions, name, bank, exchange=exchange)
            except KilledError:
                if fate == "token expires here":
                    _expire_token(sessions, name)
        if fate == "token expires at the bank":
            practice.set_faults(token_expires={"times": 1})
        sync_bank(sessions, name, bank)
        assert _state(sessions, name) == expected, (first, second, after_reading)


def test_inside_a_cursor_the_checkpoint_stays_and_the_cursor_is_kept(
    sessions: Sessions, practice: PracticeClient
) -> None:
    bank = practice.bank_settings(page_size=2)
    practice.open_case(HASHES)
    with pytest.raises(KilledError):
        sync_bank(
            sessions,
            "practice",
            bank,
            exchange=KilledExchange(open_exchange("practice", bank), 2, after_reading=False),
        )
    with sessions() as session:
        row = session.get_one(BankCheckpoint, "practice")
    assert (row.next_start, row.cursor_start, row.drained_at) == (10, 10, None)
    assert row.cursor_token is not None
    report = sync_bank(sessions, "practice", bank)
    assert (report.resumed, report.pages, report.changes.new) == (True, 2, 3)


def test_a_second_sync_of_a_bank_says_that_one_is_running(
    sessions: Sessions, practice: PracticeClient
) -> None:
    with locks.held(sessions.kw["bind"], "sync:practice") as mine:
        assert mine
        report = sync_bank(sessions, "practice", practice.bank_settings())
    assert (report.status, report.pages) == ("already_running", 0)
    assert sync_bank(sessions, "practice", practice.bank_settings()).status == "drained"


def _age(sessions: Sessions, days: int) -> None:
    with sessions.begin() as session:
        session.execute(update(BankCheckpoint).values(drained_at=text(f"now() - interval '{days} days'")))


def test_after_thirty_days_everything_is_read_again_and_orphans_are_withdrawn(
    sessions: Sessions, practice: PracticeClient
) -> None:
    bank = practice.bank_settings(page_size=2)
    practice.open_case(HASHES)
    sync_bank(sessions, "practice", bank)
    with sessions.begin() as session:
        # An entry whose tombstone the bank has forgotten since.
        upsert(session, "practice", [BankRecord("pdq", b"\xaa" * 32)], generation=1)
    _age(sessions, 29)
    assert not sync_bank(sessions, "practice", bank).full
    _age(sessions, 31)
    with pytest.raises(KilledError):
        sync_bank(
            sessions,
            "practice",
            bank,
            exchange=KilledExchange(open_exchange("practice", bank), 2, after_reading=False),
        )
    with sessions() as session:
        assert session.scalars(select(BankEntry.live).where(BankEntry.signal == b"\xaa" * 32)).one()
    report = sync_bank(sessions, "practice", bank)
    assert (report.full, report.orphans_withdrawn) == (True, 1)
    with sessions() as session:
        gone = session.scalars(select(BankEntry).where(~BankEntry.live)).one()
    assert (gone.signal, gone.withdrawn_at is not None) == (b"\xaa" * 32, True)


def test_what_is_withdrawn_after_a_full_sync_was_broken_off_goes_with_the_next(
    sessions: Sessions, practice: PracticeClient
) -> None:
    bank = practice.bank_settings(page_size=2)
    practice.open_case(HASHES)
    sync_bank(sessions, "practice", bank)
    shown = b"\xaa" * 32
    _age(sessions, 31)
    with pytest.raises(KilledError):
        sync_bank(
            sessions,
            "practice",
            bank,
            exchange=KilledExchange(open_exchange("practice", bank), 2, after_reading=False),
        )
    with sessions.begin() as session:
        # Shown by the part that was read; its tombstone is forgotten before the bank is read again.
        generation = session.get_one(BankCheckpoint, "practice").generation
        upsert(session, "practice", [BankRecord("pdq", shown)], generation=generation)
    _expire_token(sessions, "practice")
    report = sync_bank(sessions, "practice", bank)
    assert (report.full, report.orphans_withdrawn) == (True, 1)
    with sessions() as session:
        assert not session.scalars(select(BankEntry.live).where(BankEntry.signal == shown)).one()


def test_a_full_sync_that_shows_nothing_withdraws_nothing(
    sessions: Sessions, practice: PracticeClient
) -> None:
    practice.open_case(HASHES)
    sync_bank(sessions, "practice", practice.bank_settings())
    _age(sessions, 31)
    practice.set_faults(empty={})
    with pytest.raises(MalformedAnswerError, match="no records at all"):
        sync_bank(sessions, "practice", practice.bank_settings())
    with sessions() as session:
        assert len(session.scalars(select(BankEntry).where(BankEntry.live)).all()) == len(HASHES)


def test_a_later_sync_steps_back_a_little_and_asks_for_changes_only(
    sessions: Sessions, practice: PracticeClient
) -> None:
    practice.open_case(HASHES)
    sync_bank(sessions, "practice", practice.bank_settings())
    with sessions() as session:
        before = session.get_one(BankCheckpoint, "practice").next_start
    asked: list[int] = []

    class Listening(KilledExchange):
        def fetch(self, start: int, token: str | None) -> Iterator[Page]:
            asked.append(start)
            return super().fetch(start, token)

    bank = practice.bank_settings()
    sync_bank(
        sessions,
        "practice",
        bank,
        exchange=Listening(open_exchange("practice", bank), 99, after_reading=False),
    )
    assert asked == [before - 60]


def test_a_bank_file_that_is_the_same_is_not_read_again(sessions: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "bank.txt"
    bank = BankSettings(exchange="file", path=path)
    path.write_text("".join(f"pdq {bytes([n]).hex() * 32}\n" for n in (1, 2)))
    with pytest.raises(KilledError):
        sync_bank(sessions, "file", bank, exchange=KilledExchange(FileExchange(path), 0, after_reading=True))
    assert sync_bank(sessions, "file", bank).pages == 1
    with sessions.begin() as session:
        session.execute(update(BankCheckpoint).values(last_error="bank_file", drained_at=None))
    again = sync_bank(sessions, "file", bank)
    assert (again.status, again.pages) == ("drained", 0)
    with sessions() as session:
        checkpoint = session.get_one(BankCheckpoint, "file")
        assert checkpoint.last_error is None
        assert checkpoint.drained_at is not None
    path.write_text("".join(f"pdq {bytes([n]).hex() * 32}\n" for n in (1, 3)))
    changed = sync_bank(sessions, "file", bank)
    assert (changed.pages, changed.changes.new, changed.orphans_withdrawn) == (1, 1, 1)
    path.unlink()
    with pytest.raises(BankFileError):
        sync_bank(sessions, "file", bank)


def test_a_line_taken_out_of_a_bank_file_is_withdrawn(sessions: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "bank.txt"
    bank = BankSettings(exchange="file", path=path)
    lines = [f"pdq {n:064x}" for n in range(2500)]
    path.write_text("\n".join(lines))
    first = sync_bank(sessions, "listed", bank)
    assert (first.pages, first.changes.new) == (1, 2500)
    path.write_text("\n".join(lines[1:]))
    second = sync_bank(sessions, "listed", bank)
    assert (second.orphans_withdrawn, second.changes.unchanged) == (1, 2499)
    path.write_text("\n".join([*lines[2:], "pdq 00"]))
    with pytest.raises(BankFileError, match="Line 2499"):
        sync_bank(sessions, "listed", bank)
    with sessions() as session:
        live = session.scalars(select(BankEntry.id).where(BankEntry.live)).all()
        assert session.get_one(BankCheckpoint, "listed").last_error == "bank_file"
    assert len(live) == 2499
    path.write_text("\n".join(lines))
    assert sync_bank(sessions, "listed", bank).changes.reactivated == 1


def test_a_withdrawal_takes_along_what_rests_on_it_in_the_own_bank(
    sessions: Sessions, practice: PracticeClient
) -> None:
    case = practice.open_case(HASHES[:1])
    sync_bank(sessions, "practice", practice.bank_settings())
    with sessions.begin() as session:
        origin = session.scalars(select(BankEntry.id)).one()
        own = add_own(session, "pdq", b"\x99" * 32, 90, [origin], source="content")
    practice.withdraw(case)
    assert sync_bank(sessions, "practice", practice.bank_settings()).own_withdrawn == 1
    with sessions() as session:
        assert not session.get_one(BankEntry, own).live


def test_a_bank_that_is_off_or_our_own_has_nothing_to_sync(sessions: Sessions) -> None:
    assert sync_bank(sessions, "own", BankSettings(exchange="own")).status == "nothing_to_sync"
    off = BankSettings(exchange="stopncii", enabled=False)
    assert sync_bank(sessions, "practice", off).status == "nothing_to_sync"
