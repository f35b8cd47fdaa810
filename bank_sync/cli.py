"""The commands `hashwarden bank` and `hashwarden index`: what cron calls, and what a person looks at.

Prints counts, names and times; never a hash, a case number or a key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from bank_sync.bank import OWN_BANK, BankCheckpoint, BankEntry, BankReject
from bank_sync.epoch import (
    publish,
    published_numbers,
    read_pointer,
    rollback,
)
from bank_sync.exchanges.protocol import ExchangeError
from bank_sync.imports import import_file
from bank_sync.opened import verify_epoch
from bank_sync.progress import shown
from bank_sync.sync import SyncReport, compaction_of, publish_changes, replica_of, sync_banks
from config.database import Sessions, database_errors, make_engine, make_sessions
from config.errors import DatabaseError
from config.settings import Settings, load_settings

InForce = Callable[[Sessions, Settings], Settings]
"""Gives the settings in force, which two persons may have had to agree on, for those of the files."""


def _in_force(sessions: Sessions, files: Settings) -> Settings:
    """By the function that stands in click's context: people and what they approved are no matter of this room."""
    in_force: InForce = click.get_current_context().obj
    return in_force(sessions, files)


@contextmanager
def _database(settings: Settings) -> Iterator[Sessions]:
    engine = make_engine(settings.database)
    try:
        with database_errors():
            yield make_sessions(engine)
    finally:
        engine.dispose()


@click.group()
def bank() -> None:
    """The local copy of the banks."""


@bank.command("sync")
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every bank that is on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def sync_command(names: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Pull banks and publish an epoch if anything changed.

    Exit codes: 0 every bank is drained, or another sync of it is running already; 1 a bank failed (the others
    were pulled all the same); 2 wrong usage.

    Example: hashwarden bank sync --all
    """
    if bool(names) == every:
        raise click.UsageError("Name the banks to sync, or give --all.")
    files = load_settings()
    with _database(files) as sessions, shown() as progress:
        settings = _in_force(sessions, files)
        run = sync_banks(sessions, settings, names or None, progress=progress)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "banks": [asdict(report) for report in run.reports],
                    "failed": [{"bank": name, "code": error.code} for name, error in run.failed],
                    "epoch": asdict(run.epoch),
                }
            )
        )
    else:
        for report in run.reports:
            click.echo(_sentence(report))
        click.echo(f"epoch {run.epoch.number} {'published' if run.epoch.new else 'is up to date'}")
    if run.failed:
        first = run.failed[0][1]
        raise ExchangeError(" ".join(error.message for _, error in run.failed), next_step=first.next_step)


@bank.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status_command(as_json: bool) -> None:
    """How far each bank has come, and what it holds.

    Example: hashwarden bank status --json
    """
    files = load_settings()
    with _database(files) as sessions:
        rows = bank_status(sessions, _in_force(sessions, files))
    if as_json:
        click.echo(json.dumps({"banks": rows}))
        return
    for row in rows:
        drained = row["drained_at"] or "never"
        click.echo(
            f"{row['bank']}: {row['live']} live, {row['withdrawn']} withdrawn, {row['rejected']} rejected, "
            f"last drained {drained}" + (f", last error {row['last_error']}" if row["last_error"] else "")
        )


@bank.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--bank", "name", default=OWN_BANK, show_default=True, help="The bank that takes the signals.")
def import_command(file: Path, name: str) -> None:
    """Put the signals of a file of `type value` lines into the own bank, and publish.

    Goes on where it was if it was broken off and the file is still the same. A bank with exchange "file" is
    synced instead: its file is the bank.

    Example: hashwarden bank import confirmed.txt --bank own
    """
    if name != OWN_BANK:
        raise click.UsageError("Only the own bank takes imports; a bank with exchange 'file' is synced.")
    settings = load_settings()
    with _database(settings) as sessions:
        with shown() as progress:
            imported = import_file(sessions, file, progress=progress)
        with sessions.begin() as session:
            epoch = publish_changes(session, settings)
    if imported.before:
        click.echo(f"went on where an earlier import was broken off, after {imported.before} signals")
    click.echo(f"{imported.signals} signals imported; epoch {epoch.number} is in force")


@bank.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8790, show_default=True, help="Port to listen on; 0 picks one.")
def sandbox_command(host: str, port: int) -> None:
    """Run a practice bank that speaks StopNCII's wire and forgets everything when it ends.

    Its pages make hashes of pictures and videos in the browser and send only those.

    Example: hashwarden bank sandbox --port 8790
    """
    # The web server is needed by this command alone.
    from bank_sync.sandbox.app import PracticeKeys, serve

    keys = PracticeKeys()

    def ready(address: str) -> None:
        click.echo(f"practice bank at {address}")
        click.echo(
            f"pages for the person whose picture it is: {address}/ (hash and send, see the case, take it back)"
        )
        click.echo(
            f"keys: subscription_key {keys.subscription}, fetch_key {keys.fetch}, feedback_key {keys.feedback}"
        )

    try:
        serve(host, port, ready)
    except OSError as error:
        raise ExchangeError(
            f"The practice bank can't listen on {host}:{port}: {error.strerror}.",
            next_step="Give another --port, or 0.",
        ) from None


@click.group()
def index() -> None:
    """The published index: epochs."""


@index.command("build")
def build_command() -> None:
    """Publish an epoch if the live entries differ from the one in force.

    Example: hashwarden index build
    """
    settings = load_settings()
    with _database(settings) as sessions, sessions.begin() as session:
        epoch = publish_changes(session, settings)
    click.echo(f"epoch {epoch.number} {'published' if epoch.new else 'is up to date'}")


@index.command("publish")
def publish_command() -> None:
    """Publish the live entries as a new epoch with a new base, changed or not.

    Example: hashwarden index publish
    """
    settings = load_settings()
    with _database(settings) as sessions, sessions.begin() as session:
        number = publish(
            session,
            settings.epochs_dir,
            keep=settings.index.keep,
            buckets=settings.index.engine == "auto",
            replica=replica_of(settings),
        )
    click.echo(f"epoch {number} published")


@index.command("compact")
def compact_command() -> None:
    """Build a new base beside the epoch in force, and remove files that no epoch needs.

    The dispatcher does it by itself when it is due.

    Example: hashwarden index compact
    """
    settings = load_settings()
    with _database(settings) as sessions:
        done = compaction_of(sessions, settings).run(always=True)
    if done.number is None:
        click.echo("nothing compacted: no epoch, one that was rolled back to, or another compaction runs")
    else:
        click.echo(f"epoch {done.number} published on a new base")
    click.echo(f"{done.purged} withdrawn entries are in no kept file any more")


@index.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def index_status_command(as_json: bool) -> None:
    """Which epoch is in force, what it holds, and which are kept for roll-back.

    Example: hashwarden index status
    """
    folder = load_settings().epochs_dir
    pointer = read_pointer(folder)
    manifest = verify_epoch(folder, pointer.number, pointer.manifest_sha256)
    told: dict[str, Any] = {
        "epoch": pointer.number,
        "created_at": manifest["created_at"],
        "confirmed_at": pointer.confirmed_at.isoformat(),
        "counts": manifest["counts"],
        "base_built_at": manifest["base"]["built_at"],
        "delta": manifest["delta"]["counts"],
        "kept": published_numbers(folder),
    }
    if as_json:
        click.echo(json.dumps(told))
        return
    counts = ", ".join(f"{count} {name}" for name, count in told["counts"].items())
    click.echo(
        f"epoch {told['epoch']} of {told['created_at']}, up to date at {told['confirmed_at']}: {counts}"
    )
    changes = ", ".join(f"{count} {name}" for name, count in told["delta"].items())
    click.echo(f"changed since the base of {told['base_built_at']}: {changes}")
    click.echo(f"kept: {', '.join(map(str, told['kept']))}")


@index.command("rollback")
@click.argument("number", type=int)
def rollback_command(number: int) -> None:
    """Publish the content of epoch NUMBER again, under a new number.

    The next sync that brings changes publishes over it. Entries withdrawn since then still don't match.

    Example: hashwarden index rollback 12
    """
    settings = load_settings()
    with ExitStack() as stack:
        session = _session_if_any(stack, settings)
        new = rollback(
            settings.epochs_dir,
            number,
            keep=settings.index.keep,
            replica=replica_of(settings),
            session=session,
        )
    click.echo(f"epoch {new} published with the content of epoch {number}")


def _session_if_any(stack: ExitStack, settings: Settings) -> Session | None:
    """A session, so that nobody else publishes meanwhile; a roll-back must work without a database as well."""
    try:
        session = stack.enter_context(stack.enter_context(_database(settings)).begin())
        session.connection()
    except (DatabaseError, DBAPIError):
        click.echo("The database can't be reached: see to it that nobody publishes meanwhile.", err=True)
        return None
    return session


def bank_status(sessions: Sessions, settings: Settings) -> list[dict[str, Any]]:
    """One dictionary a bank of the settings: counts, checkpoint times (ISO 8601) and the last error's code."""
    with sessions() as session:
        counts = {
            row.bank: row
            for row in session.execute(
                select(
                    BankEntry.bank,
                    func.count().filter(BankEntry.live).label("live"),
                    func.count().filter(~BankEntry.live).label("withdrawn"),
                ).group_by(BankEntry.bank)
            )
        }
        rejected = {
            row[0]: row[1]
            for row in session.execute(select(BankReject.bank, func.count()).group_by(BankReject.bank))
        }
        checkpoints = {row.bank: row for row in session.scalars(select(BankCheckpoint))}
    rows = []
    for name, about in settings.banks.items():
        checkpoint, held = checkpoints.get(name), counts.get(name)
        rows.append(
            {
                "bank": name,
                "exchange": about.exchange,
                "enabled": about.enabled,
                "live": held.live if held else 0,
                "withdrawn": held.withdrawn if held else 0,
                "rejected": rejected.get(name, 0),
                "drained_at": _iso(checkpoint.drained_at if checkpoint else None),
                "attempted_at": _iso(checkpoint.attempted_at if checkpoint else None),
                "in_cursor": bool(checkpoint and checkpoint.cursor_token),
                "records_seen": checkpoint.records_seen if checkpoint else 0,
                "last_error": checkpoint.last_error if checkpoint else None,
            }
        )
    return rows


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _sentence(report: SyncReport) -> str:
    if report.status != "drained":
        return f"{report.bank}: {report.status.replace('_', ' ')}"
    changes = report.changes
    parts = [
        f"{report.pages} pages",
        f"{changes.new} new",
        f"{changes.changed} changed",
        f"{changes.withdrawn + report.orphans_withdrawn} withdrawn",
        f"{sum(report.rejected.values())} rejected",
    ]
    if changes.unknown_status:
        parts.append(f"{changes.unknown_status} of unknown status")
    return f"{report.bank}: {', '.join(parts)}"
