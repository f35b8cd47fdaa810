"""`people`: who may sign in to the review pages, by which pseudonym and with which roles; their sessions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from worker.commands.connect import files_and_database
from worker.commands.output import add_row, console, json_option, print_json, table
from worker.commands.review import login
from worker.commands.tokens import token

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from worker.store.people import Person

_ROLES = click.Choice(["reviewer", "lead", "adjudicator", "minor_safety", "auditor", "admin", "platform"])
LINK_MINUTES = 15


@click.group(epilog="Example: hashwarden people add 'Maria Lopez' --role reviewer")
def people() -> None:
    """Who may sign in to the review pages, with which roles, and who is signed in.

    NAME is a person's name or pseudonym. Every change stands in the audit log.
    """


people.add_command(token)


@people.command(epilog="Example: hashwarden people add 'Maria Lopez' --role reviewer --role lead")
@click.argument("name")
@click.option(
    "--role", "roles", type=_ROLES, multiple=True, required=True, help="What they may do; several add up."
)
@json_option
def add(name: str, roles: tuple[str, ...], as_json: bool) -> None:
    """Make a person, with a pseudonym drawn at random. `people password` or `people link` lets them in."""
    from worker.review.people import people as known
    from worker.store.people import Role

    with files_and_database() as (_, sessions), sessions.begin() as session:
        person = known.add(session, name, {Role(role) for role in roles}, actor=_operator(session))
        facts = _facts(person)
    if as_json:
        print_json(facts)
    else:
        click.echo(
            f"{facts['name']} is {facts['pseudonym']}. Now: hashwarden people link {facts['pseudonym']}"
        )


@people.command("list", epilog="Example: hashwarden people list --json")
@json_option
def list_command(as_json: bool) -> None:
    """List all people. This is the one place, beside the admins' page, that tells whose a pseudonym is."""
    from worker.review.people import people as known

    with files_and_database() as (_, sessions), sessions() as session:
        found = [_facts(person) for person in known.listed(session)]
    if as_json:
        for facts in found:
            print_json(facts)
        return
    if not found:
        click.echo("Nobody yet. `hashwarden people add NAME --role admin` makes the first.")
        return
    shown = table("Name", "Pseudonym", "Roles", "Way in", "Disabled")
    for facts in found:
        add_row(
            shown,
            facts["name"],
            facts["pseudonym"],
            ", ".join(facts["roles"]),  # type: ignore[arg-type]
            facts["way"],
            "yes" if facts["disabled"] else "",
        )
    console().print(shown)


@people.command(epilog="Example: hashwarden people roles maria reviewer lead")
@click.argument("name")
@click.argument("roles", nargs=-1, type=_ROLES, required=True)
def roles(name: str, roles: tuple[str, ...]) -> None:
    """Replace a person's roles; it counts from their next page on. A provider's groups win at the next sign-in."""
    from worker.review.people import people as known
    from worker.store.people import Role

    def change(session: Session, person: Person, actor: str) -> None:
        known.set_roles(session, person, {Role(role) for role in roles}, actor=actor)

    click.echo(f"{_change(name, change)} is now: {', '.join(sorted(set(roles)))}.")


@people.command(epilog="Example: hashwarden people disable maria")
@click.argument("name")
def disable(name: str) -> None:
    """Let a person in no more, and end all their sessions, links and tokens at once."""
    from worker.review.people import people as known

    def change(session: Session, person: Person, actor: str) -> None:
        known.disable(session, person, actor=actor)

    click.echo(f"{_change(name, change)} is disabled and signed out.")


@people.command(epilog="Example: hashwarden people enable maria")
@click.argument("name")
def enable(name: str) -> None:
    """Let a person in again who was disabled."""
    from worker.review.people import people as known

    def change(session: Session, person: Person, actor: str) -> None:
        known.enable(session, person, actor=actor)

    click.echo(f"{_change(name, change)} may sign in again.")


@people.command(epilog="Example: hashwarden people password maria")
@click.argument("name")
def password(name: str) -> None:
    """Set a person's password: asked for twice, or one line of standard input. Ends their sessions."""
    from worker.review.people import people as known

    if sys.stdin.isatty():
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")

    def change(session: Session, person: Person, actor: str) -> None:
        known.set_password(session, person, given, actor=actor)

    click.echo(f"{_change(name, change)} has a new password.")


@people.command(epilog="Example: hashwarden people link maria --minutes 5")
@click.argument("name")
@click.option(
    "--minutes",
    default=LINK_MINUTES,
    show_default=True,
    type=click.IntRange(1, 24 * 60),
    help="How long it works.",
)
@json_option
def link(name: str, minutes: int, as_json: bool) -> None:
    """Print a link that lets a person in once. Whoever has it is that person: give it to nobody else."""
    from worker.review.people import entrance
    from worker.review.people import people as known

    with files_and_database() as (settings, sessions), sessions.begin() as session:
        person = known.get(session, name)
        token = entrance.make_link(session, person, minutes, actor=_operator(session))
    address = f"{settings.review.address}/sign-in/link/{token}"
    if as_json:
        print_json({"link": address, "minutes": minutes})
    else:
        click.echo(address)


@people.command(epilog="Example: hashwarden people sessions")
@json_option
def sessions(as_json: bool) -> None:
    """List who is signed in."""
    from dataclasses import asdict

    from worker.review.people import sign_ins

    with files_and_database() as (settings, opened), opened() as session:
        lines = sign_ins.listed(session, settings.review)
    if as_json:
        for line in lines:
            print_json(asdict(line))
        return
    if not lines:
        click.echo("Nobody is signed in.")
        return
    shown = table("Session", "Who", "By", "Since", "Last seen", "Until")
    for line in lines:
        times = (line.created_at, line.seen_at, line.expires_at)
        moments = (at.strftime("%Y-%m-%d %H:%M:%S") for at in times)
        add_row(shown, line.id, line.pseudonym, line.way, *moments)
    console().print(shown)


@people.command(epilog="Example: hashwarden people revoke --all maria")
@click.argument("session_id", metavar="[SESSION]", required=False, type=int)
@click.option("--all", "name", default="", help="All sessions and links of this person.")
def revoke(session_id: int | None, name: str) -> None:
    """End one session by its number, or all of a person. They may sign in anew: `people disable` prevents it."""
    from worker.review.people import people as known

    if (session_id is None) == (not name):
        raise click.UsageError("Give a session's number, or --all and a person's name.")
    with files_and_database() as (_, opened), opened.begin() as session:
        if session_id is not None:
            known.revoke(session, session_id, actor=_operator(session))
            ended = 1
        else:
            ended = known.revoke_all(session, known.get(session, name), actor=_operator(session))
    click.echo(f"{ended} {'session is' if ended == 1 else 'sessions are'} ended.")


def _change(name: str, change: Callable[[Session, Person, str], None]) -> str:
    """Changes one person in a transaction of its own; their pseudonym."""
    from worker.review.people import people as known

    with files_and_database() as (_, sessions), sessions.begin() as session:
        person = known.get(session, name)
        change(session, person, _operator(session))
        return person.pseudonym


def _operator(session: Session) -> str:
    from worker.review.people import people as known

    return known.operator(session, login())


def _facts(person: Person) -> dict[str, object]:
    way = "provider" if person.subject else "password" if person.password_hash else "link"
    return {
        "name": person.name,
        "pseudonym": person.pseudonym,
        "roles": list(person.roles),
        "way": way,
        "disabled": person.disabled,
    }
