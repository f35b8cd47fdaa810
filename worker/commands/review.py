"""What a person does without the pages: `reviews`, `decide`, `undo`, `appeal`, `uploads`, `replay`, `demotions`."""

from __future__ import annotations

import getpass
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from worker.commands.connect import database
from worker.commands.output import add_row, age, console, json_option, print_json, table
from worker.commands.wake import wake
from worker.domain import State, Verdict

if TYPE_CHECKING:
    from worker.operate.uploads import HistoryLine, UploadLine
    from worker.review.desk.listing import ReviewLine

name_option = click.option(
    "--as", "name", default="", help="Who does this; else the name you are logged in by."
)


@click.command(epilog="Example: hashwarden reviews --json")
@click.option("--all", "closed", is_flag=True, help="Decided and withdrawn ones too.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="How many at most.")
@json_option
def reviews(closed: bool, limit: int, as_json: bool) -> None:
    """List what a person has to decide, the most urgent first."""
    from worker.review.desk.listing import list_reviews

    with database() as (_, sessions), sessions() as session:
        lines = list_reviews(session, closed=closed, limit=limit)
    if as_json:
        for line in lines:
            print_json(asdict(line))
        return
    if not lines:
        click.echo("No review is open.")
        return
    shown = table("Review", "State", "Due", "Priority", "Cause", "Kind", "Uploads", "Closest match")
    for line in lines:
        state = line.verdict if line.state == "decided" else _waits(line)
        states = ", ".join(f"{count} {name}" for name, count in sorted(line.states.items()))
        cause = line.cause if not line.reason else f"{line.cause} ({line.reason})"
        cause = f"{cause}, retro" if line.retro else cause
        due = _due(line) if line.state == "open" else ""
        add_row(shown, line.id, state, due, line.priority, cause, line.kind, states, _closest(line))
    console().print(shown)


def _waits(line: ReviewLine) -> str:
    """What an open review waits for, and whether somebody has it."""
    state = line.state if line.stage == "first" else line.stage
    return f"{state}, in hand" if line.held_by else state


def _due(line: ReviewLine) -> str:
    return f"overdue by {age(-line.left)}" if line.left < 0 else f"in {age(line.left)}"


def _closest(line: ReviewLine) -> str:
    if not line.matches:
        return ""
    match = line.matches[0]
    more = f" and {len(line.matches) - 1} more" if len(line.matches) > 1 else ""
    return f"{match.bank} {match.signal_type}, distance {match.distance}, {match.view_words}{more}"


@click.command(epilog='Example: hashwarden decide 12 not_a_match --reason "a different person" --as maria')
@click.argument("review", type=int)
@click.argument("verdict", type=click.Choice([verdict.value for verdict in Verdict]))
@click.option("--reason", default="", help="Why, in your words; kept with the decision.")
@name_option
@click.option("--request-id", default="", help="Sent again with the same one, a decision is taken once.")
@click.option("--force", is_flag=True, help="Even while somebody has it in hand; needs --reason.")
@click.option("--uploads", "typed", type=click.IntRange(1), help="How many it decides; needed over 25.")
@json_option
def decide(
    review: int,
    verdict: str,
    reason: str,
    name: str,
    request_id: str,
    force: bool,
    typed: int | None,
    as_json: bool,
) -> None:
    """Decide a review: for all uploads of the same content, and those still to come.

    It is recorded as an operator's decision. A later verdict replaces an earlier one; a removed upload can be brought
    back until its bytes are deleted. Where policy asks for a second person, the verdict waits for theirs; how many
    uploads it releases asks for nobody else here.
    """
    if force and not reason.strip():
        raise click.UsageError("Say with --reason why it can't wait for whoever has it in hand.")
    from uuid import uuid4

    from worker.review.desk.reviews import decide_review
    from worker.review.people.people import operator

    with database() as (settings, sessions):
        with sessions() as session:
            actor = operator(session, name or login())
        decided = decide_review(
            sessions,
            settings.policy,
            review,
            Verdict(verdict),
            actor=actor,
            request_id=request_id or str(uuid4()),
            reason=reason,
            force=force,
            typed=typed,
        )
        awake = wake(settings, decided.moved)
    if as_json:
        print_json(
            {
                "review": review,
                "verdict": decided.verdict,
                "decision": decided.decision_id,
                "moved": [upload_id for upload_id, _ in decided.moved],
                "kept": decided.kept,
                "repeated": decided.repeated,
                "waits": decided.waits,
            }
        )
        return
    if decided.repeated:
        click.echo(f"Review {review} was decided by this request before; nothing was done again.")
        return
    if decided.waits:
        person = "a second person" if decided.waits == "second" else "a third person: the two before disagree"
        click.echo(f"Review {review}: {verdict}. Nothing moves yet; it waits for {person}.")
        return
    click.echo(f"Review {review}: {verdict}. {_count(len(decided.moved), 'upload')} moved.")
    if decided.kept:
        click.echo(f"{_count(decided.kept, 'upload')} can't be brought back: the bytes are already deleted.")
    if verdict == Verdict.CONFIRMED and decided.moved:
        seconds = settings.policy.removal_delay
        delay = f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
        click.echo(f"The bytes are deleted in {delay}; `hashwarden undo {review}` undoes it until then.")
    if not awake:
        click.echo(
            "The broker can't be reached: `hashwarden dispatch` makes it hold as soon as it can.", err=True
        )


@click.command(epilog="Example: hashwarden undo 12 --reason 'the wrong row' --as maria")
@click.argument("review", type=int)
@click.option("--reason", default="", help="Why, in your words; kept with the undo.")
@name_option
@click.option("--request-id", default="", help="Sent again with the same one, it is done once.")
@json_option
def undo(review: int, reason: str, name: str, request_id: str, as_json: bool) -> None:
    """Take the last decision of a review back: everything it changed is put back, and the review is open again.

    At the terminal this works until the bytes are deleted, whoever decided.
    """
    from uuid import uuid4

    from worker.review.desk.undo import undo as undo_decision
    from worker.review.people.people import operator

    with database() as (settings, sessions):
        with sessions() as session:
            actor = operator(session, name or login())
        undone = undo_decision(
            sessions,
            settings.policy,
            review,
            actor=actor,
            request_id=request_id or str(uuid4()),
            reason=reason,
            lead=True,
        )
        wake(settings, undone.moved)
    if as_json:
        moved = [upload_id for upload_id, _ in undone.moved]
        print_json({"review": review, "undo": undone.undo_id, "moved": moved, "kept": undone.kept})
        return
    click.echo(f"Review {review}: undone. {_count(len(undone.moved), 'upload')} moved back.")
    if undone.kept:
        click.echo(f"{_count(undone.kept, 'upload')} can't be brought back: the bytes are already deleted.")


@click.command(epilog="Example: hashwarden appeal 41 --reason 'the uploader is shown, and agreed'")
@click.argument("upload_id", type=int)
@click.option("--reason", required=True, help="What the person who appeals says.")
@name_option
@json_option
def appeal(upload_id: int, reason: str, name: str, as_json: bool) -> None:
    """Open an appeal against the removal of an upload: its review is decided again, by somebody else.

    Until then nothing of it is deleted. An appeal that is open already is not opened twice.
    """
    from worker.review.desk.appeals import open_appeal
    from worker.review.people.people import operator

    with database() as (settings, sessions):
        with sessions() as session:
            actor = operator(session, name or login())
        opened = open_appeal(sessions, settings, upload_id, reason=reason, actor=actor, source="terminal")
    if as_json:
        print_json({"appeal": opened.appeal_id, "review": opened.review_id, "known": opened.known})
        return
    already = " was open already" if opened.known else ""
    click.echo(f"Appeal {opened.appeal_id}{already}: review {opened.review_id} waits for another person.")


@click.command(epilog="Example: hashwarden uploads --state held --json")
@click.argument("upload_id", required=False, type=int)
@click.option(
    "--state", type=click.Choice([state.value for state in State]), help="Only those in this state."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many at most.")
@json_option
def uploads(upload_id: int | None, state: str | None, limit: int, as_json: bool) -> None:
    """List the newest uploads, or show one with its history."""
    from worker.operate.uploads import history_of, list_uploads, one_upload

    if upload_id is not None and state is not None:
        raise click.UsageError("Give an upload's id or --state, not both.")
    with database() as (_, sessions), sessions() as session:
        if upload_id is None:
            lines = list_uploads(session, state=State(state) if state else None, limit=limit)
            _show_uploads(lines, as_json=as_json)
            return
        line = one_upload(session, upload_id)
        if line is None:
            raise click.ClickException(
                f"There is no upload {upload_id}. `hashwarden uploads` lists the newest."
            )
        _show_upload(line, history_of(session, [upload_id]), as_json=as_json)


def _show_uploads(lines: list[UploadLine], *, as_json: bool) -> None:
    if as_json:
        for line in lines:
            print_json(asdict(line))
        return
    if not lines:
        click.echo("No uploads.")
        return
    shown = table("Upload", "State", "Reason", "For", "Kind", "Bucket", "Key", "Review")
    for line in lines:
        add_row(
            shown,
            line.id,
            line.state,
            line.reason,
            age(line.age),
            line.kind,
            line.bucket,
            line.key,
            line.review_id,
        )
    console().print(shown)


def _show_upload(line: UploadLine, history: list[HistoryLine], *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(line) | {"history": [asdict(step) for step in history]})
        return
    facts = table("Upload", str(line.id))
    effect = line.access_applied or "not touched yet"
    if line.access_wanted != line.access_applied and line.access_applied:
        effect = f"{line.access_applied}, to become {line.access_wanted}"
    if line.access_error:
        effect += f" ({line.access_error})"
    for name, value in (
        ("state", f"{line.state} {line.reason}".strip()),
        ("in this state for", age(line.age)),
        ("access", effect),
        ("kind", line.kind or "not read yet"),
        ("bucket", line.bucket),
        ("key", line.key),
        ("version", line.version_id or "-"),
        ("bytes", line.size),
        ("attempts", f"{line.attempts}, {line.faults} faults of other parts"),
        ("came by", line.source),
        ("review", line.review_id or "-"),
    ):
        add_row(facts, name, value)
    console().print(facts)
    steps = table("At", "From", "To", "By", "Reason", "Epoch", "Policy")
    for step in history:
        at = step.at.strftime("%Y-%m-%d %H:%M:%S")
        add_row(
            steps,
            at,
            step.from_state,
            step.to_state,
            step.actor,
            step.reason,
            step.index_epoch,
            step.policy_revision,
        )
    console().print(steps)


@click.command(epilog="Example: hashwarden replay --state unscannable")
@click.argument("upload_ids", nargs=-1, type=int)
@click.option(
    "--state",
    type=click.Choice(["unscannable", "unsupported", "superseded", "gone"]),
    help="All uploads in this state.",
)
@name_option
@json_option
def replay(upload_ids: tuple[int, ...], state: str | None, name: str, as_json: bool) -> None:
    """Scan uploads again that could not be read: after an update, a repaired store, or a raised limit."""
    from worker.operate.replay import replay as replay_uploads
    from worker.operate.replay import uploads_in

    if bool(upload_ids) == bool(state):
        raise click.UsageError("Name uploads by id, or give --state.")
    with database() as (settings, sessions):
        asked = list(upload_ids) if state is None else uploads_in(sessions, State(state))
        moved = replay_uploads(sessions, asked, actor=f"replay:{name or login()}")
        wake(settings, moved)
    left = sorted(set(asked) - {upload_id for upload_id, _ in moved})
    if as_json:
        print_json({"replayed": [upload_id for upload_id, _ in moved], "left": left})
        return
    click.echo(f"{_count(len(moved), 'upload')} will be scanned again.")
    if left:
        ids = ", ".join(map(str, left[:20]))
        click.echo(f"Left alone, unknown or in a state that is not replayed: {ids}.", err=True)


@click.command(epilog="Example: hashwarden demotions --lift 3 --as maria")
@click.option("--lift", "demotion_id", type=int, help="End this one: the entry holds uploads again.")
@name_option
@json_option
def demotions(demotion_id: int | None, name: str, as_json: bool) -> None:
    """List the bank entries that the flood breaker set to flag-only, or lift one.

    An entry that suddenly hits many uploaders may be wrong or planted: look at its reviews before you lift it. On the
    review pages this takes two persons.
    """
    from sqlalchemy import Float, cast, func, select

    from worker.review import audit
    from worker.review.people.people import operator
    from worker.store import floods
    from worker.store.models import Demotion

    with database() as (_, sessions):
        if demotion_id is not None:
            with sessions.begin() as session:
                actor = operator(session, name or login())
                if not floods.lift(session, demotion_id, actor=actor):
                    raise click.ClickException(
                        f"There is no demotion {demotion_id} to lift. `hashwarden demotions` lists them."
                    )
                audit.record(
                    session, actor=actor, action="demotion_lifted", subject=("demotion", demotion_id)
                )
            if as_json:
                print_json({"lifted": demotion_id})
            else:
                click.echo(f"Demotion {demotion_id} is lifted.")
            return
        with sessions() as session:
            seconds = cast(func.extract("epoch", func.clock_timestamp() - Demotion.at), Float)
            rows: list[dict[str, Any]] = [
                dict(row)
                for row in session.execute(
                    select(Demotion.id, Demotion.bank, Demotion.uploaders, Demotion.at, seconds.label("age"))
                    .where(Demotion.lifted_at.is_(None))
                    .order_by(Demotion.id)
                ).mappings()
            ]
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not rows:
        click.echo("No entry is set to flag-only.")
        return
    shown = table("Demotion", "Bank", "Uploaders", "Age")
    for row in rows:
        add_row(shown, row["id"], row["bank"], row["uploaders"], age(row["age"]))
    console().print(shown)


def login() -> str:
    """Who is at the terminal; a user id without a name stands for itself."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
