"""`hashwarden`, the one entry point: finds the command, and turns what goes wrong into one sentence.

Exit codes: 0 it ran, whatever it found; 1 it failed; 2 wrong usage; 130 interrupted. Nothing heavy is imported
here, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from worker import first_process

if TYPE_CHECKING:
    from config.database import Sessions
    from config.settings import Settings

INTERRUPTED = 130
"""What shells take for `ended by Ctrl-C`."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a command lives, its line in the overview, and under which heading that stands."""

    where: str
    help: str
    heading: str


_START = "Start here"
_MEDIA = "Pictures and videos"
_OPERATE = "Operate"
_PEOPLE = "People"
_BANKS = "Banks and index"
_SERVICES = "Services"

COMMANDS = {
    "demo": _Place("worker.demo.demo:demo_command", "Run the whole system on this machine.", _START),
    "migrate": _Place("worker.commands.services:migrate", "Bring the database to this version.", _START),
    "doctor": _Place("worker.commands.operate:doctor", "Prove that what is relied on works here.", _START),
    "hash": _Place("worker.commands.media:hash_command", "Hash pictures and videos.", _MEDIA),
    "match": _Place("worker.commands.media:match", "Look files up in a bank file.", _MEDIA),
    "bench": _Place("worker.commands.bench:bench", "Measure what is found and what it costs.", _MEDIA),
    "reviews": _Place("worker.commands.review:reviews", "List what a person has to decide.", _OPERATE),
    "decide": _Place("worker.commands.review:decide", "Decide a review.", _OPERATE),
    "undo": _Place("worker.commands.review:undo", "Take a decision back.", _OPERATE),
    "appeal": _Place("worker.commands.review:appeal", "Appeal a removal.", _OPERATE),
    "uploads": _Place("worker.commands.review:uploads", "List uploads, or one with its history.", _OPERATE),
    "replay": _Place("worker.commands.review:replay", "Scan uploads again.", _OPERATE),
    "demotions": _Place(
        "worker.commands.review:demotions", "Bank entries that the flood breaker set to flag-only.", _OPERATE
    ),
    "ledger": _Place("worker.commands.retro:ledger", "Hashes of cleared uploads that are kept.", _OPERATE),
    "retro": _Place("worker.commands.retro:retro", "Search the past for new bank hashes.", _OPERATE),
    "coverage": _Place(
        "worker.commands.operate:coverage", "What was seen and scanned, and alarms.", _OPERATE
    ),
    "alive": _Place("worker.commands.alive:alive", "Whether this host's services turn.", _OPERATE),
    "people": _Place("worker.commands.people:people", "Who may sign in, and who is.", _PEOPLE),
    "rules": _Place("worker.commands.rules:rules", "What two persons agreed on that matches do.", _PEOPLE),
    "audit": _Place("worker.commands.audit:audit", "Verify and export the log of what was done.", _PEOPLE),
    "bank": _Place("bank_sync.cli:bank", "Sync, import and watch banks.", _BANKS),
    "index": _Place("bank_sync.cli:index", "Publish and roll back index epochs.", _BANKS),
    "up": _Place("worker.commands.services:up", "Run all services of this host.", _SERVICES),
    "worker": _Place("worker.commands.services:worker", "Scan uploads.", _SERVICES),
    "ingest": _Place("worker.commands.services:ingest", "Take upload events from the queue.", _SERVICES),
    "inbox-app": _Place("worker.commands.services:inbox_app", "Take uploads that are pushed.", _SERVICES),
    "dispatch": _Place(
        "worker.commands.services:dispatch", "Announce what is due, send outboxes.", _SERVICES
    ),
    "sweep": _Place("worker.commands.services:sweep", "Find uploads that no event told of.", _SERVICES),
    "review-app": _Place("worker.commands.services:review_app", "Serve review pages and metrics.", _SERVICES),
}


class Root(click.Group):
    """Loads a command when it is asked for, and ends every failure with one sentence on standard error."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (signature of click)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.where.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 (a test loads every command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for heading in dict.fromkeys(place.heading for place in COMMANDS.values()):
            rows = [(name, place.help) for name, place in COMMANDS.items() if place.heading == heading]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        _keep_logs_out_of_results()
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            # Not imported above: it knows the errors of every library.
            from worker.commands.faults import sentence

            raise click.ClickException(sentence(error)) from error


def _keep_logs_out_of_results() -> None:
    """Log lines go to standard error until a service sets its logs up: standard output is for results."""
    import structlog

    structlog.reset_defaults()
    # Looked up at each line: a caller may have replaced the stream since.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"hashwarden {version('hashwarden')}")
        ctx.exit()


def _in_force(sessions: Sessions, files: Settings) -> Settings:
    """For the commands of `bank_sync`, which know nothing of people and what they approved."""
    from worker.store.migrate import require_current
    from worker.store.rulesets import settings_in_force

    require_current(sessions.kw["bind"])
    return settings_in_force(sessions, files)


@click.command(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "obj": _in_force},
    epilog="Example: hashwarden hash --json holiday.jpg",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Withhold uploads that match the hashes victims gave to banks such as StopNCII, until a person has decided.

    Every command has --help with an example. Settings come from HASHWARDEN_* variables and the file that
    HASHWARDEN_CONFIG names.
    """


def main() -> None:
    """Runs the command line and exits."""
    first_process.stand_in()
    cli()


if __name__ == "__main__":
    main()
