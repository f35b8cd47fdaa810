"""The doors of the practice bank's pages: what they take, how often a PIN may be guessed, what they tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bank_sync.sandbox.app import PracticeKeys, make_app
from bank_sync.sandbox.guesses import WAIT_SECONDS, WRONG_PINS
from bank_sync.sandbox.intake import MOST_BYTES, MOST_HASHES
from tests.integration.console import served

PDQ, MD5 = "0f" * 32, "ab" * 16
LETTER = "12" * 16
HASHES = [{"signalType": "ImagePDQ", "hashValue": PDQ}, {"signalType": "VideoMD5", "hashValue": MD5}]

Case = dict[str, str]


class _Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def bank(clock: _Clock) -> Iterator[httpx.Client]:
    with served(make_app(now=clock)) as address, httpx.Client(base_url=address) as client:
        yield client


def _send(bank: httpx.Client, body: object, letter: str = LETTER) -> httpx.Response:
    return bank.post("/cases", json=body, headers={"Idempotency-Key": letter})


@pytest.fixture
def case(bank: httpx.Client) -> Case:
    told = _send(bank, {"hashes": HASHES}).json()
    return {"number": told["caseNumber"], "pin": told["pin"]}


def _wrong(case: Case) -> Case:
    return case | {"pin": f"{(int(case['pin']) + 1) % 10**6:06d}"}


def _pull(bank: httpx.Client, start: int = 0) -> list[dict[str, Any]]:
    keys = PracticeKeys()
    answer = bank.get(
        "/FetchHashes",
        params={"startTimestamp": start},
        headers={"Ocp-Apim-Subscription-Key": keys.subscription, "x-functions-key": keys.fetch},
    )
    records: list[dict[str, Any]] = answer.json()["hashRecords"]
    return records


def _say(bank: httpx.Client, value: str) -> None:
    keys = PracticeKeys()
    answer = bank.post(
        "/SubmitFeedback",
        json={"count": 1, "hashFeedbacks": [{"hashValue": PDQ, "feedbackValue": value}]},
        headers={"Ocp-Apim-Subscription-Key": keys.subscription, "x-functions-key": keys.feedback},
    )
    assert answer.status_code == 200


def _words(page: httpx.Response) -> str:
    """What a page's main part says, without tags."""
    main = re.search(r"<main.*</main>", page.text, re.DOTALL)
    assert main is not None
    return " ".join(re.sub(r"<[^>]+>", " ", main[0]).split())


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"hashes": []},
        {"hashes": "0f"},
        {"hashes": HASHES, "email": "ann@example.org"},
        {"hashes": [HASHES[0] | {"name": "beach.jpg"}]},
        {"hashes": [{"signalType": "ImagePDQ", "hashValue": MD5}]},
        {"hashes": [{"signalType": "ImagePDQ", "hashValue": PDQ.upper()}]},
        {"hashes": [{"signalType": "ImagePDQ", "hashValue": PDQ + "\n"}]},
        {"hashes": [{"signalType": ["ImagePDQ"], "hashValue": PDQ}]},
        {"hashes": [{"signalType": "Text", "hashValue": "words"}]},
        {"hashes": [{"signalType": "VideoMD5", "hashValue": f"{n:032x}"} for n in range(MOST_HASHES + 1)]},
    ],
)
def test_only_hashes_are_taken(bank: httpx.Client, body: object) -> None:
    answer = _send(bank, body)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert _pull(bank) == []


def test_a_file_is_not_taken(bank: httpx.Client) -> None:
    head = {"Idempotency-Key": LETTER}
    file = bytes(MOST_BYTES + 1)
    assert bank.post("/cases", files={"file": file}, headers=head).status_code == 415
    assert bank.post("/cases", content=b'{"hashes": []}', headers=head).status_code == 415
    json = head | {"Content-Type": "application/json"}
    assert bank.post("/cases", content=file, headers=json).status_code == 413
    for content in (b"\xff\xd8\xff\xe0", b"[" * 30_000):
        assert bank.post("/cases", content=content, headers=json).status_code == 400
    assert bank.post("/case", files={"number": file}).status_code == 400
    assert _pull(bank) == []


def test_the_same_letter_opens_one_case(bank: httpx.Client, case: Case) -> None:
    again = _send(bank, {"hashes": HASHES})
    assert again.json() == {"caseNumber": case["number"], "pin": case["pin"]}
    assert _send(bank, {"hashes": HASHES[:1]}).status_code == 409
    assert _send(bank, {"hashes": HASHES}, letter="").status_code == 400
    other = _send(bank, {"hashes": HASHES}, letter="34" * 16)
    assert other.json()["caseNumber"] != case["number"]
    assert all(len(record["caseNumbers"]) == 2 for record in _pull(bank))


def test_a_pin_can_not_be_guessed(bank: httpx.Client, clock: _Clock, case: Case) -> None:
    for _ in range(WRONG_PINS):
        refused = bank.post("/case", data=_wrong(case))
        assert refused.status_code == 403
        assert "No case has this number and PIN." in _words(refused)
    # From now on the right one does nothing either, at any door.
    number, pin = case["number"], case["pin"]
    late = bank.post("/case", data=case | {"wish": "withdraw"})
    assert late.status_code == 429
    assert "Try again in a quarter of an hour." in _words(late)
    assert bank.get(f"/practice/cases/{number}", params={"pin": pin}).status_code == 429
    assert bank.post(f"/practice/cases/{number}/withdraw", json={"pin": pin}).status_code == 429
    assert [record["hashStatus"] for record in _pull(bank)] == ["Active", "Active"]
    clock.time += WAIT_SECONDS
    assert bank.post("/case", data=case).status_code == 200


def test_the_right_pin_forgives_slips(bank: httpx.Client, case: Case) -> None:
    for _ in range(3):
        for _ in range(WRONG_PINS - 1):
            assert bank.post("/case", data=_wrong(case)).status_code == 403
        assert bank.post("/case", data=case).status_code == 200


def test_slips_are_forgotten_in_time(bank: httpx.Client, clock: _Clock, case: Case) -> None:
    for _ in range(2 * WRONG_PINS):
        assert bank.post("/case", data=_wrong(case)).status_code == 403
        clock.time += WAIT_SECONDS / 4


def test_one_case_s_guesses_do_not_lock_another(bank: httpx.Client, case: Case) -> None:
    other = _send(bank, {"hashes": HASHES}, letter="34" * 16).json()
    for _ in range(WRONG_PINS + 1):
        bank.post("/case", data=_wrong(case))
        assert bank.post("/case", data={"number": "no such case", "pin": "123456"}).status_code == 403
    assert bank.post("/case", data={"number": other["caseNumber"], "pin": other["pin"]}).status_code == 200


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("PendingReview", "found a match"),
        ("Blocked", "is not shown there any more"),
        ("NotBlocked", "did not block it"),
        ("QualityUnknown", "unsure"),
        ("None", "found nothing so far"),
    ],
)
def test_the_page_says_what_a_platform_told(bank: httpx.Client, case: Case, value: str, words: str) -> None:
    assert "No platform has asked for it yet." in _words(bank.post("/case", data=case))
    _pull(bank)
    assert "practice-platform looks for it" in _words(bank.post("/case", data=case))
    _say(bank, value)
    seen = _words(bank.post("/case", data=case))
    assert words in seen
    assert PDQ not in seen


def test_taking_back_and_making_active_again(bank: httpx.Client, case: Case) -> None:
    _pull(bank)
    taken = _words(bank.post("/case", data=case | {"wish": "withdraw"}))
    assert "You took it back." in taken
    assert "It still has to ask for changes." in taken
    assert [record["hashStatus"] for record in _pull(bank)] == ["Withdrawn", "Withdrawn"]
    seen = _words(bank.post("/case", data=case))
    assert "It has been told that you took it back." in seen
    assert "still" not in seen
    assert "It is active again." in _words(bank.post("/case", data=case | {"wish": "reopen"}))
    assert [record["hashStatus"] for record in _pull(bank)] == ["Active", "Active"]
    assert "You took it back." not in _words(bank.post("/case", data=case))


def test_a_case_stands_by_itself_when_another_holds_the_same_hash(bank: httpx.Client, case: Case) -> None:
    _pull(bank)
    told = _send(bank, {"hashes": HASHES}, "34" * 16).json()
    other = {"number": told["caseNumber"], "pin": told["pin"]}
    assert "It has not asked for changes since." in _words(bank.post("/case", data=other))
    bank.post("/case", data=case | {"wish": "withdraw"})
    assert "It still has to ask for changes." in _words(bank.post("/case", data=case))
    assert [record["hashStatus"] for record in _pull(bank)] == ["Active", "Active"]
    assert "It has been told that you took it back." in _words(bank.post("/case", data=case))
    seen = _words(bank.post("/case", data=other))
    assert "looks for it" in seen
    assert "took it back" not in seen


@pytest.mark.usefixtures("case")
def test_the_case_lists_hashes_as_they_were_sent(bank: httpx.Client) -> None:
    """Also where a hash was known before from somebody else's case."""
    other = _send(bank, {"hashes": [{"signalType": "VideoMD5", "hashValue": "cd" * 16}, *HASHES]}, "34" * 16)
    told = other.json()
    page = bank.post("/case", data={"number": told["caseNumber"], "pin": told["pin"]})
    assert re.findall(r"<h2>(\w+ \d)</h2>", page.text) == ["Video 1", "Picture 2", "Video 3"]


def test_every_page_says_that_it_is_practice(bank: httpx.Client, case: Case) -> None:
    answers = [bank.get(address) for address in ("/", "/send", "/case", "/support", "/wire")]
    answers += [bank.post("/case", data=case), bank.post("/case", data=_wrong(case)), bank.post("/case")]
    for answer in answers:
        assert "This is a practice bank." in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers


def test_what_was_typed_is_shown_as_text(bank: httpx.Client) -> None:
    page = bank.post("/case", data={"number": '"><script>alert(1)</script>', "pin": "1"})
    assert "<script>alert" not in page.text


def test_support_lines_are_shown(bank: httpx.Client) -> None:
    page = bank.get("/support")
    assert '<a class="number" href="tel:+918022943225">080 22943225</a>' in page.text
    assert '<a class="number" href="tel:+918022943224">080 22943224</a>' in page.text


def test_no_other_file_is_served(bank: httpx.Client) -> None:
    for name in ("../app.py", "..%2fapp.py", "base.html", ""):
        assert bank.get(f"/static/{name}").status_code == 404
