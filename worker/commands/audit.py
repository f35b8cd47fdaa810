"""`audit`: is the log of what was done as it was written, and a copy that a stranger can verify."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from worker.commands.connect import files_and_database
from worker.commands.output import json_option, print_json
from worker.commands.review import login


@click.group(epilog="Example: hashwarden audit verify")
def audit() -> None:
    """The log of who signed in, looked, decided and changed what: append-only, each entry sealed by the next.

    docs/reference/audit.md says what stands in it and how it is hashed.
    """


@audit.command(epilog="Example: hashwarden audit verify --head 42:9f86d081884c7d659a2feaa0c55ad015...")
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="SEQ:HASH",
    help="What an earlier run printed: finds entries that were cut off at the end, or all written anew.",
)
@json_option
def verify(heads: tuple[str, ...], as_json: bool) -> None:
    """Walk the whole chain and name the first entry that was changed, removed, moved or put in between.

    Exit code 1 when there is one. Note the head down somewhere else: with it, later runs find cut-off entries.
    """
    from worker.review.audit import verify_log
    from worker.review.audit_verify import parse_head

    try:
        noted = [parse_head(text) for text in heads]
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    with files_and_database() as (_, sessions), sessions() as session:
        head, fault, _ = verify_log(session, noted)
    if as_json:
        found = None if fault is None else {"seq": fault.seq, "why": fault.why}
        print_json({"entries": head.seq, "head": str(head), "fault": found})
    elif fault is None:
        click.echo(f"{head.seq} entries are unchanged. Head {head}")
    if fault is not None:
        raise click.ClickException(
            f"Entry {fault.seq}: {fault.why}. The {head.seq} entries before it are unchanged."
        )


@audit.command(epilog="Example: hashwarden audit export audit.jsonl")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def export(file: Path, as_json: bool) -> None:
    """Write all entries and the head into FILE, which must not exist. The export is an entry itself.

    `python -m worker.review.audit_verify FILE` verifies it anywhere: that one file needs nothing but Python.
    """
    from worker.review import audit as log
    from worker.review.people import people

    with files_and_database() as (_, sessions):
        with sessions.begin() as session:
            log.record(session, actor=people.operator(session, login()), action="export")
        try:
            with (
                open(file, "x", encoding="ascii", newline="\n", opener=partial(os.open, mode=0o600)) as out,
                sessions() as session,
            ):
                out.writelines(log.exported(session))
                head = log.head_of(session)
        except OSError as error:
            raise click.ClickException(
                f"{file} can't be written: {error.strerror}. Name a file that does not exist."
            ) from None
    if as_json:
        print_json({"file": str(file), "entries": head.seq, "head": str(head)})
    else:
        click.echo(f"{head.seq} entries are in {file}. Head {head}")
