"""docs/reference/settings.md is complete: each setting by the name it is set by, with its default, meaning and unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from config import reference
from config.settings import Settings, load_settings

ROWS = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \| (.+) \|$", reference.render(), re.MULTILINE)
_UNITS = re.compile(
    r"second|byte|\bbits?\b|\bdays\b|hour|share|distance|radius|quality"
    r"|connections|attempts|calls|versions|epochs|port|looks|frames|higher first|uploaders|records",
    re.IGNORECASE,
)


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        elif not any(_is_group(each) for each in get_args(kind)):
            yield f"{prefix}{name}"


def _is_group(kind: object) -> bool:
    """Tables of groups have sections of their own: `banks.<name>`."""
    return (isinstance(kind, type) and issubclass(kind, BaseModel)) or any(map(_is_group, get_args(kind)))


def test_every_setting_is_on_the_page() -> None:
    assert {name for name, *_ in ROWS if "<" not in name} == set(_leaves(Settings))


@pytest.mark.parametrize(
    ("name", "default"),
    [(name, default) for name, _, default, _ in ROWS if "<" not in name and default != "empty"],
)
def test_a_setting_is_set_by_the_variable_that_the_page_tells_of(
    name: str, default: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _value(load_settings(), name)
    monkeypatch.setenv(f"HASHWARDEN_{name.replace('.', '__').upper()}", default.strip("`"))
    assert _value(load_settings(), name) == before


def test_every_number_has_a_unit_and_every_setting_a_meaning() -> None:
    assert [name for name, _, _, meaning in ROWS if not meaning.strip()] == []
    numbers = [(name, meaning) for name, kind, _, meaning in ROWS if kind in {"number", "whole number"}]
    assert len(numbers) > 50
    assert [name for name, meaning in numbers if not _UNITS.search(f"{name} {meaning}")] == []


def _value(settings: Settings, name: str) -> Any:  # noqa: ANN401 (settings of every type)
    found: Any = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found
