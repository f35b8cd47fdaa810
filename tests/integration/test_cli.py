"""The commands on real parts: what they print, what they change, and one sentence when something is wrong."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner, Result
from sqlalchemy import select

from worker.cli import cli
from worker.domain import State
from worker.review.desk import claims
from worker.store.models import Demotion, Review, Upload

if TYPE_CHECKING:
    from tests.integration.conftest import Rig
    from worker.demo.embedded import Embedded


def run(*arguments: object, code: int = 0) -> Result:
    answer = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert answer.exit_code == code, answer.output
    return answer


def lines(*arguments: object) -> list[dict[str, Any]]:
    """The JSON lines of a command."""
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A service sets up the logs of its whole process, which here is the tests' own."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def held(rig: Rig, environment: dict[str, str], versioned_bucket: str) -> int:
    """An upload that is held by a match; its id."""
    assert environment
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    upload_id, state = rig.scan(versioned_bucket, "users/ann/[red]a.jpg", body)
    assert state is State.HELD
    return upload_id


def test_reviews_lists_what_waits(held: int) -> None:
    (line,) = lines("reviews")
    assert (line["state"], line["cause"], line["uploads"], line["states"]) == (
        "open",
        "match",
        1,
        {"held": 1},
    )
    (match,) = line["matches"]
    assert (match["bank"], match["distance"], match["effect"]) == ("stopncii", 0, "hold")
    assert "1 held" in run("reviews").stdout
    assert held


def test_decide_moves_and_remembers(held: int) -> None:
    review = lines("reviews")[0]["id"]
    arguments = ("decide", review, "confirmed", "--as", "maria", "--request-id", "one")
    (first,) = lines(*arguments)
    assert (first["moved"], first["repeated"]) == ([held], False)
    (again,) = lines(*arguments)
    assert (again["moved"], again["repeated"]) == ([], True)
    assert run("reviews").stdout == "No review is open.\n"
    assert [line["verdict"] for line in lines("reviews", "--all")] == ["confirmed"]
    told = run("decide", review, "not_a_match", "--reason", "a twin").stdout
    assert told == f"Review {review}: not_a_match. 1 upload moved.\n"


def test_undo_appeal_and_force_at_the_terminal(held: int, rig: Rig) -> None:
    review = lines("reviews")[0]["id"]
    assert lines("reviews")[0]["left"] > 47 * 3600
    claim = claims.take(rig.sessions, review, "jo")
    assert lines("reviews")[0]["held_by"] == "jo"
    assert "--force" in run("decide", review, "lawful", "--as", "maria", code=1).output
    assert "--reason" in run("decide", review, "lawful", "--force", code=2).output
    claims.hand_back(rig.sessions, "jo", claim.token)
    run("decide", review, "confirmed", "--as", "maria")
    assert run("undo", review).stdout == f"Review {review}: undone. 1 upload moved back.\n"
    run("decide", review, "confirmed", "--as", "maria", "--force", "--reason", "again")
    told = run("appeal", held, "--reason", "that is me").stdout
    assert told == f"Appeal 1: review {review} waits for another person.\n"
    assert (
        "another person than operator:maria"
        in run("decide", review, "lawful", "--as", "maria", code=1).output
    )
    run("decide", review, "lawful", "--as", "kim")
    assert rig.row(held).state == "released"


def test_decide_wakes_a_worker(held: int, embedded: Embedded) -> None:
    import redis

    review = lines("reviews")[0]["id"]
    run("decide", review, "lawful")
    with redis.Redis.from_url(embedded.redis_url) as broker:
        assert broker.llen("hashwarden:hashwarden.image") == 1
    assert held


def test_decide_without_a_broker_still_decides(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWARDEN_BROKER__URL", "redis://127.0.0.1:1/0")
    answer = run("decide", lines("reviews")[0]["id"], "lawful")
    assert "The broker can't be reached" in answer.stderr
    assert lines("uploads", held)[0]["state"] == "released"


def test_an_unknown_review_is_one_sentence(environment: dict[str, str]) -> None:
    answer = run("decide", 99, "lawful", code=1)
    assert answer.stderr == "Error: There is no review 99. `hashwarden reviews` lists the open ones.\n"
    assert environment


def test_uploads_lists_filters_and_shows_one(held: int, rig: Rig, versioned_bucket: str) -> None:
    other, _ = rig.scan(versioned_bucket, "b.jpg", rig.jpeg(rig.picture(2)))
    assert [line["id"] for line in lines("uploads")] == [other, held]
    assert [line["id"] for line in lines("uploads", "--limit", 1)] == [other]
    (line,) = lines("uploads", "--state", "held")
    assert (line["id"], line["kind"], line["reason"]) == (held, "image", "match")
    assert isinstance(line["age"], float)
    (one,) = lines("uploads", held)
    assert [step["to_state"] for step in one["history"]] == ["scanning", "held"]
    assert "[red]a.jpg" in run("uploads", held).stdout
    assert "[red]a.jpg" in run("uploads").stdout
    missing = run("uploads", 999, code=1)
    assert missing.stderr == "Error: There is no upload 999. `hashwarden uploads` lists the newest.\n"


def test_nothing_that_is_printed_is_a_hash(held: int, rig: Rig) -> None:
    with rig.sessions() as session:
        content = session.scalars(select(Upload)).one().content
        assert content is not None
        assert content.sha256 is not None
        assert content.fingerprint is not None
        secrets = [content.sha256.hex(), *(view["hash"] for view in content.fingerprint)]
    commands = (["uploads"], ["uploads", str(held)], ["reviews", "--all"], ["coverage"], ["doctor"])
    for command in commands:
        for form in ([], ["--json"]):
            told = CliRunner().invoke(cli, [*command, *form]).output
            assert not [secret for secret in secrets if secret in told]


def test_replay_scans_again_and_closes_the_question(
    rig: Rig, environment: dict[str, str], versioned_bucket: str
) -> None:
    rig.bank_pdq(bytes(32))
    broken, state = rig.scan(versioned_bucket, "a.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 200)
    assert state is State.UNSCANNABLE
    clear, _ = rig.scan(versioned_bucket, "b.jpg", rig.jpeg(rig.picture(2)))
    answer = run("replay", broken, clear, 999)
    assert answer.stdout == "1 upload will be scanned again.\n"
    assert f"{clear}, 999" in answer.stderr
    row = rig.row(broken)
    assert (row.state, row.attempts, row.priority) == ("pending", 0, 10)
    with rig.sessions() as session:
        assert session.scalars(select(Review.state)).all() == ["withdrawn"]
    assert rig.process(broken) is State.UNSCANNABLE
    with rig.sessions() as session:
        assert session.scalars(select(Review.state)).all() == ["open"]
    assert lines("replay", "--state", "unscannable") == [{"replayed": [broken], "left": []}]
    assert environment


def test_demotions_are_listed_and_lifted(rig: Rig, environment: dict[str, str]) -> None:
    assert run("demotions").stdout == "No entry is set to flag-only.\n"
    with rig.sessions.begin() as session:
        session.add(Demotion(entry_id=1, bank="stopncii", uploaders=30))
    (line,) = lines("demotions")
    assert (line["bank"], line["uploaders"]) == ("stopncii", 30)
    assert "entry_id" not in line
    run("demotions", "--lift", line["id"], "--as", "maria")
    assert lines("demotions") == []
    again = run("demotions", "--lift", line["id"], code=1)
    assert f"no demotion {line['id']} to lift" in again.stderr
    assert environment


def test_coverage_counts_and_raises_alarms(held: int) -> None:
    (covered,) = lines("coverage")
    assert (covered["seen"], covered["scanned"], covered["pending"]) == (1, 1, 0)
    assert covered["lag"] >= 0
    assert "dispatch_silent" in [alarm["code"] for alarm in covered["alarms"]]
    assert run("coverage").stdout.startswith("1 uploads seen: 1 scanned")
    assert held


def test_hash_and_match_walk_folders_and_go_on_after_a_missing_path(
    rig: Rig, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(rig.jpeg(rig.picture(1)))
    (folder / "deep" / "b.txt").write_text("no picture")
    (folder / "deep" / "c\x1b[31m.jpg").write_bytes(rig.jpeg(rig.picture(2)))
    os.mkfifo(folder / "pipe")
    answer = run("hash", "--json", tmp_path / "missing", folder, code=1)
    found = {Path(line["path"]).name: line for line in map(json.loads, answer.stdout.splitlines())}
    assert list(found) == ["a.jpg", "b.txt", "c\x1b[31m.jpg"]
    assert set(found["a.jpg"]) == {"path", "kind", "reason", "md5", "sha256", "pdq", "frames"}
    assert (found["b.txt"]["kind"], found["b.txt"]["pdq"]) == ("unsupported", None)
    assert found["b.txt"]["reason"]
    assert answer.stderr.splitlines() == [
        f"Error: {tmp_path / 'missing'}: there is no such file; correct the path.",
        f"Error: {folder / 'pipe'}: it can't be read (not a regular file); correct its permissions or skip it.",
    ]
    assert "\x1b[31m" not in run("hash", folder / "deep").stdout

    bank = tmp_path / "bank.txt"
    bank.write_text(f"# one case\npdq {found['a.jpg']['pdq']['hash']}\n")
    matched = [line["matched"] for line in lines("match", "--bank", bank, folder / "a.jpg", folder / "deep")]
    assert matched == [True, False, False]
    (line,) = lines("match", "--bank", bank, folder / "a.jpg")
    assert line["matches"] == [
        {
            "signal_type": "pdq",
            "hash": found["a.jpg"]["pdq"]["hash"],
            "distance": 0,
            "view": "",
            "view_words": "as uploaded",
            "frame_time": None,
            "region": None,
            "effect": "hold",
        }
    ]
    views = lines("hash", "--views", folder / "a.jpg")[0]["views"]
    plain = [view["view"] for view in views if view["region"] is None]
    assert len(set(plain)) == len(plain) >= 16
    # The default profile also undoes edits, each at a place of its own.
    assert len(views) > 2 * len(plain)
    assert environment


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "can't be read: No such file or directory."),
        ("pdq abc\n", "Line 1 of "),
        ("", "is empty"),
    ],
)
def test_a_bank_file_that_is_none_is_named(
    environment: dict[str, str], tmp_path: Path, content: str | None, told: str
) -> None:
    bank = tmp_path / "bank.txt"
    if content is not None:
        bank.write_text(content)
    answer = run("match", "--bank", bank, tmp_path, code=1)
    assert told in answer.stderr
    assert str(bank) in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert environment


@pytest.mark.parametrize(
    ("variable", "value", "command", "told"),
    [
        (
            "DATABASE__URL",
            "postgresql+psycopg://u:pw@127.0.0.1:1/x",
            "uploads",
            "The database can't be reached.",
        ),
        (
            "DATABASE__URL",
            "postgresql+psycopg://u:pw@127.0.0.1:1/x",
            "dispatch",
            "The database can't be reached.",
        ),
        (
            "DATABASE__URL",
            "postgresql+psycopg://u:pw@127.0.0.1:1/x",
            "migrate",
            "The database can't be reached.",
        ),
        ("DATABASE__URL", "nonsense", "reviews", "database.url is not an address of PostgreSQL."),
        ("DATABASE__URL", "mysql://u:pw@h/x", "reviews", "database.url is not an address of PostgreSQL."),
        ("BROKER__URL", "nonsense", "dispatch", "broker.url is not an address"),
        ("STORAGE__BUCKETS", "photos", "uploads", "HASHWARDEN_STORAGE* variable is not valid JSON."),
        ("QUEUE__DEPTH", "many", "uploads", "queue.depth is not usable"),
        ("EVENTS__SQS_QUEUE_URL", "", "ingest", "Neither events.sqs_queue_url nor events.redis_url is set"),
        ("EVENTS__REDIS_URL", "redis://:pw@h", "ingest", "Both events.sqs_queue_url and events.redis_url"),
        ("INBOX__STORE_TOKENS", "[]", "inbox-app", "Neither inbox.store_tokens nor inbox.platform_tokens"),
        ("INBOX__STORE_TOKENS", '["pw"]', "inbox-app", "inbox.store_tokens is not usable"),
        ("REVIEW__HOST", "0.0.0.0", "review-app", "without TLS"),  # noqa: S104 (refused)
        ("REVIEW__HOST", "192.0.2.1", "review-app", "without TLS"),
    ],
)
def test_a_setting_that_can_not_work_is_one_sentence(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    command: str,
    told: str,
) -> None:
    monkeypatch.setenv(f"HASHWARDEN_{variable}", value)
    answer = run(command, code=1)
    (line,) = answer.stderr.splitlines()
    assert line.startswith("Error: ")
    assert told in line
    assert "pw" not in line
    assert environment


def test_a_database_without_schema_names_the_command(
    environment: dict[str, str], embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHWARDEN_DATABASE__URL", embedded.postgres.create_database("empty_cli"))
    try:
        answer = run("dispatch", code=1)
        assert "The database has schema none" in answer.stderr
        assert "Run `hashwarden migrate`." in answer.stderr
        assert run("migrate").stdout.startswith("The database has schema 0")
        assert run("uploads").stdout == "No uploads.\n"
    finally:
        embedded.postgres.drop_database("empty_cli")
    assert environment


def test_a_port_that_is_taken_is_named(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("HASHWARDEN_REVIEW__PORT", str(taken.getsockname()[1]))
        answer = run("review-app", code=1)
    assert "can't listen on 127.0.0.1 port" in answer.stderr
    assert "HASHWARDEN_REVIEW__PORT" in answer.stderr
    assert environment


def test_sweep_once_finds_what_no_event_told(
    rig: Rig, environment: dict[str, str], versioned_bucket: str
) -> None:
    rig.s3.put_object(Bucket=versioned_bucket, Key="late.jpg", Body=rig.jpeg(rig.picture(3)))
    run("sweep", "--once")
    assert [line["key"] for line in lines("uploads")] == ["late.jpg"]
    assert environment
