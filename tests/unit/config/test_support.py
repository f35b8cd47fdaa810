"""Support lines: the file is well formed, and what is not is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.errors import SettingsError
from config.support import load_support

_LINE = 'source = "https://example.org/"\n'


def _places(line: str) -> str:
    return f'[[places]]\nname = "Somewhere"\n[[places.lines]]\nname = "A line"\n{line}{_LINE}'


def test_every_number_can_be_dialled() -> None:
    for place in load_support():
        for line in place.lines:
            for number in line.numbers:
                assert re.fullmatch(r"[0-9 ]+", number.shown)
                # E.164: at most 15 digits behind the plus; or as inside the country.
                assert re.fullmatch(r"\+[1-9][0-9]{7,14}|[0-9]{3,11}", number.dialled), line.name


def test_bengaluru_comes_first() -> None:
    place = load_support()[0]
    assert place.name == "India: Bengaluru"
    numbers = [number for line in place.lines for number in line.numbers]
    assert [number.shown for number in numbers] == ["080 22943225", "080 22943224"]
    assert [number.dialled for number in numbers] == ["+918022943225", "+918022943224"]


def test_every_line_says_where_it_was_found() -> None:
    lines = [line for place in load_support() for line in place.lines]
    assert all(line.source for line in lines)
    assert len({line.name for line in lines}) == len(lines)


@pytest.mark.parametrize(
    "line",
    [
        "",
        'numbers = ["080-22943225"]\ncode = "91"\n',
        'numbers = ["+91 80 22943225"]\ncode = "91"\n',
        'numbers = ["181"]\ncode = "91"\n',
        'numbers = ["080 22943225"]\ncode = "091"\n',
        'numbers = ["12"]\n',
        'page = "http://example.org/"\n',
        'page = "javascript:alert(1)"\n',
        'page = "https://example.org/"\nhours = "9 to 5"\n',
    ],
)
def test_a_line_that_nobody_reaches_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "support.toml"
    file.write_text(_places(line), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"support\.toml can't be used: "):
        load_support(file)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "support.toml"
    file.write_text("[[places", encoding="utf-8")
    with pytest.raises(SettingsError):
        load_support(file)
