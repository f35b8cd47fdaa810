"""Alarms of the index, and of the workers that compare with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from bank_sync.epoch import EpochError, Pointer
from config.settings import Settings
from config.words import Words, _, joined, ngettext
from worker.operate.age import seconds_since, words
from worker.operate.alarms.alarm import Alarm, AlarmCode
from worker.store import heartbeats
from worker.store.migrate import own_schema
from worker.store.models import Heartbeat

WORKER_SILENT_AFTER = 60.0
"""Seconds after its last sign of life from which a worker process counts as gone."""

PointerReader = Callable[[], Pointer]
"""Reads the epoch pointer. Raises EpochError."""


def index(session: Session, settings: Settings, pointer: PointerReader) -> Iterator[Alarm]:
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


def workers(session: Session, settings: Settings) -> Iterator[Alarm]:
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
        yield Alarm(
            AlarmCode.INDEX_REFUSED,
            _behind(row.number, row.host, row.age, row.fault),
            _("Run `hashwarden index status` on %(host)s: it names the file that is wrong.", host=row.host),
        )


def versions(session: Session) -> Iterator[Alarm]:
    """Workers that live and were made for an older schema than that of this process."""
    old = session.execute(
        select(Heartbeat.host, func.count().label("number"))
        .where(searching(), Heartbeat.schema < own_schema())
        .group_by(Heartbeat.host)
        .order_by(Heartbeat.host)
    )
    for row in old:
        yield Alarm(
            AlarmCode.OLD_VERSION,
            ngettext(
                "On %(host)s %(num)s worker process is of an older version.",
                "On %(host)s %(num)s worker processes are of an older version.",
                row.number,
                host=row.host,
            ),
            _("Restart the workers of %(host)s with the new version.", host=row.host),
        )


def _behind(number: int, host: str, age: float | None, fault: str) -> Words:
    """What the workers of a host compare with: nothing, or something old; and why."""
    told = (
        ngettext(
            "On %(host)s %(num)s worker process had no index.",
            "On %(host)s %(num)s worker processes had no index.",
            number,
            host=host,
        )
        if age is None
        else ngettext(
            "On %(host)s %(num)s worker process had an index that was up to date %(time)s ago.",
            "On %(host)s %(num)s worker processes had an index that was up to date %(time)s ago.",
            number,
            host=host,
            time=words(age),
        )
    )
    return joined(told, _("The newest one is refused (%(fault)s).", fault=fault) if fault else "")
