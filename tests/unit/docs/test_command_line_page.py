"""The command-line reference is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli import COMMANDS, cli
from worker.commands import reference

PAGE = Path(__file__).parents[3] / "docs/reference/command-line.md"


def test_the_page_is_the_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.render(), "run `make docs`"


def test_every_command_and_option_is_on_the_page_with_its_meaning() -> None:
    page = reference.render()
    rows = [line for line in page.splitlines() if line.startswith("| `-")]
    assert len(rows) > 30
    assert not [row for row in rows if row.endswith("|  |")]
    assert all(f"## hashwarden {name}\n" in page for name in COMMANDS)
    assert "### hashwarden bank sync\n" in page


def test_every_command_has_an_example_that_calls_it() -> None:
    page = reference.render()
    with click.Context(cli, info_name="hashwarden") as root:
        names = []
        for name in COMMANDS:
            command = cli.get_command(root, name)
            inner = command.list_commands(root) if isinstance(command, click.Group) else [""]
            names += [f"{name} {each}".strip() for each in inner]
    assert [name for name in names if f"Example: `hashwarden {name}" not in page] == []
