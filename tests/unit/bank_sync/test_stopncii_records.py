"""Reading StopNCII's records leniently: an odd side field never costs a hash."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank_sync.bank import BankRecord, Reject
from bank_sync.exchanges.keys import BankKeys
from bank_sync.exchanges.protocol import MalformedAnswerError
from bank_sync.exchanges.stopncii import StopNciiExchange, read_record
from config.policy import BankSettings

HEX = "ab" * 32


def _record(**changes: object) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "lastModtimestamp": 100,
        "signalType": "ImagePDQ",
        "hashValue": HEX,
        "hashStatus": "Active",
        "caseNumbers": {"one": "Active"},
        "CSPFeedbacks": [],
        "hashRegions": ["UK"],
    }
    return whole | changes


class Answers:
    """A client that gives prepared answers."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, str | None]] = []

    def fetch_hashes(self, start: int, _page_size: int, token: str | None) -> dict[str, Any]:
        self.asked.append((start, token))
        return self.answers.pop(0)


def _exchange(*answers: dict[str, Any]) -> StopNciiExchange:
    keys = BankKeys("practice", BankSettings(exchange="stopncii"))
    client: Any = Answers(*answers)
    return StopNciiExchange("practice", client, keys, 800, now=lambda: 1000.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values, json_values, json_values, json_values)
def test_no_side_field_can_cost_a_hash(a: object, b: object, c: object, d: object, e: object) -> None:
    read = read_record(
        _record(lastModtimestamp=a, hashStatus=b, caseNumbers=c, CSPFeedbacks=d, hashRegions=e)
    )
    assert isinstance(read, BankRecord)
    assert read.signal == bytes.fromhex(HEX)
    assert "\x00" not in repr((read.raw_status, read.case_numbers, read.regions, read.feedback))


def test_a_deeply_nested_side_field_does_not_cost_the_hash() -> None:
    deep: object = "x"
    for _ in range(20_000):
        deep = [deep]
    assert isinstance(read_record(_record(hashRegions=deep)), BankRecord)
    assert isinstance(read_record(_record(hashValue=None, hashRegions=deep)), Reject)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "not_a_record"),
        ("text", "not_a_record"),
        (_record(hashValue="0" * 32), "hash_value"),
        (_record(hashValue=None), "hash_value"),
        (_record(signalType="PhotoDNA"), "signal_type"),
        (_record(signalType="Text"), "signal_type"),
        (_record(signalType=None), "signal_type"),
    ],
)
def test_what_holds_no_hash_is_kept_with_a_reason(record: object, reason: str) -> None:
    read = read_record(record)
    assert isinstance(read, Reject)
    assert read.reason == reason
    assert read.record


@pytest.mark.parametrize(
    ("status", "cases", "live"),
    [
        ("Active", {"a": "Active"}, True),
        ("Received", {}, True),
        ("Unknown", {"a": "Withdrawn", "b": "Active"}, True),
        ("Withdrawn", {"a": "Active"}, False),
        ("Deleted", {}, False),
        ("withdrawn ", {}, False),
        ("Active", {"a": "Withdrawn", "b": "Deleted"}, False),
        ("Paused", {}, True),
        ("", {}, True),
    ],
)
def test_a_record_is_live_unless_it_or_all_of_its_cases_are_withdrawn(
    status: str, cases: dict[str, str], live: bool
) -> None:
    read = read_record(_record(hashStatus=status, caseNumbers=cases))
    assert isinstance(read, BankRecord)
    assert read.live is live


def test_upper_case_and_numeric_strings_are_understood() -> None:
    read = read_record(_record(hashValue=HEX.upper(), lastModtimestamp="77"))
    assert isinstance(read, BankRecord)
    assert (read.signal, read.last_modified) == (bytes.fromhex(HEX), 77)


@pytest.mark.parametrize(
    ("named", "start"),
    [
        (500, 500),
        ("500", 500),
        (5, 100),
        (None, 100),
        (10**13, 100),
        (True, 100),
        (float("nan"), 100),
    ],
)
def test_a_next_start_that_makes_no_sense_is_replaced_by_what_was_seen(named: object, start: int) -> None:
    answer = {"hashRecords": [_record()], "hasMoreRecords": False, "nextSetTimestamp": named}
    (page,) = _exchange(answer).fetch(10, None)
    assert page.next_start == start


def test_a_missing_more_flag_reads_on_until_a_page_is_empty() -> None:
    first = {"hashRecords": [_record()], "nextPageToken": "t1"}
    last: dict[str, Any] = {"hashRecords": [], "nextPageToken": "t2"}
    pages = list(_exchange(first, last).fetch(10, None))
    assert [page.more for page in pages] == [True, False]


def test_the_last_pages_token_is_not_followed() -> None:
    exchange = _exchange({"hashRecords": [], "hasMoreRecords": False, "nextPageToken": "t"})
    assert [page.more for page in exchange.fetch(10, None)] == [False]


@pytest.mark.parametrize(
    "answers",
    [
        [{"hashRecords": [], "hasMoreRecords": True, "nextPageToken": "a\x00b"}],
        [{"hashRecords": [], "hasMoreRecords": True, "nextPageToken": "\ud800"}],
        [{"hashRecords": [], "hasMoreRecords": True, "nextPageToken": None}],
        [{"hashRecords": [], "hasMoreRecords": True, "nextPageToken": ""}],
        [{"hashRecords": [], "hasMoreRecords": True, "nextPageToken": 3}],
        [{"hashRecords": "none", "hasMoreRecords": False}],
        [{"hashRecords": [], "hasMoreRecords": True, "nextPageToken": "a"}] * 2,
        [
            {"hashRecords": [_record()], "hasMoreRecords": True, "nextPageToken": token}
            for token in ("a", "b", "c")
        ],
        [
            {"hashRecords": [], "hasMoreRecords": True, "nextPageToken": token}
            for token in ("a", "b", "a", "b")
        ],
        [{"hasMoreRecords": True, "nextPageToken": str(n)} for n in range(1002)],
    ],
    ids=[
        "nul-character",
        "surrogate",
        "null",
        "empty",
        "number",
        "not-list",
        "same-token",
        "same-page",
        "circle",
        "endless",
    ],
)
def test_paging_that_makes_no_sense_ends_with_an_error_instead_of_a_loop(
    answers: list[dict[str, Any]],
) -> None:
    with pytest.raises(MalformedAnswerError) as caught:
        list(_exchange(*answers).fetch(10, None))
    assert HEX not in str(caught.value)
