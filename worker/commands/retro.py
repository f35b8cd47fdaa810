"""The past: `retro` searches it for new bank hashes, `ledger` deletes from what it searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.commands.connect import database
from worker.commands.output import add_row, console, json_option, print_json, table
from worker.commands.review import login, name_option

if TYPE_CHECKING:
    from worker.store.hunts import RetroHunt


@click.group(epilog="Example: hashwarden retro status")
def retro() -> None:
    """Search the uploads that were cleared before for what banks got since.

    Needs `ledger.enabled`. `hashwarden dispatch` does it by itself; a hunt that would hold or flag unusually many waits
    for a person.
    """


@retro.command(epilog="Example: hashwarden retro run")
@json_option
def run(as_json: bool) -> None:
    """Do one round now: search for what changed since the last one, and act."""
    from config.errors import SettingsError
    from worker.retro.hunter import Hunter, Round

    with database() as (settings, sessions):
        ended = Hunter(settings, sessions).round()
    if ended is Round.OFF:
        raise SettingsError(
            "The ledger is off, so there is no past to search.",
            next_step="Set HASHWARDEN_LEDGER__ENABLED=true; what is cleared from then on is kept and searched.",
        )
    if as_json:
        print_json({"ended": ended})
    elif ended is Round.BUSY:
        click.echo("Another process is searching the past; `hashwarden retro status` shows how far it is.")
    else:
        click.echo("The past is searched for all that the index in force has.")


@retro.command(epilog="Example: hashwarden retro status --json")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many at most.")
@json_option
def status(limit: int, as_json: bool) -> None:
    """List the newest hunts: what they looked for, how many contents came near, what they moved."""
    from worker.store.hunts import list_hunts

    with database() as (_, sessions), sessions() as session:
        found = list_hunts(session, limit=limit)
    if as_json:
        for hunt in found:
            print_json(_facts(hunt))
        return
    if not found:
        click.echo("No hunt yet.")
        return
    shown = table(
        "Hunt", "State", "Begun", "New entries", "Contents", "Came near", "Would move", "Moved", "By"
    )
    for hunt in found:
        add_row(
            shown,
            hunt.id,
            hunt.state,
            hunt.started_at.strftime("%Y-%m-%d %H:%M:%S"),
            hunt.entries,
            hunt.contents,
            ", ".join(f"{number} {bank}" for bank, number in sorted(hunt.counts.items())),
            hunt.would_move,
            hunt.moved,
            hunt.decided_by,
        )
    console().print(shown)


@retro.command(epilog="Example: hashwarden retro approve 7 --as maria")
@click.argument("hunt", type=int)
@name_option
@json_option
def approve(hunt: int, name: str, as_json: bool) -> None:
    """Let a stopped hunt hold and flag what it found; the dispatcher, or `retro run`, does it."""
    from worker.review import audit
    from worker.review.people.people import operator
    from worker.store import hunts

    with database() as (settings, sessions), sessions.begin() as session:
        actor = operator(session, name or login())
        state = hunts.approve(session, hunt, actor=actor, ledger_enabled=settings.ledger.enabled)
        audit.record(session, actor=actor, action="hunt_approved", subject=("hunt", hunt))
    if as_json:
        print_json({"hunt": hunt, "state": state})
    elif state is hunts.HuntState.ACTING:
        click.echo(f"Hunt {hunt} acts at the dispatcher's next round.")
    else:
        click.echo(
            f"Hunt {hunt} reads the rest of the ledger from the dispatcher's next round on, and then acts."
        )


@retro.command(epilog="Example: hashwarden retro reject 7 --as maria")
@click.argument("hunt", type=int)
@name_option
@json_option
def reject(hunt: int, name: str, as_json: bool) -> None:
    """End a hunt that is stopped, collecting or acting; what it has moved stays as it is.

    The hashes that came near something are not hunted again. New uploads still match them as the policy says.
    """
    from worker.review import audit
    from worker.review.people.people import operator
    from worker.store import hunts

    with database() as (_, sessions), sessions.begin() as session:
        actor = operator(session, name or login())
        hunts.reject(session, hunt, actor=actor)
        audit.record(session, actor=actor, action="hunt_rejected", subject=("hunt", hunt))
    if as_json:
        print_json({"hunt": hunt, "state": "rejected"})
    else:
        click.echo(f"Hunt {hunt} is rejected; it moves nothing more.")


def _facts(hunt: RetroHunt) -> dict[str, object]:
    return {
        "id": hunt.id,
        "state": hunt.state,
        "epoch": hunt.epoch,
        "entries": hunt.entries,
        "contents": hunt.contents,
        "near": hunt.counts,
        "late": hunt.late,
        "would_move": hunt.would_move,
        "moved": hunt.moved,
        "failed": hunt.failed,
        "started_at": hunt.started_at,
        "finished_at": hunt.finished_at,
        "decided_by": hunt.decided_by,
    }


@click.group(epilog="Example: hashwarden ledger forget 1234")
def ledger() -> None:
    """The ledger keeps the perceptual hashes of cleared uploads for `ledger.days`, if `ledger.enabled`."""


@ledger.command(epilog="Example: hashwarden ledger forget 1234 1240")
@click.argument("upload_ids", nargs=-1, type=int)
@click.option("--all", "every", is_flag=True, help="Empty the ledger.")
@json_option
def forget(upload_ids: tuple[int, ...], every: bool, as_json: bool) -> None:
    """Delete the hashes of these uploads from the ledger: the past is no longer searched for them.

    The same bytes uploaded by somebody else are one content, and forgotten with it. A later upload is kept again.
    """
    from worker.store import contents
    from worker.store import ledger as kept

    if bool(upload_ids) == every:
        raise click.UsageError("Name uploads by id, or give --all.")
    forgotten: list[int] = []
    with database() as (_, sessions):
        if every:
            kept.forget_all(sessions)
        for upload_id in upload_ids:
            with sessions.begin() as session:
                content = contents.lock_content_of(session, upload_id)
                if content is not None and kept.forget(session, content):
                    forgotten.append(upload_id)
    left = sorted(set(upload_ids) - set(forgotten))
    if as_json:
        print_json({"forgotten": "all" if every else forgotten, "not_kept": left})
        return
    click.echo("The ledger is empty." if every else f"The hashes of {len(forgotten)} uploads are deleted.")
    if left:
        click.echo(f"Nothing was kept of: {', '.join(map(str, left[:20]))}.", err=True)
