"""docs/reference/bank-wire.md lists the practice bank's faults and doors as they are."""

from __future__ import annotations

import re
from pathlib import Path

from bank_sync.sandbox.app import make_app
from bank_sync.sandbox.faults import FAULTS

PAGE = (Path(__file__).parents[3] / "docs/reference/bank-wire.md").read_text(encoding="utf-8")


def test_the_faults_are_the_practice_bank_s() -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)) == FAULTS


def test_the_doors_exist() -> None:
    doors = {getattr(route, "path", "") for route in make_app().routes}
    assert {
        "/FetchHashes",
        "/SubmitFeedback",
        "/practice/cases",
        "/practice/cases/{number}",
        "/practice/cases/{number}/withdraw",
        "/practice/faults",
    } <= doors
