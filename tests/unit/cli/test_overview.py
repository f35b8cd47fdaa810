"""The command line as a whole: every command loads, explains itself and fails in one sentence."""

from __future__ import annotations

import errno
import subprocess
import sys
from importlib.util import find_spec

import click
import pytest
import sqlalchemy.exc
from click.testing import CliRunner

from config.errors import HashwardenError
from worker.cli import COMMANDS, INTERRUPTED, Root, cli
from worker.commands.faults import sentence


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        if not path and find_spec(COMMANDS[name].where.partition(":")[0]) is None:
            continue
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += _commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", _commands(cli), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(cli, [*path, "--help"])
    assert answer.exit_code == 0
    group = answer.output.find("Commands:") >= 0
    assert group or "Example: hashwarden " in answer.output


def test_the_overview_names_every_command() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert answer.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in answer.output


def test_the_version() -> None:
    answer = CliRunner().invoke(cli, ["--version"])
    assert answer.output.startswith("hashwarden 0")


def test_help_imports_nothing_heavy() -> None:
    heavy = ("sqlalchemy", "celery", "faiss", "numpy", "pydantic", "boto3", "rich")
    code = (
        "import sys; from click.testing import CliRunner; from worker.cli import cli; "
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    told = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["hash", "--no-such-option", "x"],
        ["hash"],
        ["match", "x"],
        ["decide", "one", "confirmed"],
        ["decide", "1", "maybe"],
        ["uploads", "1", "--state", "held"],
        ["uploads", "--state", "nowhere"],
        ["replay"],
        ["replay", "--state", "held"],
        ["worker", "--concurrency", "0"],
        ["worker", "--lane", "sound"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_says_where_the_help_is(arguments: list[str]) -> None:
    answer = CliRunner().invoke(cli, arguments)
    assert answer.exit_code == 2
    assert "--help' for help" in answer.stderr
    assert "Error: " in answer.stderr


class _Failing(Root):
    """The root with one command, which fails."""

    def __init__(self, error: BaseException) -> None:
        super().__init__("hashwarden")
        self._error = error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        def fail() -> None:
            raise self._error

        return click.Command("fail", callback=fail)


def test_our_own_error_is_its_sentence_and_next_step() -> None:
    error = HashwardenError("The sky is grey.", next_step="Wait for the sun.")
    answer = CliRunner().invoke(_Failing(error), ["fail"])
    assert answer.exit_code == 1
    assert answer.stderr == "Error: The sky is grey. Wait for the sun.\n"


def test_an_interrupt_is_quiet() -> None:
    answer = CliRunner().invoke(_Failing(KeyboardInterrupt()), ["fail"])
    assert (answer.exit_code, answer.output) == (INTERRUPTED, "")


def test_a_foreign_error_tells_kind_and_place_and_never_its_text() -> None:
    key = "users/ann/private.jpg"
    answer = CliRunner().invoke(_Failing(KeyError(key)), ["fail"])
    assert answer.exit_code == 1
    assert "KeyError at " in answer.stderr
    assert key not in answer.stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            sqlalchemy.exc.OperationalError("SELECT secret", {}, Exception("secret")),
            "HASHWARDEN_DATABASE__URL",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "/var/epochs"), "The disk is full: /var/epochs."),
        (PermissionError(errno.EACCES, "Permission denied", "/var/x"), "Permission denied: /var/x."),
    ],
)
def test_known_faults_name_the_thing(error: Exception, told: str) -> None:
    assert told in sentence(error)
    assert "secret" not in sentence(error)


def test_a_closed_pipe_is_quiet() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
