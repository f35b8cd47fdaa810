"""The own bank: what it holds goes when all that led to it has gone, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry, BankRecord, entries_by_id, upsert
from bank_sync.own_bank import add_own, add_own_by_themselves, remove_own, retire_unsupported_own
from config.database import make_engine, make_sessions
from config.settings import DatabaseSettings


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    with make_sessions(engine)() as opened:
        yield opened
    engine.dispose()


def _entry(session: Session, byte: int, status: str = "Active", cases: int = 0) -> int:
    """The entry of a bank's hash in this status, made or changed."""
    signal = bytes([byte]) * 32
    numbers = {f"case-{n}": status for n in range(cases)}
    upsert(session, "practice", [BankRecord("pdq", signal, raw_status=status, case_numbers=numbers)])
    return session.scalars(
        select(BankEntry.id).where(BankEntry.bank == "practice", BankEntry.signal == signal)
    ).one()


def _live(session: Session, entry_id: int) -> bool:
    session.expire_all()
    return session.scalars(select(BankEntry.live).where(BankEntry.id == entry_id)).one()


def _own(session: Session, byte: int, *origins: int, source: str = "content") -> int:
    return add_own(session, "pdq", bytes([byte]) * 32, 90, origins, source=source)


def test_an_own_entry_goes_with_the_last_of_its_origins(session: Session) -> None:
    first, second = _entry(session, 1), _entry(session, 2)
    own = _own(session, 9, first, second)
    _entry(session, 1, "Withdrawn")
    assert retire_unsupported_own(session) == []
    assert _live(session, own)
    _entry(session, 2, "Deleted")
    assert retire_unsupported_own(session) == [own]
    assert not _live(session, own)
    assert retire_unsupported_own(session) == []


def test_an_own_entry_without_origins_stands_by_itself(session: Session) -> None:
    own = _own(session, 9)
    assert retire_unsupported_own(session) == []
    assert _live(session, own)


def test_origins_of_an_own_entry_are_followed(session: Session) -> None:
    origin = _entry(session, 1)
    own = _own(session, 8, origin, source="first")
    later = _own(session, 9, own, source="second")
    _entry(session, 1, "Withdrawn")
    assert retire_unsupported_own(session) == sorted([own, later])


def test_content_that_matched_only_its_own_entry_still_rests_on_the_bank(session: Session) -> None:
    origin = _entry(session, 1)
    own = _own(session, 9, origin, source="first")
    assert _own(session, 9, own, source="second") == own
    _entry(session, 1, "Withdrawn")
    assert retire_unsupported_own(session) == [own]


def test_what_rests_on_a_standing_own_entry_stands_as_well(session: Session) -> None:
    standing = _own(session, 8, source="first")
    later = _own(session, 9, standing, _entry(session, 1), source="second")
    _entry(session, 1, "Withdrawn")
    assert retire_unsupported_own(session) == []
    assert _live(session, later)


def _confirm(session: Session) -> None:
    _own(session, 9, source="second")


def _import(session: Session) -> None:
    add_own_by_themselves(session, [BankRecord("pdq", b"\x09" * 32)], source="import")


@pytest.mark.parametrize("add", [_confirm, _import])
def test_what_is_confirmed_while_its_entry_is_withdrawn_lives(
    session: Session,
    database_url: str,
    add: Callable[[Session], None],
    wait_until: Callable[..., object],
) -> None:
    own = _own(session, 9, _entry(session, 1), source="first")
    _entry(session, 1, "Withdrawn")
    session.commit()
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    sessions = make_sessions(engine)

    def retire() -> None:
        with sessions.begin() as other:
            retire_unsupported_own(other)

    add(session)
    retiring = threading.Thread(target=retire)
    retiring.start()

    def waits() -> bool:
        # A transaction sees one state of the activity, the first that it asked for.
        with sessions() as watching:
            locked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return bool(watching.scalar(locked)) or not retiring.is_alive()

    wait_until(waits)
    session.commit()
    retiring.join()
    engine.dispose()
    assert _live(session, own)


def test_what_a_bank_gives_back_lives_again(session: Session) -> None:
    own = _own(session, 9, _entry(session, 1))
    _entry(session, 1, "Withdrawn")
    assert retire_unsupported_own(session) == [own]
    _entry(session, 1)
    assert retire_unsupported_own(session) == []
    assert _live(session, own)


def test_a_withdrawn_origin_gives_no_life(session: Session) -> None:
    origin = _entry(session, 1, "Withdrawn")
    assert not _live(session, _own(session, 9, origin))
    dead = _own(session, 8, origin, source="dead")
    assert not _live(session, _own(session, 7, dead, source="on the dead"))


def test_an_undone_decision_takes_back_its_part_only(session: Session) -> None:
    origin = _entry(session, 1)
    shared = _own(session, 8, origin, source="first")
    assert _own(session, 8, source="second") == shared
    alone = _own(session, 9, origin, source="first")
    assert remove_own(session, "first") == [alone]
    assert _live(session, shared)
    assert remove_own(session, "second") == [shared]
    assert remove_own(session, "second") == []
    assert _own(session, 9, origin, source="first") == alone
    assert _live(session, alone)


def test_adding_twice_is_adding_once_and_keeps_the_better_quality(session: Session) -> None:
    first = add_own(session, "pdq", b"\x09" * 32, 60, [], source="content")
    second = add_own(session, "pdq", b"\x09" * 32, 90, [], source="content")
    assert first == second
    assert entries_by_id(session, [first])[first].quality == 90


def test_entries_are_described_without_their_signal(session: Session) -> None:
    entry_id = _entry(session, 1, cases=2)
    found = entries_by_id(session, [entry_id, entry_id + 1000])
    assert list(found) == [entry_id]
    entry = found[entry_id]
    assert (entry.bank, entry.signal_type, entry.live, entry.quality, entry.case_count) == (
        "practice",
        "pdq",
        True,
        100,
        2,
    )
    assert not hasattr(entry, "signal")
    assert entries_by_id(session, []) == {}
