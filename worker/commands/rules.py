"""`rules`: what the files say beside what two persons agreed on, and asking for a second person."""

from __future__ import annotations

import click

from worker.commands.connect import files_and_database
from worker.commands.output import add_row, console, json_option, print_json, table
from worker.commands.review import login, name_option


@click.group(epilog="Example: hashwarden rules diff")
def rules() -> None:
    """The rules: the policy, and which banks match by what. They count once two persons agreed on them.

    A change in the files is proposed by one person and approved by another one on the review pages. Until then services
    run on with the rules that were approved last. While fewer than two persons may approve, the files count.
    """


@rules.command(epilog="Example: hashwarden rules show --json")
@json_option
def show(as_json: bool) -> None:
    """Show which rules are in force for a service that starts now, and who approved them."""
    from worker.store.rulesets import in_force, newest

    with files_and_database() as (files, sessions), sessions() as session:
        settings = in_force(session, files)
        row = newest(session)
    by = row.approved_by if row is not None else None
    at = row.at if row is not None else None
    if as_json:
        print_json(
            {
                "revision": settings.rules.revision,
                "files": files.rules.revision,
                "proposed_by": row.proposed_by if row is not None else None,
                "approved_by": by,
                "at": at,
                "rules": settings.rules.model_dump(mode="json"),
            }
        )
        return
    if at is None:
        click.echo("No service has started yet: the first one takes the rules of the files.")
    else:
        who = f"approved by {by}" if by else "by the files alone"
        click.echo(f"Rules {settings.rules.revision}, {who} at {at:%Y-%m-%d %H:%M} UTC.")
    if settings.unapproved is not None:
        click.echo("The files say others: `hashwarden rules diff` lists what differs.")


@rules.command(epilog="Example: hashwarden rules diff")
@json_option
def diff(as_json: bool) -> None:
    """List what the files would change of the rules that were approved last, setting by setting."""
    from worker.review.rules import changes

    with files_and_database() as (files, sessions), sessions() as session:
        found = changes(session, files.rules)
    if as_json:
        for change in found:
            print_json({"setting": change.setting, "before": change.before, "after": change.after})
        return
    if not found:
        click.echo("The files say what is approved.")
        return
    shown = table("Setting", "Approved", "Files")
    for change in found:
        add_row(shown, change.setting, change.before, change.after)
    console().print(shown)


@rules.command(epilog="Example: hashwarden rules propose --as maria")
@name_option
@json_option
def propose(name: str, as_json: bool) -> None:
    """Ask for a second person to let the rules of the files count. The proposal lasts three days.

    Whoever proposes is a person of `hashwarden people`, and can't approve it.
    """
    from worker.review.desk.rule_proposals import propose_rules
    from worker.review.people.people import proposer

    with files_and_database() as (files, sessions), sessions.begin() as session:
        actor = proposer(session, name or login())
        made = propose_rules(session, files.rules, actor=actor, source="terminal").id
    if as_json:
        print_json({"proposal": made, "revision": files.rules.revision})
        return
    click.echo(f"Proposal {made} waits: another person approves it on the page /proposals.")
