"""The feedback outbox: told once, the newest verdict, never lost, and nothing about what was withdrawn."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update

from bank_sync import locks
from bank_sync.bank import BankEntry, BankRecord, Feedback, upsert
from bank_sync.exchanges import open_exchange
from bank_sync.exchanges.protocol import Exchange
from bank_sync.feedback import decision_key, enqueue, pending_key, send_due
from bank_sync.own_bank import add_own
from bank_sync.sandbox.app import running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sandbox.wire import Case
from bank_sync.sync import sync_bank
from config.database import Sessions, make_engine, make_sessions
from config.policy import BankSettings
from config.settings import DatabaseSettings

BANK = "practice"
HASHES = [("pdq", bytes([n + 1]) * 32) for n in range(3)]


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def practice() -> Iterator[PracticeClient]:
    with running() as address, PracticeClient(address) as client:
        yield client


@pytest.fixture
def case(practice: PracticeClient, sessions: Sessions) -> Case:
    opened = practice.open_case(HASHES)
    sync_bank(sessions, BANK, practice.bank_settings())
    return opened


def _ids(sessions: Sessions) -> list[int]:
    with sessions() as session:
        return list(session.scalars(select(BankEntry.id).order_by(BankEntry.signal)))


def _enqueue(sessions: Sessions, entry_id: int, value: str, key: str) -> bool:
    with sessions.begin() as session:
        return enqueue(session, entry_id, value, key)


def _told(practice: PracticeClient, case: Case) -> list[str]:
    return sorted(
        said["feedbackValue"] for known in practice.progress(case)["hashes"] for said in known["feedback"]
    )


def _outbox(sessions: Sessions) -> Sequence[Feedback]:
    with sessions() as session:
        return session.scalars(select(Feedback).order_by(Feedback.id)).all()


def _banks(practice: PracticeClient, **overrides: object) -> dict[str, BankSettings]:
    return {BANK: practice.bank_settings(**overrides)}


def _make_due(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(update(Feedback).values(next_attempt_at=text("now()")))


@pytest.mark.parametrize("fault", ["none", "post_204", "post_empty"])
def test_feedback_reaches_the_bank_once(
    sessions: Sessions, practice: PracticeClient, case: Case, fault: str
) -> None:
    if fault != "none":
        practice.set_faults(**{fault: {}})
    first, second, _ = _ids(sessions)
    assert _enqueue(sessions, first, "PendingReview", pending_key(first))
    assert not _enqueue(sessions, first, "PendingReview", pending_key(first))
    assert _enqueue(sessions, second, "Blocked", decision_key(7, second))
    assert not _enqueue(sessions, second, "Blocked", decision_key(7, second))
    assert send_due(sessions, _banks(practice)).sent == 2
    assert _told(practice, case) == ["Blocked", "PendingReview"]
    again = send_due(sessions, _banks(practice))
    assert (again.sent, again.failed, again.dropped) == (0, 0, 0)
    assert all(row.sent_at for row in _outbox(sessions))


def test_of_several_verdicts_only_the_newest_is_told(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    entry = _ids(sessions)[0]
    for number, value in enumerate(["Blocked", "NotBlocked", "Blocked", "NotBlocked"]):
        _enqueue(sessions, entry, value, decision_key(number, entry))
    # A verdict outranks the announcement, whichever was first.
    _enqueue(sessions, entry, "PendingReview", pending_key(entry))
    counts = send_due(sessions, _banks(practice))
    assert (counts.sent, counts.dropped) == (1, 4)
    assert _told(practice, case) == ["NotBlocked"]
    assert [row.dropped for row in _outbox(sessions)] == [
        "superseded",
        "superseded",
        "superseded",
        None,
        "superseded",
    ]


def test_an_unreachable_bank_loses_nothing_and_is_asked_less_and_less_often(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    entry = _ids(sessions)[0]
    _enqueue(sessions, entry, "Blocked", decision_key(1, entry))
    practice.set_faults(status={"code": 503})
    waits = []
    for _ in range(3):
        assert send_due(sessions, _banks(practice)).failed == 1
        assert send_due(sessions, _banks(practice)).failed == 0
        with sessions() as session:
            waits.append(
                session.execute(
                    text("SELECT round(extract(epoch FROM next_attempt_at - now())) FROM feedback_outbox")
                ).scalar_one()
            )
        _make_due(sessions)
    assert waits == pytest.approx([5, 10, 20], abs=2)
    (row,) = _outbox(sessions)
    assert (row.attempts, row.last_error, row.dropped) == (3, "unreachable", None)
    practice.set_faults()
    assert send_due(sessions, _banks(practice)).sent == 1
    assert _told(practice, case) == ["Blocked"]
    (row,) = _outbox(sessions)
    assert row.last_error is None


def test_the_wait_that_the_bank_asks_for_is_kept(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    assert case.number
    entry = _ids(sessions)[0]
    _enqueue(sessions, entry, "Blocked", decision_key(1, entry))
    practice.set_faults(status={"code": 429, "retry_after": 600})
    send_due(sessions, _banks(practice))
    with sessions() as session:
        wait = session.execute(
            text("SELECT extract(epoch FROM next_attempt_at - now()) FROM feedback_outbox")
        ).scalar_one()
    assert float(wait) == pytest.approx(600, abs=5)


def test_one_item_that_the_bank_refuses_does_not_hold_up_the_others(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    with sessions.begin() as session:
        upsert(session, BANK, [BankRecord("pdq", b"\x00" * 32)])
    unknown, known, *_ = _ids(sessions)
    _enqueue(sessions, unknown, "Blocked", decision_key(1, unknown))
    _enqueue(sessions, known, "Blocked", decision_key(1, known))
    counts = send_due(sessions, _banks(practice))
    assert (counts.sent, counts.failed) == (1, 1)
    assert _told(practice, case) == ["Blocked"]
    assert [row.last_error for row in _outbox(sessions)] == ["rejected", None]


def test_nothing_is_told_of_what_was_withdrawn_meanwhile(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    entry = _ids(sessions)[0]
    _enqueue(sessions, entry, "Blocked", decision_key(1, entry))
    practice.withdraw(case)
    sync_bank(sessions, BANK, practice.bank_settings())
    assert not _enqueue(sessions, entry, "NotBlocked", decision_key(2, entry))
    assert send_due(sessions, _banks(practice)).dropped == 1
    assert [row.dropped for row in _outbox(sessions)] == ["withdrawn"]
    assert _told(practice, case) == []


def test_banks_that_take_no_feedback_are_told_nothing(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    entry = _ids(sessions)[0]
    with sessions.begin() as session:
        own = add_own(session, "pdq", b"\x77" * 32, 90, [])
        assert not enqueue(session, own, "Blocked", decision_key(1, own))
        off = _banks(practice, send_feedback=False)
        assert not enqueue(session, entry, "Blocked", decision_key(1, entry), banks=off)
        assert not enqueue(session, entry, "Blocked", decision_key(1, entry), banks={})
    _enqueue(sessions, entry, "Blocked", decision_key(1, entry))
    assert send_due(sessions, off).dropped == 1
    assert [row.dropped for row in _outbox(sessions)] == ["bank_off"]
    assert _told(practice, case) == []


def test_two_senders_at_once_tell_each_thing_once(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    for entry in _ids(sessions):
        _enqueue(sessions, entry, "Blocked", decision_key(1, entry))
    sent: list[int] = []

    def sending() -> None:
        sent.append(send_due(sessions, _banks(practice)).sent)

    threads = [threading.Thread(target=sending) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == len(HASHES)
    assert _told(practice, case) == ["Blocked"] * len(HASHES)


def test_a_sender_leaves_a_bank_to_the_one_already_at_it(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    entry = _ids(sessions)[0]
    _enqueue(sessions, entry, "Blocked", decision_key(1, entry))
    with sessions.begin() as other:
        locks.take(other, f"feedback:{BANK}")
        assert send_due(sessions, _banks(practice)).sent == 0
    assert send_due(sessions, _banks(practice)).sent == 1
    assert _told(practice, case) == ["Blocked"]


def test_one_bank_that_can_not_be_served_does_not_keep_the_others_waiting(
    sessions: Sessions, practice: PracticeClient, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By any fault, also one that the exchange's own errors don't cover."""
    with sessions.begin() as session:
        upsert(session, "aaa", [BankRecord("pdq", bytes([7]) * 32)])
    told = _ids(sessions)
    for entry in told:
        _enqueue(sessions, entry, "Blocked", decision_key(1, entry))

    def opened(name: str, bank: BankSettings) -> Exchange:
        if name == "aaa":
            raise TypeError("unexpected")
        return open_exchange(name, bank)

    monkeypatch.setattr("bank_sync.feedback.open_exchange", opened)
    counts = send_due(sessions, {**_banks(practice), "aaa": practice.bank_settings()})
    assert counts.sent == len(told) - 1
    assert _told(practice, case) == ["Blocked"] * 3


def test_a_verdict_that_was_dropped_does_not_silence_an_older_one(
    sessions: Sessions, practice: PracticeClient, case: Case
) -> None:
    """Two contents matched one entry; what was to be told of the second was taken back before it was sent."""
    entry = _ids(sessions)[0]
    for decision in (1, 2):
        _enqueue(sessions, entry, "Blocked", decision_key(decision, entry))
    with sessions.begin() as session:
        session.execute(
            update(Feedback)
            .where(Feedback.idempotency_key == decision_key(2, entry))
            .values(dropped="suspected_minor")
        )
    assert send_due(sessions, _banks(practice)).sent == 1
    assert _told(practice, case) == ["Blocked"]
