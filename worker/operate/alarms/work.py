"""Alarms of the work on uploads: the dispatcher, effects at the store, and what waits to be scanned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.settings import Settings
from config.words import _, ngettext
from worker.act import REFUSED
from worker.domain import State
from worker.events.arrivals import NEW
from worker.operate.age import seconds_since, words
from worker.operate.alarms.alarm import Alarm, AlarmCode
from worker.store import heartbeats
from worker.store.models import Heartbeat, Upload

WAITING = (State.PENDING, State.SCANNING)
"""States of an upload that is not scanned yet."""

EFFECT_TRIES = 4
"""Failed tries after which an effect that does not hold is an alarm; the first ones ride out a short fault."""


def dispatch(session: Session, settings: Settings) -> Iterator[Alarm]:
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


def effects(session: Session) -> Iterator[Alarm]:
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


def pending(session: Session, settings: Settings) -> Iterator[Alarm]:
    number, age = session.execute(
        select(func.count(), seconds_since(func.min(Upload.first_seen_at))).where(
            Upload.state.in_(WAITING),
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
