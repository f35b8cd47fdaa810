"""How commands print: JSON lines for machines, tables for people, and no control characters of foreign names."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")

_PIPED_WIDTH = 200
"""Columns where no terminal says how wide it is: a hash must not be broken into lines."""


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line, at once; times as ISO 8601."""
    click.echo(json.dumps(value, default=_plain))
    sys.stdout.flush()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def table(*columns: str, title: str = "") -> Table:
    """A table without side borders; cells added through `cells` are taken literally."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def add_row(to: Table, *cells: object, styles: Mapping[int, str] | None = None) -> None:
    """Adds cells as they are: no markup, no control characters. `styles` colours cells by their place."""
    from rich.text import Text

    styles = styles or {}
    texts = ("" if cell is None else printable(str(cell)) for cell in cells)
    to.add_row(*(Text(cell, style=styles.get(place, "")) for place, cell in enumerate(texts)))


def printable(text: str) -> str:
    """The text with everything a terminal could obey, or not encode, written as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def age(seconds: float | None) -> str:
    """Seconds in the largest unit that fits: `40 s`, `12 min`, `5 h`, `3 d`; `-` for None."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
