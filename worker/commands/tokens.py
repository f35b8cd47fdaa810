"""`people token`: tokens of the API, each of one person and for some of their roles."""

from __future__ import annotations

from dataclasses import asdict

import click

from worker.commands.connect import files_and_database
from worker.commands.output import add_row, console, json_option, print_json, table
from worker.commands.review import login


@click.group(epilog="Example: hashwarden people token add ci-bot --role platform")
def token() -> None:
    """Tokens by which programs use the API as one person, for some of that person's roles.

    docs/reference/api.md says what the API does.
    """


@token.command(epilog="Example: hashwarden people token add appeals --role platform --days 30")
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, help="One of the person's roles; several add up."
)
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 366), help="How long it works.")
@json_option
def add(name: str, roles: tuple[str, ...], days: int, as_json: bool) -> None:
    """Print a new token of a person. It is shown this once: whoever has it is that person."""
    from worker.review.people import people, tokens
    from worker.store.people import Role

    unknown = sorted(set(roles) - set(Role))
    if unknown:
        raise click.BadParameter(f"{unknown[0]} is none of {', '.join(Role)}.", param_hint="--role")
    with files_and_database() as (_, sessions), sessions.begin() as session:
        person = people.get(session, name)
        actor = people.operator(session, login())
        made, row = tokens.add(session, person, {Role(role) for role in roles}, days, actor=actor)
        number = row.id
    if as_json:
        print_json({"token": made, "id": number, "days": days})
    else:
        click.echo(made)


@token.command("list", epilog="Example: hashwarden people token list --json")
@json_option
def list_command(as_json: bool) -> None:
    """List the tokens that work. None of them is shown."""
    from worker.review.people import tokens

    with files_and_database() as (_, sessions), sessions() as session:
        lines = tokens.listed(session)
    if as_json:
        for line in lines:
            print_json(asdict(line))
        return
    if not lines:
        click.echo("There are no tokens.")
        return
    shown = table("Token", "Whose", "Roles", "Since", "Last used", "Until")
    for line in lines:
        times = (line.created_at, line.used_at, line.expires_at)
        moments = (at.strftime("%Y-%m-%d %H:%M") if at else "never" for at in times)
        add_row(shown, line.id, line.pseudonym, ", ".join(line.roles), *moments)
    console().print(shown)


@token.command(epilog="Example: hashwarden people token revoke 7")
@click.argument("token_id", metavar="TOKEN", type=click.IntRange(1, 2**63 - 1))
def revoke(token_id: int) -> None:
    """End a token, by its number in the list, at once."""
    from worker.review.people import people, tokens

    with files_and_database() as (_, sessions), sessions.begin() as session:
        tokens.revoke(session, token_id, actor=people.operator(session, login()))
    click.echo(f"Token {token_id} works no more.")
