"""Writes the command-line reference from the commands themselves: `python -m worker.commands.reference`.

It describes every command, argument and option as click knows them, and runs none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from worker.cli import COMMANDS, cli

_HEAD = """# Command line

Generated from the commands by `make docs`. Every command has `--help`. Results go to standard output, log lines and
errors to standard error. Settings come from `HASHWARDEN_*` variables and the file that `HASHWARDEN_CONFIG` names:
[settings](settings.md).

Exit codes: 0 it ran, whatever it found; 1 it failed, and the last line says why and what to do next; 2 wrong usage;
130 interrupted. `doctor` and `demo` also end with 1 when something they checked is not as it must be.
"""


def render() -> str:
    """The whole page as Markdown: an overview, then every command with its arguments, options and example."""
    parts = [_HEAD, _overview()]
    with click.Context(cli, info_name="hashwarden") as root:
        for name in COMMANDS:
            command = cli.get_command(root, name)
            if command is not None:
                parts += _described(command, name, root)
    return "\n".join(parts)


def _overview() -> str:
    lines = ["| command | does |", "|---|---|"]
    lines += [f"| [`{name}`](#hashwarden-{name}) | {place.help} |" for name, place in COMMANDS.items()]
    return "\n".join(lines) + "\n"


def _described(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    """The section of a command; of a group, one for each of its commands."""
    with click.Context(command, info_name=name, parent=parent) as context:
        if isinstance(command, click.Group):
            yield f"## {context.command_path}\n"
            yield f"{_words(command.help)}\n"
            for each in command.list_commands(context):
                inner = command.get_command(context, each)
                if inner is not None:
                    yield from _described(inner, each, context)
            return
        yield f"##{'' if parent.parent is None else '#'} {context.command_path}\n"
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"`{context.command_path} {usage}`\n"
        text, example = _help_and_example(command)
        yield f"{text}\n"
        options = [_option(each, context) for each in command.params if isinstance(each, click.Option)]
        if options:
            yield "\n".join(["| option | default | meaning |", "|---|---|---|", *options]) + "\n"
        if example:
            yield f"Example: `{example}`\n"


def _help_and_example(command: click.Command) -> tuple[str, str]:
    """The help in whole paragraphs, and its example, which stands in the epilogue or in the help's last paragraph."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]
    example = command.epilog or ""
    if paragraphs[-1].startswith(_EXAMPLE):
        example = paragraphs.pop()
    return "\n\n".join(paragraphs), example.removeprefix(_EXAMPLE)


_EXAMPLE = "Example: "


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {_value(option, context)}"
    return f"| {names}{value} | {_default(option)} | {_words(option.help)} |"


def _value(option: click.Option, context: click.Context) -> str:
    if isinstance(option.type, click.Choice):
        return " or ".join(f"`{choice}`" for choice in option.type.choices)
    if isinstance(option.type, click.IntRange):
        return "INTEGER"
    return option.make_metavar(context)


def _default(option: click.Option) -> str:
    """The default where the command shows it and it is the same on every machine."""
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return f"`{option.show_default}`"
    return f"`{option.default}`" if option.show_default and not option.is_flag else ""


if __name__ == "__main__":
    sys.stdout.write(render())
