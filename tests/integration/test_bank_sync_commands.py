"""The commands that cron and people call: what they print, what they exit with, what they never say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from bank_sync.cli import bank, index
from bank_sync.epoch import EpochError
from bank_sync.exchanges.protocol import ExchangeError
from bank_sync.sandbox.app import PracticeKeys, running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sync import UnknownBankError
from config.errors import DatabaseError
from worker.store.rulesets import settings_in_force

HASHES = [("pdq", bytes([n + 0xA0]) * 32) for n in range(3)]
Run = Callable[..., Result]


@pytest.fixture
def practice() -> Iterator[PracticeClient]:
    with running() as address, PracticeClient(address) as client:
        yield client


@pytest.fixture(autouse=True)
def logs() -> Iterator[Sequence[Mapping[str, object]]]:
    """What is logged, kept apart from what is printed."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def run(database_url: str, practice: PracticeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    keys = PracticeKeys()
    for name, value in {
        "DATABASE__URL": database_url,
        "STATE_DIR": str(tmp_path / "state"),
        "BANKS__PRACTICE__EXCHANGE": "stopncii",
        "BANKS__PRACTICE__BASE_URL": practice.base_url,
        "BANKS__PRACTICE__SUBSCRIPTION_KEY": keys.subscription,
        "BANKS__PRACTICE__FETCH_KEY": keys.fetch,
        "BANKS__PRACTICE__FEEDBACK_KEY": keys.feedback,
    }.items():
        monkeypatch.setenv(f"HASHWARDEN_{name}", value)

    def call(group: str, *arguments: str) -> Result:
        return CliRunner().invoke({"bank": bank, "index": index}[group], arguments, obj=settings_in_force)

    return call


def test_a_sync_says_what_it_did_and_publishes(
    run: Run, practice: PracticeClient, logs: Sequence[Mapping[str, object]]
) -> None:
    case = practice.open_case(HASHES)
    first = run("bank", "sync", "practice")
    assert first.exit_code == 0
    assert "practice: 1 pages, 3 new" in first.output
    assert "epoch 1 published" in first.output
    second = run("bank", "sync", "--all", "--json")
    told = json.loads(second.output)
    assert told["epoch"] == {"number": 1, "new": False}
    assert {report["bank"]: report["status"] for report in told["banks"]} == {
        "practice": "drained",
        "own": "nothing_to_sync",
    }
    status = run("bank", "status", "--json")
    assert status.exception is None
    (row,) = (row for row in json.loads(status.output)["banks"] if row["bank"] == "practice")
    assert (row["live"], row["last_error"], row["in_cursor"]) == (3, None, False)
    assert {"bank_synced", "epoch_published", "practice_page"} <= {line["event"] for line in logs}
    for output in (first.output, second.output, status.output, run("bank", "status").output, str(logs)):
        assert "a0a0" not in output
        assert case.number not in output
        assert "practice-fetch-key" not in output


def test_a_bank_that_fails_fails_the_command_but_not_the_others(
    run: Run, practice: PracticeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bank.txt").write_text("pdq " + "ab" * 32)
    monkeypatch.setenv("HASHWARDEN_BANKS__LISTED__EXCHANGE", "file")
    monkeypatch.setenv("HASHWARDEN_BANKS__LISTED__PATH", str(tmp_path / "bank.txt"))
    practice.set_faults(truncated_json={})
    result = run("bank", "sync", "practice", "listed")
    assert result.exit_code == 1
    assert isinstance(result.exception, ExchangeError)
    assert "practice" in str(result.exception)
    assert "listed: 1 pages, 1 new" in result.output
    assert "epoch 1 published" in result.output


def test_an_unreachable_database_is_one_clear_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWARDEN_DATABASE__URL", "postgresql+psycopg://user:hidden@127.0.0.1:9/none")
    for command in (("bank", "sync", "--all"), ("bank", "status"), ("index", "publish")):
        result = run(*command)
        assert result.exit_code == 1
        assert isinstance(result.exception, DatabaseError)
        assert "hidden" not in str(result.exception)


def test_wrong_usage_and_unknown_banks_are_told_apart(run: Run) -> None:
    assert run("bank", "sync").exit_code == 2
    assert run("bank", "sync", "practice", "--all").exit_code == 2
    unknown = run("bank", "sync", "nowhere")
    assert isinstance(unknown.exception, UnknownBankError)
    assert "practice" in str(unknown.exception)


def test_an_import_goes_to_the_own_bank_and_stays(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "confirmed.txt"
    path.write_text("# confirmed\npdq " + "ab" * 32 + "\n")
    result = run("bank", "import", str(path), "--bank", "own")
    assert (result.exit_code, "1 signals imported; epoch 1" in result.output) == (0, True)
    run("bank", "sync", "--all")
    status = json.loads(run("index", "status", "--json").output)
    assert (status["epoch"], status["counts"]["pdq"]) == (1, 1)
    assert run("bank", "import", str(path), "--bank", "practice").exit_code == 2


def test_epochs_are_published_listed_and_rolled_back(run: Run, practice: PracticeClient) -> None:
    assert isinstance(run("index", "status").exception, EpochError)
    assert "epoch 1 published" in run("index", "build").output
    assert "epoch 1 is up to date" in run("index", "build").output
    practice.open_case(HASHES)
    practice.set_faults(short_pdq={})
    told = json.loads(run("bank", "sync", "practice", "--json").output)
    assert told["banks"][0]["rejected"] == {"hash_value": 1}
    assert "epoch 3 published" in run("index", "publish").output
    assert "epoch 4 published with the content of epoch 2" in run("index", "rollback", "2").output
    status = run("index", "status")
    assert "epoch 4" in status.output
    assert "kept: 2, 3, 4" in status.output


@pytest.mark.parametrize(
    "command",
    [
        ("bank", "sync"),
        ("bank", "status"),
        ("bank", "import"),
        ("bank", "sandbox"),
        ("index", "build"),
        ("index", "publish"),
        ("index", "status"),
        ("index", "rollback"),
    ],
)
def test_every_command_has_help_with_an_example(run: Run, command: tuple[str, str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: hashwarden {' '.join(command)}" in result.output


def test_the_practice_bank_runs_as_a_command_until_it_is_told_to_end() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from bank_sync.cli import bank; bank()", "sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[3]
        with httpx.Client(base_url=address, timeout=10) as client:
            page = client.get("/")
            assert "practice bank" in page.text.lower()
            assert client.get("/FetchHashes", params={"startTimestamp": "10"}).status_code == 401
        process.terminate()
        assert process.wait(timeout=10) in (0, -15)


def test_the_practice_bank_wants_each_endpoints_own_key(practice: PracticeClient) -> None:
    keys = PracticeKeys()

    def post(path: str, function_key: str, body: object) -> int:
        headers = {"Ocp-Apim-Subscription-Key": keys.subscription, "x-functions-key": function_key}
        return httpx.post(practice.base_url + path, headers=headers, json=body).status_code

    feedback = {"count": 0, "hashFeedbacks": []}
    assert post("/SubmitFeedback", keys.fetch, feedback) == 401
    assert post("/SubmitFeedback", keys.feedback, feedback) == 200
    assert post("/SubmitFeedback", keys.feedback, {"count": 1, "hashFeedbacks": []}) == 400
    hashes = {
        "count": 1,
        "hashRecords": [
            {
                "lastModtimestamp": 1,
                "signalType": "ImagePDQ",
                "hashValue": "ab" * 32,
                "CSPFeedbacks": [{"tags": [], "feedbackValue": "Blocked"}],
            }
        ],
    }
    assert post("/SubmitHashes", keys.feedback, hashes) == 401
    assert post("/SubmitHashes", keys.submit, hashes) == 200
