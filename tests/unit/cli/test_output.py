"""What commands print is safe for a terminal and a pipe."""

from __future__ import annotations

import pytest

from worker.commands.output import age, printable
from worker.operate.age import words
from worker.operate.serve import is_loopback


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("holiday ümlaut 写真.jpg", "holiday ümlaut 写真.jpg"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb", "a\\nb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\udcffb", "a\\udcffb"),
    ],
)
def test_names_can_not_command_a_terminal(text: str, told: str) -> None:
    assert printable(text) == told
    assert printable(text).encode()


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (0.2, "0 s", "0 seconds"),
        (119, "119 s", "119 seconds"),
        (120, "2 min", "2 minutes"),
        (7200, "2 h", "2 hours"),
        (200_000, "2 d", "2 days"),
        (-1, "0 s", "0 seconds"),
    ],
)
def test_ages_are_told_in_the_largest_unit_that_fits(seconds: float, short: str, long: str) -> None:
    assert (age(seconds), words(seconds)) == (short, long)


def test_no_age_is_a_dash() -> None:
    assert age(None) == "-"


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 (never bound)
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_only_addresses_of_this_host_are_inside(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside
