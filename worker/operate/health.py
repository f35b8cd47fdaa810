"""How the system stands, read from the database alone: coverage, and alarms for what a person must look at.

Ages are measured by the database's clock. Nothing here names a hash, a bank entry or an object key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, and_, cast, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import SQLCoreOperations

from bank_sync.bank import BankCheckpoint, Feedback
from bank_sync.epoch import EpochError, Pointer
from config.errors import SettingsError
from config.rules import Ruleset
from config.settings import Settings
from config.words import Words, _, joined, ngettext
from worker.act import REFUSED
from worker.domain import State
from worker.events.arrivals import NEW
from worker.store import heartbeats, rulesets
from worker.store.adjudication import number_stuck
from worker.store.hunts import ACTIVE, HuntState, RetroHunt, RetroMark
from worker.store.minor_cases import number_lost
from worker.store.models import Demotion, Heartbeat, History, InboxReject, Review, Upload, WebhookMessage

_SCANNED = (State.CLEAR, State.FLAGGED, State.HELD, State.RELEASED, State.REMOVED)
_WAITING = (State.PENDING, State.SCANNING)

LAG_SAMPLE = 5000
"""Transitions that the lag is taken from: the newest ones."""

RECENT_UPLOADS = 100_000
"""Uploads among which lost events are looked for: the newest ones."""

EFFECT_TRIES = 4
"""Failed tries after which an effect that does not hold is an alarm; the first ones ride out a short fault."""

LATE_EVENT = timedelta(minutes=2)
"""An object that the sweep saw first, this long after it was written: its event was lost, not just slow."""

HUNT_LATE_AFTER = 3600.0
"""Seconds after which a hunt, or the hunter's last look, is late: ten million hashes take half a minute."""

WORKER_SILENT_AFTER = 60.0
"""Seconds after its last sign of life from which a worker process counts as gone."""

PointerReader = Callable[[], Pointer]
"""Reads the epoch pointer. Raises EpochError."""


class AlarmCode(StrEnum):
    BANK_STALE = "bank_stale"
    PENDING_OLD = "pending_old"
    INDEX_MISSING = "index_missing"
    INDEX_STALE = "index_stale"
    INDEX_REFUSED = "index_refused"
    WEBHOOK_BACKLOG = "webhook_backlog"
    FEEDBACK_BACKLOG = "feedback_backlog"
    FLOOD = "flood"
    EFFECT_REFUSED = "effect_refused"
    EFFECT_FAILING = "effect_failing"
    DISPATCH_SILENT = "dispatch_silent"
    INBOX_REJECTS = "inbox_rejects"
    EVENTS_LOST = "events_lost"
    HUNT_STOPPED = "hunt_stopped"
    HUNT_LATE = "hunt_late"
    REVIEW_OVERDUE = "review_overdue"
    NO_ADJUDICATOR = "no_adjudicator"
    NOT_PRESERVED = "not_preserved"
    RULES_UNAPPROVED = "rules_unapproved"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that a person must look at; `subject` is a bank or '' ."""

    code: AlarmCode
    message: str
    next_step: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was seen and what became of it. Ages and lag in seconds, None where there is nothing to measure.

    `pending` counts uploads not yet scanned, `backfill` those of them that are old stock and wait behind new ones;
    `oldest_pending` is the age of the oldest new one. `lag` is the time from first sight to outcome that
    19 of 20 of the newest scans stayed under.
    """

    seen: int
    states: dict[str, int]
    scanned: int
    unsupported: int
    unscannable: int
    pending: int
    backfill: int
    oldest_pending: float | None
    lag: float | None


def seconds_since(moment: SQLCoreOperations[Any]) -> ColumnElement[float]:
    """SQL: seconds from a time until now."""
    return cast(func.extract("epoch", func.clock_timestamp() - moment), Float)


def coverage(session: Session) -> Coverage:
    counted = session.execute(select(Upload.state, func.count()).group_by(Upload.state))
    states = {state.value: 0 for state in State} | {str(state): number for state, number in counted}
    waiting = session.execute(
        select(
            func.count().filter(Upload.priority > NEW),
            seconds_since(func.min(Upload.first_seen_at).filter(Upload.priority <= NEW)),
        ).where(Upload.state.in_(_WAITING))
    ).one()
    return Coverage(
        seen=sum(states.values()),
        states=states,
        scanned=sum(states[state] for state in _SCANNED),
        unsupported=states[State.UNSUPPORTED],
        unscannable=states[State.UNSCANNABLE],
        pending=sum(states[state] for state in _WAITING),
        backfill=waiting[0],
        oldest_pending=waiting[1],
        lag=session.scalar(_lag()),
    )


def _lag() -> Select[float]:
    newest = select(History).order_by(History.id.desc()).limit(LAG_SAMPLE).subquery()
    seconds = cast(func.extract("epoch", newest.c.at - Upload.first_seen_at), Float)
    return (
        select(func.percentile_cont(0.95).within_group(seconds))
        .select_from(newest)
        .join(Upload, Upload.id == newest.c.upload_id)
        .where(
            newest.c.from_state == State.SCANNING,
            newest.c.to_state != State.PENDING,
            Upload.priority <= NEW,
        )
    )


def alarms(session: Session, settings: Settings, pointer: PointerReader) -> list[Alarm]:
    """Everything that is wrong now, the worst first. `pointer` reads the epoch pointer of this deployment."""
    return [
        *_index(session, settings, pointer),
        *_workers(session, settings),
        *_dispatch(session, settings),
        *_effects(session),
        *_pending(session, settings),
        *_overdue(session),
        *_duties(session),
        *_rules(session, settings),
        *_banks(session, settings),
        *_floods(session),
        *_hunts(session, settings),
        *_outboxes(session, settings),
        *_events(session, settings),
    ]


def _index(session: Session, settings: Settings, pointer: PointerReader) -> Iterator[Alarm]:
    try:
        confirmed_at = pointer().confirmed_at
    except EpochError as error:
        yield Alarm(
            AlarmCode.INDEX_MISSING,
            joined(error.message, _("Nothing is scanned without it.")),
            error.next_step,
        )
        return
    now = session.scalars(select(func.clock_timestamp())).one()
    age = (now - confirmed_at).total_seconds()
    if age > settings.alarms.index_stale_after:
        yield Alarm(
            AlarmCode.INDEX_STALE,
            _("The index was last found up to date %(time)s ago.", time=words(age)),
            _("Check that cron runs `hashwarden bank sync --all`."),
        )


def searching() -> ColumnElement[bool]:
    """SQL: a worker gave a sign of life lately."""
    return and_(
        Heartbeat.service == heartbeats.WORKER,
        Heartbeat.at > func.clock_timestamp() - timedelta(seconds=WORKER_SILENT_AFTER),
    )


def _workers(session: Session, settings: Settings) -> Iterator[Alarm]:
    stale = Heartbeat.index_confirmed_at < func.clock_timestamp() - timedelta(
        seconds=settings.alarms.index_stale_after
    )
    behind = session.execute(
        select(
            Heartbeat.host,
            func.count().label("number"),
            func.max(Heartbeat.index_fault).label("fault"),
            seconds_since(func.min(Heartbeat.index_confirmed_at)).label("age"),
        )
        .where(searching(), or_(Heartbeat.index_fault != "", stale))
        .group_by(Heartbeat.host)
        .order_by(Heartbeat.host)
    )
    for row in behind:
        told = "1 worker process" if row.number == 1 else f"{row.number} worker processes"
        held = "no index" if row.age is None else f"an index that was up to date {words(row.age)} ago"
        fault = f", the newest one is refused ({row.fault})" if row.fault else ""
        yield Alarm(
            AlarmCode.INDEX_REFUSED,
            f"On {row.host} {told} had {held}{fault}.",
            f"Run `hashwarden index status` on {row.host}: it names the file that is wrong.",
        )


def _dispatch(session: Session, settings: Settings) -> Iterator[Alarm]:
    longest = max(60.0, 4 * settings.queue.dispatch_every)
    age = session.scalar(
        select(seconds_since(func.max(Heartbeat.at))).where(Heartbeat.service == heartbeats.DISPATCH)
    )
    if age is None or age > longest:
        yield Alarm(
            AlarmCode.DISPATCH_SILENT,
            _("The dispatcher has never run: retries, restores and webhooks wait for it.")
            if age is None
            else _(
                "The dispatcher gave its last sign of life %(time)s ago: retries, restores and webhooks wait for it.",
                time=words(age),
            ),
            _("Start `hashwarden dispatch`, and check that it reaches the broker."),
        )


def _effects(session: Session) -> Iterator[Alarm]:
    refused, failing = session.execute(
        select(
            func.count().filter(Upload.access_applied == REFUSED),
            func.count().filter(Upload.access_applied != REFUSED, Upload.access_attempts >= EFFECT_TRIES),
        ).where(Upload.access_due_at.is_not(None))
    ).one()
    if refused:
        yield Alarm(
            AlarmCode.EFFECT_REFUSED,
            ngettext(
                "The store refuses to withhold, restore or remove %(num)s upload.",
                "The store refuses to withhold, restore or remove %(num)s uploads.",
                refused,
            ),
            _("Run `hashwarden doctor`: it names the permission or ability that is missing."),
        )
    if failing:
        yield Alarm(
            AlarmCode.EFFECT_FAILING,
            ngettext(
                "The effect on %(num)s upload has failed %(tries)s times or more and is tried again.",
                "The effect on %(num)s uploads has failed %(tries)s times or more and is tried again.",
                failing,
                tries=EFFECT_TRIES,
            ),
            _("Check that the object store is reachable; `hashwarden doctor` tries it."),
        )


def _pending(session: Session, settings: Settings) -> Iterator[Alarm]:
    number, age = session.execute(
        select(func.count(), seconds_since(func.min(Upload.first_seen_at))).where(
            Upload.state.in_(_WAITING),
            Upload.priority <= NEW,
            Upload.first_seen_at < func.clock_timestamp() - timedelta(seconds=settings.alarms.pending_after),
        )
    ).one()
    if number:
        yield Alarm(
            AlarmCode.PENDING_OLD,
            ngettext(
                "%(num)s upload has waited too long to be scanned, the oldest for %(time)s.",
                "%(num)s uploads have waited too long to be scanned, the oldest for %(time)s.",
                number,
                time=words(age),
            ),
            _("`hashwarden uploads --state pending` shows why; more workers help when there is no fault."),
        )


def _overdue(session: Session) -> Iterator[Alarm]:
    number, age = session.execute(
        select(func.count(), seconds_since(func.min(Review.due_at))).where(
            Review.state == "open", Review.due_at < func.clock_timestamp()
        )
    ).one()
    if number:
        yield Alarm(
            AlarmCode.REVIEW_OVERDUE,
            ngettext(
                "%(num)s review is past the deadline, the oldest by %(time)s.",
                "%(num)s reviews are past the deadline, the oldest by %(time)s.",
                number,
                time=words(age),
            ),
            _("`hashwarden reviews` lists them first: have them decided."),
        )


def _duties(session: Session) -> Iterator[Alarm]:
    stuck = number_stuck(session)
    if stuck:
        yield Alarm(
            AlarmCode.NO_ADJUDICATOR,
            f"Two persons disagree on {stuck} open reviews, and nobody may decide between them.",
            "`hashwarden people roles NAME adjudicator` lets somebody who took no part.",
        )
    lost = number_lost(session)
    if lost:
        yield Alarm(
            AlarmCode.NOT_PRESERVED,
            f"{lost} files that must be preserved are deleted at the platform, or can't be copied.",
            "Somebody of the role minor_safety finds them on /minors; restore or copy them by hand, at once.",
        )


def _rules(session: Session, settings: Settings) -> Iterator[Alarm]:
    """What the files of this process say, and what it runs with, beside what was approved."""
    row = rulesets.newest(session) if rulesets.two_may_approve(session) else None
    if row is None:
        return
    try:
        approved = Ruleset.read(row.content).revision
    except SettingsError as error:
        yield Alarm(AlarmCode.RULES_UNAPPROVED, error.message, error.next_step)
        return
    if settings.rules.revision != approved:
        yield Alarm(
            AlarmCode.RULES_UNAPPROVED,
            _("Rules were approved that this service does not run with yet."),
            _("Start the services again: they take them."),
        )
    elif settings.unapproved is not None:
        yield Alarm(
            AlarmCode.RULES_UNAPPROVED,
            _("The files say other rules than those that are approved; the approved ones stay in force."),
            _(
                "`hashwarden rules diff` lists what differs; `hashwarden rules propose` asks for a second person."
            ),
        )


def _banks(session: Session, settings: Settings) -> Iterator[Alarm]:
    checkpoints = {
        row.bank: row
        for row in session.execute(
            select(
                BankCheckpoint.bank,
                BankCheckpoint.last_error,
                seconds_since(BankCheckpoint.drained_at).label("age"),
            )
        )
    }
    for name, bank in settings.banks.items():
        if not bank.enabled or bank.exchange == "own":
            continue
        row = checkpoints.get(name)
        age = row.age if row else None
        if age is not None and age <= settings.alarms.bank_stale_after:
            continue
        since = (
            _("Bank %(bank)s was never read to its end.", bank=name)
            if age is None
            else _("Bank %(bank)s was last read to its end %(time)s ago.", bank=name, time=words(age))
        )
        fault = _("Last error: %(fault)s.", fault=row.last_error) if row and row.last_error else ""
        yield Alarm(
            AlarmCode.BANK_STALE,
            joined(since, fault),
            _("Run `hashwarden bank sync %(bank)s`, and check that cron does.", bank=name),
            subject=name,
        )


def _floods(session: Session) -> Iterator[Alarm]:
    number = session.scalar(select(func.count()).select_from(Demotion).where(Demotion.lifted_at.is_(None)))
    if number:
        yield Alarm(
            AlarmCode.FLOOD,
            ngettext(
                "%(num)s bank entry hit so many uploaders that it only flags now.",
                "%(num)s bank entries hit so many uploaders that they only flag now.",
                number,
            ),
            _("Look at their reviews; `hashwarden demotions --lift ID` lets one hold again."),
        )


def _hunts(session: Session, settings: Settings) -> Iterator[Alarm]:
    stopped = session.scalars(
        select(RetroHunt.id).where(RetroHunt.state == HuntState.STOPPED).order_by(RetroHunt.id)
    ).all()
    if stopped:
        ids = ", ".join(map(str, stopped))
        yield Alarm(
            AlarmCode.HUNT_STOPPED,
            _(
                "New bank hashes would hold or flag unusually many past uploads; hunt %(hunts)s waits for a person.",
                hunts=ids,
            ),
            _("Look at `hashwarden retro status`, then `hashwarden retro approve` or `reject` it."),
        )
    if not settings.ledger.enabled:
        return
    looked = session.scalar(select(seconds_since(RetroMark.at)))
    begun = session.scalar(
        select(seconds_since(func.min(RetroHunt.started_at))).where(RetroHunt.state.in_(ACTIVE))
    )
    late = max(looked or 0.0, begun or 0.0)
    if late > HUNT_LATE_AFTER:
        yield Alarm(
            AlarmCode.HUNT_LATE,
            _("The past has not been searched to its end for %(time)s.", time=words(late)),
            _("Check that `hashwarden dispatch` runs, and its log for dispatch_round_failed."),
        )


def _outboxes(session: Session, settings: Settings) -> Iterator[Alarm]:
    overdue = WebhookMessage.created_at < func.clock_timestamp() - timedelta(
        seconds=settings.alarms.pending_after
    )
    number, age = session.execute(
        select(func.count(), seconds_since(func.min(WebhookMessage.created_at))).where(
            WebhookMessage.delivered_at.is_(None), or_(WebhookMessage.dead, overdue)
        )
    ).one()
    if number and settings.webhook.url:
        yield Alarm(
            AlarmCode.WEBHOOK_BACKLOG,
            ngettext(
                "%(num)s webhook has not reached the platform, the oldest for %(time)s.",
                "%(num)s webhooks have not reached the platform, the oldest for %(time)s.",
                number,
                time=words(age),
            ),
            _("Check webhook.url and what answers there; they are sent until they arrive."),
        )
    waiting = (
        select(Feedback.bank, func.count().label("number"), func.max(Feedback.last_error).label("fault"))
        .where(
            Feedback.sent_at.is_(None),
            Feedback.dropped.is_(None),
            Feedback.attempts > 0,
            Feedback.created_at
            < func.clock_timestamp() - timedelta(seconds=settings.alarms.bank_stale_after),
        )
        .group_by(Feedback.bank)
        .order_by(Feedback.bank)
    )
    for row in session.execute(waiting):
        yield Alarm(
            AlarmCode.FEEDBACK_BACKLOG,
            ngettext(
                "%(num)s decision has not reached bank %(bank)s (last error: %(fault)s).",
                "%(num)s decisions have not reached bank %(bank)s (last error: %(fault)s).",
                row.number,
                bank=row.bank,
                fault=row.fault,
            ),
            _("`hashwarden doctor` checks the bank's settings; they are sent until they arrive."),
            subject=row.bank,
        )


def _events(session: Session, settings: Settings) -> Iterator[Alarm]:
    day = func.clock_timestamp() - timedelta(days=1)
    rejects = session.scalar(select(func.count()).select_from(InboxReject).where(InboxReject.at > day))
    if rejects:
        yield Alarm(
            AlarmCode.INBOX_REJECTS,
            ngettext(
                "%(num)s event message of the last day was not understood; its uploads are found by the sweep.",
                "%(num)s event messages of the last day were not understood; their uploads are found by the sweep.",
                rejects,
            ),
            _("Look at the table inbox_rejects, and at what writes to the queue."),
        )
    if not settings.events.sqs_queue_url:
        return
    newest = select(func.max(Upload.id)).scalar_subquery()
    lost = session.scalar(
        select(func.count())
        .select_from(Upload)
        .where(
            and_(
                Upload.id > newest - RECENT_UPLOADS,
                Upload.source == "sweep",
                Upload.first_seen_at > day,
                Upload.first_seen_at > Upload.last_modified + LATE_EVENT,
            )
        )
    )
    if lost:
        yield Alarm(
            AlarmCode.EVENTS_LOST,
            ngettext(
                "The sweep found %(num)s upload in the last day that no event had told of.",
                "The sweep found %(num)s uploads in the last day that no event had told of.",
                lost,
            ),
            _("Check the buckets' notifications and that `hashwarden ingest` runs."),
        )


def words(seconds: float | None) -> Words:
    """An age in the largest unit that fits."""
    seconds = max(seconds or 0.0, 0.0)
    if seconds >= 2 * 86400:
        return ngettext("%(num)s day", "%(num)s days", round(seconds / 86400))
    if seconds >= 2 * 3600:
        return ngettext("%(num)s hour", "%(num)s hours", round(seconds / 3600))
    if seconds >= 2 * 60:
        return ngettext("%(num)s minute", "%(num)s minutes", round(seconds / 60))
    return ngettext("%(num)s second", "%(num)s seconds", round(seconds))
