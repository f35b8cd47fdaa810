"""docs/examples/receiver.py, run as it stands there against messages that another library has signed."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = DOCS / "examples/receiver.py"
OLD = "whsec_" + "c2l4dGVlbiBieXRlcyBhbmQgYSBmZXcgbW9yZQ=="
NEW = "whsec_" + "YSBuZXcgc2VjcmV0IG9mIHRoaXJ0eSBieXRlcyAuLg=="
OTHER = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5IGJ5dGVz"


class Example:
    """The file's code, served on a free port."""

    def __init__(self) -> None:
        handler: type[BaseHTTPRequestHandler] = runpy.run_path(str(EXAMPLE))["Receiver"]
        self.server = HTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hashwarden"

    def post(
        self,
        kind: str,
        data: dict[str, Any],
        *,
        at: datetime | None = None,
        sent: datetime | None = None,
        secrets: tuple[str, ...] = (OLD,),
        message_id: str = "",
        altered: bool = False,
    ) -> int:
        """Sends one event as `worker.outbox` does; the status of the answer."""
        sent = sent or datetime.now(UTC)
        body = json.dumps(
            {"type": kind, "timestamp": (at or sent).isoformat(), "data": data}, separators=(",", ":")
        )
        message_id = message_id or str(uuid.uuid4())
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent.timestamp())),
            "webhook-signature": " ".join(Webhook(secret).sign(message_id, sent, body) for secret in secrets),
        }
        return httpx.post(self.url, content=body + " " * altered, headers=headers).status_code


def item(state: str, upload_id: int = 41) -> dict[str, Any]:
    return {"upload_id": upload_id, "bucket": "uploads", "key": "a b.jpg", "version_id": "", "state": state}


def serving(secrets: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    monkeypatch.setenv("WEBHOOK_SECRETS", secrets)
    made = Example()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    yield from serving(OLD, monkeypatch)


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    """A receiver whose secret is being changed: it knows both."""
    yield from serving(f"{OLD} {NEW}", monkeypatch)


def types(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_it_takes_what_is_signed(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.post("item.held", item("held")) == 204
    assert example.post("flood.tripped", {"demotion_id": 3, "uploaders": 25}) == 204
    told = capsys.readouterr().out
    assert 'item.held {"upload_id": 41, "bucket": "uploads", "key": "a b.jpg"' in told
    assert 'flood.tripped {"demotion_id": 3' in told


def test_it_refuses_what_is_not_signed_by_its_secret(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example.post("item.held", item("held"), secrets=(OTHER,)) == 401
    assert example.post("item.held", item("held"), altered=True) == 401
    assert httpx.post(example.url, content=b"{}").status_code == 401
    nonsense = {"webhook-id": "a", "webhook-timestamp": "now", "webhook-signature": "v1,nonsense"}
    assert httpx.post(example.url, content=b"{}", headers=nonsense).status_code == 401
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("hours", [-1, 1])
def test_it_refuses_a_signature_of_another_time(
    example: Example, capsys: pytest.CaptureFixture[str], hours: int
) -> None:
    sent = datetime.now(UTC) + timedelta(hours=hours)
    assert example.post("item.held", item("held"), sent=sent) == 401
    assert capsys.readouterr().out == ""


def test_a_message_that_comes_again_is_applied_once(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    at = datetime.now(UTC)
    for _ in range(3):
        assert example.post("item.held", item("held"), at=at, message_id="the same") == 204
    assert types(capsys) == ["item.held"]


def test_an_older_event_after_a_newer_one_changes_nothing(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = datetime.now(UTC) - timedelta(minutes=5)
    assert example.post("item.released", item("released")) == 204
    assert example.post("item.held", item("held"), at=earlier) == 204
    assert example.post("item.held", item("held", 42), at=earlier) == 204
    assert types(capsys) == ["item.released", "item.held"]


def test_while_the_secret_is_changed_either_side_may_be_first(
    example: Example, changing: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    # Only the sender knows both, only the receiver does, or both.
    assert example.post("item.held", item("held"), secrets=(NEW, OLD)) == 204
    assert changing.post("item.held", item("held"), secrets=(OLD,)) == 204
    assert changing.post("item.released", item("released"), secrets=(NEW,)) == 204
    assert changing.post("item.held", item("held", 42), secrets=(NEW, OLD)) == 204
    assert example.post("item.held", item("held"), secrets=(NEW, OTHER)) == 401
    assert len(types(capsys)) == 4


def test_it_needs_nothing_but_python() -> None:
    # Without `site`, no package that is installed can be imported.
    code = f"import runpy; assert runpy.run_path({str(EXAMPLE)!r})['Receiver']"
    variables = {**os.environ, "WEBHOOK_SECRETS": OLD}
    subprocess.run([sys.executable, "-I", "-S", "-c", code], env=variables, check=True)  # noqa: S603 (our own file)


def test_the_page_shows_this_very_file() -> None:
    page = (DOCS / "how-to/receive-webhooks.md").read_text(encoding="utf-8")
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```\n" in page
