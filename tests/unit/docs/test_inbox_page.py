"""docs/reference/inbox.md: the addresses, refusals and limits are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from config.inbox import MAX_TOKENS, MIN_TOKEN
from worker.push import app
from worker.push.faults import STATUSES
from worker.push.items import Pushed

PAGE = (Path(__file__).parents[3] / "docs/reference/inbox.md").read_text(encoding="utf-8")


def test_every_refusal_is_on_the_page_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", PAGE, re.MULTILINE)
    told = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert told == {(status, error.code) for error, status in STATUSES.items()}


def test_every_field_of_an_item_is_on_the_page() -> None:
    part = PAGE[PAGE.index("## An item") : PAGE.index("## Refusals")]
    assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(Pushed.model_fields)


def test_the_limits_are_the_codes() -> None:
    assert (app.MAX_EVENT_BYTES, app.MAX_ITEM_BYTES) == (2**20, 16 * 2**10)
    assert "up to 1 MiB" in PAGE
    assert "up to 16 KiB" in PAGE
    assert (app.MOST_AT_ONCE, app.BODY_SECONDS) == (16, 10)
    assert "Sixteen requests" in PAGE
    assert "within 10 seconds" in PAGE
    assert (MAX_TOKENS, MIN_TOKEN) == (2, 32)
    assert "up to two tokens of 32 characters" in PAGE
