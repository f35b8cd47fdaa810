"""docs/reference/webhooks.md says what `worker.outbox` does."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from worker import outbox
from worker.domain import State
from worker.store.models import Demotion, Review, Upload, WebhookMessage

PAGE = (Path(__file__).parents[3] / "docs/reference/webhooks.md").read_text(encoding="utf-8")
TYPES = {*outbox.EVENT_OF_STATE.values(), "flood.tripped", "review.due_soon"}
EXAMPLES: list[dict[str, Any]] = [
    json.loads(line) for line in PAGE.splitlines() if line.startswith('{"type"')
]


def queued(example: dict[str, Any]) -> WebhookMessage:
    """The message that the outbox writes for what an example tells of."""
    data = example["data"]
    with Session() as session:
        if "state" in data:
            upload = Upload(
                id=data["upload_id"],
                bucket=data["bucket"],
                key=data["key"],
                version_id=data["version_id"],
                state=State(data["state"]),
            )
            outbox.tell_state(session, upload, review_id=data.get("review_id"))
        elif "percent" in data:
            due_at = datetime.fromisoformat(data["due_at"])
            outbox.tell_due(session, Review(id=data["review_id"], due_at=due_at), data["percent"])
        else:
            outbox.tell_demotion(session, Demotion(id=data["demotion_id"], uploaders=data["uploaders"]))
        (message,) = [new for new in session.new if isinstance(new, WebhookMessage)]
        session.expunge_all()
        return message


def test_every_type_is_in_the_table_and_has_an_example() -> None:
    rows = re.findall(r"^\| `([a-z._]+)` \|.*\| (?:slow|fast) \|$", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(TYPES)
    assert sorted(example["type"] for example in EXAMPLES) == sorted(TYPES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["type"]))
def test_an_example_is_what_is_sent(example: dict[str, Any]) -> None:
    message = queued(example)
    assert (message.type, message.payload) == (example["type"], example["data"])
    assert datetime.fromisoformat(example["timestamp"]).tzinfo is not None
    lane = "fast" if message.fast else "slow"
    assert re.search(rf"^\| `{message.type}` \|.*\| {lane} \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("lane", ["slow", "fast"])
def test_the_retry_schedule_is_the_outbox_s(lane: str) -> None:
    line = re.search(rf"^- {lane}: `([0-9 ]+)`$", PAGE, re.MULTILINE)
    assert line is not None
    told = [int(seconds) for seconds in line[1].split()]
    for tries, seconds in enumerate([*told, told[-1]], start=1):
        wait = outbox.wait_before_next(WebhookMessage(fast=lane == "fast", attempts=tries))
        assert 0.9 * seconds <= wait <= 1.1 * seconds
