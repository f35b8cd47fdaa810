"""Every fault that a bank has shown, through the practice bank on a real socket into a real database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from bank_sync.bank import BankCheckpoint, BankEntry, BankRecord, BankReject
from bank_sync.exchanges.keys import BankKeys
from bank_sync.exchanges.protocol import (
    Exchange,
    ExchangeError,
    FeedbackItem,
    KeysRefusedError,
    MalformedAnswerError,
    Page,
    RequestRejectedError,
    TokenRejectedError,
    UnreachableError,
)
from bank_sync.exchanges.stopncii import StopNciiExchange
from bank_sync.exchanges.stopncii_client import StopNciiClient
from bank_sync.sandbox.app import running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sandbox.faults import FAULTS, SHORT_PDQ
from bank_sync.sync import SyncReport, sync_bank, sync_banks
from config.database import Sessions, make_engine, make_sessions
from config.policy import BankSettings
from config.settings import DatabaseSettings, Settings

BANK = "practice"
HASHES = [("pdq", bytes([n + 1]) * 32) for n in range(5)] + [("video_md5", b"\x07" * 16)]

# What the sync does under each fault: the error it ends with, or None when it drains in spite of it.
EXPECTED: dict[str, type[ExchangeError] | None] = {
    "truncated_json": MalformedAnswerError,
    "html_200": MalformedAnswerError,
    "records_not_list": MalformedAnswerError,
    "null_record": None,
    "undefined_feedback": None,
    "empty_case_list_as_array": None,
    "null_case_numbers": None,
    "null_tags": None,
    "null_feedback": None,
    "short_pdq": None,
    "unsupported_signal": None,
    "nul_characters": None,
    "uppercase_hex": None,
    "string_timestamp": None,
    "odd_timestamp": None,
    "unknown_status": None,
    "missing_status": None,
    "cases_disagree": None,
    "extra_keys": None,
    "missing_has_more": None,
    "missing_next_set": None,
    "more_without_token": MalformedAnswerError,
    "same_page": MalformedAnswerError,
    "rewinding_timestamp": None,
    "future_timestamp": None,
    "duplicate_across_pages": None,
    "token_expires": TokenRejectedError,
    "status": UnreachableError,
    "post_204": None,
    "post_empty": None,
    "slow": None,
}
# These show no records at all, which is an ordinary answer of an empty bank.
EMPTY = {"null_records", "absent_records", "empty"}

PARAMS: dict[str, dict[str, Any]] = {
    "empty_case_list_as_array": {"always": True},
    "slow": {"seconds": 0.05},
}


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def practice() -> Iterator[PracticeClient]:
    with running() as address, PracticeClient(address) as client:
        yield client


def _exchange(bank: BankSettings, waits: list[float] | None = None) -> Exchange:
    keys = BankKeys(BANK, bank)
    pause = (waits if waits is not None else []).append
    client = StopNciiClient(BANK, bank.base_url, keys, timeout=bank.timeout, pause=pause)
    return StopNciiExchange(BANK, client, keys, bank.page_size)


def _sync(sessions: Sessions, bank: BankSettings, waits: list[float] | None = None) -> SyncReport:
    return sync_bank(sessions, BANK, bank, exchange=_exchange(bank, waits))


def _live(sessions: Sessions) -> set[bytes]:
    with sessions() as session:
        return set(session.scalars(select(BankEntry.signal).where(BankEntry.bank == BANK, BankEntry.live)))


def _checkpoint(sessions: Sessions) -> BankCheckpoint:
    with sessions() as session:
        return session.get_one(BankCheckpoint, BANK)


def test_every_fault_of_the_practice_bank_is_tried_here() -> None:
    assert EXPECTED.keys() | EMPTY == FAULTS.keys()


@pytest.mark.parametrize("fault", sorted(EXPECTED))
def test_a_fault_costs_no_hash_and_moves_no_checkpoint_too_far(
    sessions: Sessions, practice: PracticeClient, fault: str
) -> None:
    practice.open_case(HASHES)
    practice.set_faults(**{fault: PARAMS.get(fault, {})})
    bank = practice.bank_settings(page_size=2)
    expected = EXPECTED[fault]
    if expected is not None:
        with pytest.raises(expected) as caught:
            _sync(sessions, bank)
        checkpoint = _checkpoint(sessions)
        assert (checkpoint.next_start, checkpoint.drained_at) == (10, None)
        assert checkpoint.last_error == expected.code
        assert caught.value.next_step
        for secret in ("practice-fetch-key", "practice-subscription-key", "nextPageToken", "http://"):
            assert secret not in str(caught.value)
        practice.set_faults()
    report = _sync(sessions, bank)
    assert report.status == "drained"
    assert _live(sessions) == {signal for _, signal in HASHES}
    checkpoint = _checkpoint(sessions)
    assert checkpoint.drained_at is not None
    assert checkpoint.last_error is None
    assert checkpoint.cursor_token is None
    # Nothing that comes later may be skipped.
    practice.set_faults()
    practice.open_case([("pdq", b"\xee" * 32)])
    _sync(sessions, bank)
    assert b"\xee" * 32 in _live(sessions)


@pytest.mark.parametrize("fault", sorted(EMPTY))
def test_an_answer_without_records_is_an_empty_page(
    sessions: Sessions, practice: PracticeClient, fault: str
) -> None:
    practice.open_case(HASHES)
    practice.set_faults(**{fault: {}})
    report = _sync(sessions, practice.bank_settings())
    assert (report.status, report.changes.new) == ("drained", 0)
    practice.set_faults()
    _sync(sessions, practice.bank_settings())
    assert _live(sessions) == {signal for _, signal in HASHES}


def test_rejects_are_kept_for_a_person_and_only_counted_when_they_come_again(
    sessions: Sessions, practice: PracticeClient
) -> None:
    practice.open_case(HASHES)
    practice.set_faults(short_pdq={}, unsupported_signal={}, null_record={})
    for _ in range(2):
        report = _sync(sessions, practice.bank_settings())
        assert report.rejected == {"hash_value": 1, "signal_type": 1, "not_a_record": 1}
    with sessions() as session:
        kept = {row.reason: row for row in session.scalars(select(BankReject))}
    assert {reason: row.seen for reason, row in kept.items()} == {
        "hash_value": 2,
        "signal_type": 2,
        "not_a_record": 2,
    }
    assert SHORT_PDQ in (kept["hash_value"].record or "")


def test_side_fields_are_kept_as_they_came(sessions: Sessions, practice: PracticeClient) -> None:
    case = practice.open_case(HASHES[:1])
    practice.set_faults(undefined_feedback={}, unknown_status={"status": "Paused"})
    report = _sync(sessions, practice.bank_settings())
    assert report.changes.unknown_status == 1
    with sessions() as session:
        entry = session.scalars(select(BankEntry)).one()
    assert entry.case_numbers == {case.number: "Received"}
    assert entry.feedback == [{"source": "other", "feedbackValue": "Undefined", "tags": ["Nude"]}]
    assert (entry.regions, entry.raw_status, entry.live) == (["UK"], "Paused", True)


@pytest.mark.parametrize("delete", [False, True])
def test_a_case_taken_back_stops_matching_and_may_come_back(
    sessions: Sessions, practice: PracticeClient, delete: bool
) -> None:
    case = practice.open_case(HASHES[:2])
    practice.open_case(HASHES[1:3])
    bank = practice.bank_settings()
    _sync(sessions, bank)
    practice.withdraw(case, delete=delete)
    report = _sync(sessions, bank)
    # The second hash belongs to another case as well.
    assert report.changes.withdrawn == 1
    assert _live(sessions) == {HASHES[1][1], HASHES[2][1]}
    with sessions() as session:
        gone = session.scalars(select(BankEntry).where(~BankEntry.live)).one()
    assert gone.withdrawn_at is not None
    assert gone.raw_status == ("Deleted" if delete else "Withdrawn")
    practice.reopen(case)
    assert _sync(sessions, bank).changes.reactivated == 1
    assert _live(sessions) == {signal for _, signal in HASHES[:3]}


def test_a_status_that_disagrees_with_all_cases_counts_as_withdrawn(
    sessions: Sessions, practice: PracticeClient
) -> None:
    case = practice.open_case(HASHES[:1])
    practice.set_faults(cases_disagree={})
    practice.withdraw(case)
    _sync(sessions, practice.bank_settings())
    assert _live(sessions) == set()


class _Refused:
    """A bank whose records the database refuses, and then its token."""

    first_start = 0
    overlap = 0
    snapshot = False
    max_feedback = 0
    second_keys: frozenset[str] = frozenset()

    def version(self) -> str:
        return ""

    def __init__(self, page: Page) -> None:
        self._page = page

    def fetch(self, _start: int, _token: str | None) -> Iterator[Page]:
        yield self._page

    def submit_feedback(self, items: Sequence[FeedbackItem]) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "page",
    [
        Page((BankRecord("pdq", b"\x01" * 31),), (), more=False, token=None, next_start=1),
        Page((BankRecord("pdq", b"\x01" * 32),), (), more=True, token="a\x00b", next_start=1),  # noqa: S106
    ],
    ids=["batch", "token"],
)
def test_what_the_database_refuses_of_one_bank_is_that_banks_failure_alone(
    sessions: Sessions,
    practice: PracticeClient,
    settings: Settings,
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    practice.open_case(HASHES)
    good = practice.bank_settings()

    def opened(name: str, bank: BankSettings) -> Exchange:
        return _Refused(page) if name == "refused" else _exchange(bank)

    monkeypatch.setattr("bank_sync.sync.open_exchange", opened)
    run = sync_banks(
        sessions, settings.model_copy(update={"banks": {"refused": good, BANK: good}}), ["refused", BANK]
    )
    assert [(name, error.code) for name, error in run.failed] == [("refused", "records_refused")]
    assert "31" not in run.failed[0][1].message
    assert len(_live(sessions)) == len(HASHES)
    assert run.epoch.new
    with sessions() as session:
        assert session.get_one(BankCheckpoint, "refused").last_error == "records_refused"


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504, 408])
def test_a_passing_fault_of_the_server_is_waited_out(
    sessions: Sessions, practice: PracticeClient, code: int
) -> None:
    practice.open_case(HASHES)
    practice.set_faults(status={"code": code, "times": 3})
    waits: list[float] = []
    _sync(sessions, practice.bank_settings(), waits)
    assert waits == [0.2, 0.4, 0.8]
    assert len(_live(sessions)) == len(HASHES)


def test_retry_after_is_honoured_up_to_a_bound(sessions: Sessions, practice: PracticeClient) -> None:
    practice.open_case(HASHES)
    practice.set_faults(status={"code": 429, "retry_after": 7, "times": 1})
    waits: list[float] = []
    _sync(sessions, practice.bank_settings(), waits)
    assert waits == [7.0]
    practice.set_faults(status={"code": 429, "retry_after": 3600, "times": 1})
    with pytest.raises(UnreachableError) as caught:
        _sync(sessions, practice.bank_settings(), waits)
    assert caught.value.retry_after == 3600
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"fetch_key": SecretStr("wrong")}, KeysRefusedError),
        ({"subscription_key": SecretStr("wrong")}, KeysRefusedError),
        ({"fetch_key": None}, KeysRefusedError),
        ({"base_url": "http://127.0.0.1:9"}, UnreachableError),
        ({"base_url": "no address"}, RequestRejectedError),
        ({"fetch_key": SecretStr("clé")}, RequestRejectedError),
    ],
)
def test_wrong_settings_give_one_clear_error_without_a_secret(
    sessions: Sessions, practice: PracticeClient, change: dict[str, Any], error: type[ExchangeError]
) -> None:
    with pytest.raises(error, match=BANK) as caught:
        _sync(sessions, practice.bank_settings(**change))
    assert caught.value.next_step
    assert "wrong" not in str(caught.value)


def test_a_slow_bank_runs_into_the_timeout(sessions: Sessions, practice: PracticeClient) -> None:
    practice.set_faults(slow={"seconds": 0.4, "times": 5})
    waits: list[float] = []
    with pytest.raises(UnreachableError):
        _sync(sessions, practice.bank_settings(timeout=0.1), waits)
    assert len(waits) == 4


def test_a_trailing_slash_in_the_address_is_harmless(sessions: Sessions, practice: PracticeClient) -> None:
    practice.open_case(HASHES)
    _sync(sessions, practice.bank_settings(base_url=practice.base_url + "/"))
    assert len(_live(sessions)) == len(HASHES)


def test_reading_the_same_again_changes_nothing(sessions: Sessions, practice: PracticeClient) -> None:
    practice.open_case(HASHES)
    bank = practice.bank_settings(page_size=2)
    _sync(sessions, bank)
    report = _sync(sessions, bank)
    assert (report.changes.new, report.changes.changed) == (0, 0)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(BankEntry)) == len(HASHES)
