"""One whole run, everything it emits captured, and no hash, entry, case number, credential, key or picture in it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import redis
from sqlalchemy import select

from bank_sync.bank import BankCheckpoint, BankEntry
from bank_sync.bank import Feedback as FeedbackRow
from bank_sync.sandbox.app import PracticeKeys
from worker.demo.acts import Acts
from worker.demo.deployment import BUCKET, Deployment, deployed
from worker.demo.scenario import Scenario, make_scenario
from worker.demo.screen import Screen
from worker.store.models import Content, History, Upload, WebhookMessage

if TYPE_CHECKING:
    from redis.client import Monitor

pytestmark = pytest.mark.timeout(240)


class BrokerTap:
    """Every command that reaches the broker, as the broker itself tells it."""

    def __init__(self, deployment: Deployment) -> None:
        self.text: list[str] = []
        self._client = redis.Redis.from_url(deployment.embedded.redis_url, socket_timeout=None)
        self._monitor: Monitor = self._client.monitor()
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for command in self._monitor.listen():
                self.text.append(str(command["command"]))
        except (redis.RedisError, OSError, ValueError):
            return

    def close(self) -> None:
        self._monitor.connection.disconnect()
        self._thread.join(5)
        self._client.close()


class Run:
    """What one run emitted, by channel, and what must not be in it, by kind."""

    def __init__(self) -> None:
        self.emitted: dict[str, str] = {}
        self.forbidden: dict[str, set[str]] = {}
        self.keys: set[str] = set()


def spellings(value: bytes) -> set[str]:
    """A hash as text may carry it."""
    return {
        value.hex(),
        value.hex().upper(),
        base64.b64encode(value).decode(),
        base64.urlsafe_b64encode(value).decode(),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    environment = dict(os.environ)
    done = Run()
    with (
        ThreadPoolExecutor(1) as pool,
        deployed(tmp_path_factory.mktemp("run"), any_port=True) as deployment,
        deployment.config_path.open("a") as config,
    ):
        config.write('\n[logs]\nlevel = "debug"\n')
        config.flush()
        making = pool.submit(make_scenario)
        tap = BrokerTap(deployment)
        screen = Screen()
        Acts(deployment, screen, making).play()
        assert not screen.failures
        collect_emitted(done, deployment, tap)
        collect_forbidden(done, deployment, making.result())
        tap.close()
    os.environ.clear()
    os.environ.update(environment)
    return done


def collect_emitted(run: Run, deployment: Deployment, tap: BrokerTap) -> None:
    logs = Path(deployment.embedded.state_dir, "logs")
    for path in logs.glob("*.log"):
        run.emitted[f"log of {path.stem}"] = path.read_text(errors="replace")
    for page in ("metrics", "health/live", "health/ready"):
        run.emitted[page] = httpx.get(f"{deployment.review_url}/{page}").text
    run.emitted["broker"] = "\n".join(tap.text)
    with deployment.sessions() as session:
        messages = session.scalars(select(WebhookMessage)).all()
        run.emitted["webhooks"] = "\n".join(json.dumps([m.type, m.payload, m.error]) for m in messages)
        history = session.execute(select(History.actor, History.reason)).all()
        errors = [
            *session.scalars(select(Upload.access_error)),
            *session.scalars(select(BankCheckpoint.last_error)),
            *session.scalars(select(FeedbackRow.last_error)),
        ]
        run.emitted["reasons and errors"] = "\n".join(map(str, [*history, *errors]))
        uploads = session.scalars(select(Upload)).all()
    run.emitted["tags"] = "\n".join(tags_of(deployment, upload) for upload in uploads)
    run.emitted["error texts"] = "\n".join(failing_commands(deployment))


def tags_of(deployment: Deployment, upload: Upload) -> str:
    try:
        found = deployment.s3.get_object_tagging(Bucket=BUCKET, Key=upload.key, VersionId=upload.version_id)
    except deployment.s3.exceptions.ClientError:
        return ""
    return json.dumps(found["TagSet"])


def failing_commands(deployment: Deployment) -> Iterator[str]:
    """What the command line says when the bank, the database, the broker or the store is not as it should be."""
    broken = {
        "HASHWARDEN_BANKS__PRACTICE__FETCH_KEY": "a-wrong-key",
        "HASHWARDEN_DATABASE__URL": "postgresql+psycopg://ann:pass-word-1@127.0.0.1:1/none",
        "HASHWARDEN_BROKER__URL": "redis://:pass-word-1@127.0.0.1:1/0",
        "HASHWARDEN_STORAGE__SECRET_KEY": "pass-word-1",
    }
    for variable, value in broken.items():
        for command in (
            ["bank", "sync", "practice"],
            ["doctor"],
            ["uploads"],
            ["decide", "999999", "confirmed"],
        ):
            environment = {
                **os.environ,
                "HASHWARDEN_CONFIG": str(deployment.config_path),
                "HASHWARDEN_DATABASE__CONNECT_TIMEOUT": "1",
                variable: value,
            }
            done = subprocess.run(  # noqa: S603
                [sys.executable, "-m", "worker.cli", *command],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert "Traceback" not in done.stderr
            # A command that succeeds shows an operator what the operator asked for.
            yield done.stdout + done.stderr if done.returncode else done.stderr


def collect_forbidden(run: Run, deployment: Deployment, scenario: Scenario) -> None:
    hashes: set[str] = set()
    cases: set[str] = set()
    with deployment.sessions() as session:
        for entry in session.scalars(select(BankEntry)):
            hashes |= spellings(entry.signal)
            cases |= set(entry.case_numbers)
        for content in session.scalars(select(Content)):
            for value in (content.md5, content.sha256):
                hashes |= spellings(value) if value else set()
            for view in content.fingerprint or []:
                hashes |= spellings(bytes.fromhex(view["hash"]))
        for upload in session.scalars(select(Upload)):
            hashes |= {upload.etag} if upload.etag else set()
            run.keys.add(upload.key)
    settings = deployment.settings
    keys = PracticeKeys()
    secrets = {
        keys.subscription,
        keys.fetch,
        keys.feedback,
        "a-wrong-key",
        "pass-word-1",
    }
    assert settings.webhook.secret is not None
    secrets.add(settings.webhook.secret.get_secret_value())
    pictures = [case.picture for case in scenario.cases]
    run.forbidden = {
        "hash": hashes,
        "case number": cases,
        "credential": secrets,
        "picture": {base64.b64encode(body[300:360]).decode() for body in pictures},
    }


def test_the_run_had_something_to_hide_and_something_to_say(run: Run) -> None:
    assert {kind: bool(values) for kind, values in run.forbidden.items()} == dict.fromkeys(
        run.forbidden, True
    )
    assert len(run.keys) > 30
    assert len(run.emitted["broker"]) > 1000
    assert "item.held" in run.emitted["webhooks"]
    assert "HELD" in run.emitted["tags"]
    assert "hashwarden_" in run.emitted["metrics"]
    workers = [text for name, text in run.emitted.items() if "worker" in name]
    assert workers
    assert all(workers)


@pytest.mark.parametrize("kind", ["hash", "case number", "credential", "picture"])
def test_nothing_that_identifies_is_emitted(run: Run, kind: str) -> None:
    # The practice bank stands for somebody else's service: it tells its visitors the practice keys.
    spoken = {"log of practice-bank"} if kind == "credential" else set()
    leaks = {
        channel
        for channel, text in run.emitted.items()
        if channel not in spoken and any(value in text for value in run.forbidden[kind])
    }
    assert leaks == set()


def test_object_keys_leave_by_the_platforms_webhook_only(run: Run) -> None:
    leaks = {
        channel
        for channel, text in run.emitted.items()
        for key in run.keys
        if key in text and channel != "webhooks"
    }
    assert leaks == set()
    assert any(key in run.emitted["webhooks"] for key in run.keys)


def test_bank_entries_are_not_named(run: Run) -> None:
    assert [channel for channel, text in run.emitted.items() if "entry_id" in text] == []
