"""How the system stands: `coverage` and `doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from worker.commands.connect import database
from worker.commands.output import add_row, age, console, json_option, print_json, table

if TYPE_CHECKING:
    from worker.operate.health import Coverage


@click.command(epilog="Example: hashwarden coverage --json")
@json_option
def coverage(as_json: bool) -> None:
    """Show how many uploads were seen and scanned, how old the oldest waiting one is, and every alarm."""
    from bank_sync.epoch import read_pointer
    from worker.operate.health import alarms
    from worker.operate.health import coverage as measure

    with database() as (settings, sessions), sessions() as session:
        covered = measure(session)
        raised = alarms(session, settings, lambda: read_pointer(settings.epochs_dir))
    if as_json:
        print_json(asdict(covered) | {"alarms": [asdict(alarm) for alarm in raised]})
        return
    click.echo(coverage_line(covered))
    for alarm in raised:
        click.echo(f"{alarm.code}: {alarm.message} {alarm.next_step}")


def coverage_line(covered: Coverage) -> str:
    """The coverage in one line, for a terminal."""
    waiting = f"{covered.pending} pending"
    if covered.backfill:
        waiting += f" ({covered.backfill} of them old stock)"
    return (
        f"{covered.seen} uploads seen: {covered.scanned} scanned, {covered.unsupported} unsupported, "
        f"{covered.unscannable} unscannable, {waiting}; oldest pending {age(covered.oldest_pending)}, "
        f"lag {age(covered.lag)}"
    )


@click.command(epilog="Example: hashwarden doctor")
@json_option
def doctor(as_json: bool) -> None:
    """Prove on scratch keys that this storage, database and broker do what is relied on.

    Exit code 1 when anything must not go live so; a warning alone does not fail.
    """
    from config.settings import load_settings
    from worker.operate.check import Status
    from worker.operate.doctor import examine

    shown = table("Part", "Check", "", "Detail", "Next step")
    failed = warned = 0
    for check in examine(load_settings()):
        failed += check.status is Status.FAIL
        warned += check.status is Status.WARN
        if as_json:
            print_json(asdict(check))
        else:
            colour = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}[check.status]
            add_row(
                shown, check.part, check.name, check.status, check.detail, check.next_step, styles={2: colour}
            )
    if not as_json:
        console().print(shown)
        click.echo(f"{failed} failed, {warned} warnings.")
    if failed:
        raise click.exceptions.Exit(1)
