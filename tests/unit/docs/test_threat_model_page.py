"""docs/threat-model.md names limits, reasons and files as they are."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from worker.media.limits import Limits, Reason

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| ([\d,.]+) \| (?:`(\w+)`)? ?\|$", PAGE, re.MULTILINE)


def test_the_table_has_every_limit_with_its_value() -> None:
    told = {name: float(value.replace(",", "")) for name, value, _ in ROWS}
    assert told == {name: float(value) for name, value in asdict(Limits()).items()}


def test_the_reasons_exist() -> None:
    assert {reason for _, _, reason in ROWS if reason} <= set(Reason)


def test_every_limit_that_is_named_exists() -> None:
    above = PAGE[: PAGE.index("## Limits")]
    for name in re.findall(r"`((?:image|jpeg|video|container|probe|edited)_\w+)`", above):
        assert name in asdict(Limits()), name


def test_the_files_exist() -> None:
    for path in re.findall(r"`((?:worker|tests)/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path
