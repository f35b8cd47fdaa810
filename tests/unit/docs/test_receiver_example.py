"""The receiver in docs/how-to/receive-webhooks.md, run as it stands there against signed messages."""

from __future__ import annotations

import json
import re
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

PAGE = Path(__file__).parents[3] / "docs/how-to/receive-webhooks.md"
SECRET = "whsec_" + "c2l4dGVlbiBieXRlcyBhbmQgYSBmZXcgbW9yZQ=="


class Example:
    """The page's code, served on a free port."""

    def __init__(self, code: str) -> None:
        self.names: dict[str, Any] = {"__name__": "receiver"}
        exec(compile(code, str(PAGE), "exec"), self.names)  # noqa: S102 (our own page)
        handler: type[BaseHTTPRequestHandler] = self.names["Receiver"]
        self.server = HTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hashwarden"

    def post(
        self,
        kind: str,
        data: dict[str, Any],
        *,
        at: datetime | None = None,
        sent: datetime | None = None,
        secret: str = SECRET,
    ) -> int:
        """Sends one event as `worker.outbox` does; the status of the answer."""
        sent = sent or datetime.now(UTC)
        at = at or sent
        body = json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data}, separators=(",", ":"))
        message_id = str(uuid.uuid4())
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent.timestamp())),
            "webhook-signature": Webhook(secret).sign(message_id, sent, body),
        }
        return httpx.post(self.url, content=body, headers=headers).status_code


def item(state: str, upload_id: int = 41) -> dict[str, Any]:
    return {"upload_id": upload_id, "bucket": "uploads", "key": "a b.jpg", "version_id": "", "state": state}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    monkeypatch.setenv("HASHWARDEN_WEBHOOK__SECRET", SECRET)
    made = Example(blocks[0])
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_it_takes_what_is_signed(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.post("item.held", item("held")) == 204
    assert example.post("flood.tripped", {"demotion_id": 3, "uploaders": 25}) == 204
    told = capsys.readouterr().out
    assert "item.held uploads a b.jpg  held" in told
    assert "demotion 3" in told


def test_it_refuses_another_secret_and_an_old_signature(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5IGJ5dGVz"
    assert example.post("item.held", item("held"), secret=other) == 401
    assert example.post("item.held", item("held"), sent=datetime.now(UTC) - timedelta(hours=1)) == 401
    assert httpx.post(example.url, content=b"{}").status_code == 401
    assert capsys.readouterr().out == ""


def test_an_older_event_after_a_newer_one_changes_nothing(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example.post("item.released", item("released")) == 204
    assert example.post("item.held", item("held"), at=datetime.now(UTC) - timedelta(minutes=5)) == 204
    assert example.post("item.held", item("held", 42), at=datetime.now(UTC) - timedelta(minutes=5)) == 204
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "item.released",
        "item.held",
    ]
