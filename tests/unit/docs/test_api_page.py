"""The API's description in the repository is what the code makes, and docs/reference/api.md agrees with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from config.errors import HashwardenError
from worker.review.api import problems, reference
from worker.review.people import tokens
from worker.review.reveal.reveals import RevealError

REFERENCE = Path(__file__).parents[3] / "docs/reference"
PAGE = (REFERENCE / "api.md").read_text(encoding="utf-8")
DESCRIBED = json.loads(reference.render())


def test_the_description_is_the_codes() -> None:
    assert (REFERENCE / "openapi.json").read_text(encoding="utf-8") == reference.render(), "run `make docs`"


def test_every_operation_is_in_the_table_with_what_it_needs() -> None:
    rows = re.findall(r"^\| `([A-Z]+ /\S*)` \| `(\w+)` \| .+ \|$", PAGE, re.MULTILINE)
    assert dict(rows) == {
        f"{method.upper()} {path}": operation["x-needs"]
        for path, methods in DESCRIBED["paths"].items()
        for method, operation in methods.items()
    }


def test_every_error_is_in_the_table_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| .+ \|$", PAGE, re.MULTILINE)
    assert dict(rows) == {kind.code: str(status) for kind, status in problems.STATUSES.items()}
    assert f"| `{RevealError.code}` | 400 to 503 |" in PAGE


def test_every_number_of_an_answer_has_its_unit() -> None:
    silent = {
        f"{name}.{field}"
        for name, schema in DESCRIBED["components"]["schemas"].items()
        for field, value in schema.get("properties", {}).items()
        if "description" not in value and value.get("type") == "number"
    }
    assert silent == set()


def test_the_example_of_an_error_is_one() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith('{"type": "urn:')]
    problem = problems.Problem.model_validate_json(line)
    assert problem.type == f"urn:hashwarden:problem:{problem.code}"
    kinds = {
        kind.code: status for kind, status in problems.STATUSES.items() if issubclass(kind, HashwardenError)
    }
    assert kinds[problem.code] == problem.status


def test_the_days_of_a_token_are_the_codes() -> None:
    assert f"`--days` ({tokens.DAYS})" in PAGE
