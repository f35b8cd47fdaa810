"""Prometheus metrics, computed from the database when they are asked for; a restart loses no count.

Labels are states, reason codes, bank names and lanes only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Date, cast, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from bank_sync.bank import BankCheckpoint, BankEntry, Feedback
from bank_sync.epoch import EpochError
from config.database import Sessions
from config.errors import HashwardenError
from config.events import EventSettings
from config.settings import Settings
from worker.act import REFUSED
from worker.deadlines import WARNINGS, used
from worker.events.redis_list import open_list, waiting
from worker.media.isolation import Wall
from worker.operate.age import seconds_since
from worker.operate.alarms.index import PointerReader, searching
from worker.operate.broker import ask
from worker.operate.health import alarms, coverage
from worker.operate.retained import retention
from worker.store import ledger
from worker.store.hunts import HuntState, RetroHunt
from worker.store.models import Demotion, Heartbeat, InboxReject, Review, Sweep, Upload, WebhookMessage

log = structlog.get_logger()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

KEPT_SECONDS = 5.0
"""Several scrapers ask the database once."""


class Metrics:
    """The text of `/metrics`. Safe from several threads."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        pointer: PointerReader,
        *,
        walls: Callable[[], Wall] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`walls` says which walls stand around the decoders of this host; asked once."""
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(settings, sessions, pointer, walls))
        self._clock = clock
        self._lock = threading.Lock()
        self._text = b""
        self._made_at: float | None = None

    def text(self) -> bytes:
        with self._lock:
            now = self._clock()
            if self._made_at is None or now - self._made_at >= KEPT_SECONDS:
                self._text = generate_latest(self._registry)
                self._made_at = now
            return self._text


class _Collector(Collector):
    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        pointer: PointerReader,
        walls: Callable[[], Wall] | None,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._pointer = pointer
        self._walls = walls
        self._standing: Wall | None = None

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            with self._sessions() as session:
                found = list(self._of_database(session))
        except SQLAlchemyError as fault:
            log.warning("metrics_without_database", fault=type(fault).__name__)
            found = []
        yield _gauge("database_up", "Whether the database answers.", bool(found))
        yield from found
        yield _gauge("broker_up", "Whether the broker answers.", self._broker_answers())
        yield from _of_event_list(self._settings.events)
        yield from self._of_sandbox()

    def _of_database(self, session: Session) -> Iterator[Metric]:
        yield from _uploads(session)
        yield from _reviews(session)
        yield from self._index(session)
        yield from _banks(session)
        yield from _outboxes(session)
        yield from _past(session)
        yield from retention(session)
        family = GaugeMetricFamily("hashwarden_alarm", "Alarms that are raised now.", labels=["code", "bank"])
        for alarm in alarms(session, self._settings, self._pointer):
            family.add_metric([alarm.code, alarm.subject], 1)
        yield family

    def _index(self, session: Session) -> Iterator[Metric]:
        try:
            pointer = self._pointer()
        except EpochError:
            yield _gauge("index_epoch", "Number of the epoch in force; 0 without one.", 0)
            return
        yield _workers(session)
        now = session.scalars(select(func.clock_timestamp())).one()
        yield _gauge("index_epoch", "Number of the epoch in force; 0 without one.", pointer.number)
        yield _gauge(
            "index_age_seconds",
            "Time since the epoch in force was last found to equal the database.",
            (now - pointer.confirmed_at).total_seconds(),
        )

    def _broker_answers(self) -> bool:
        try:
            ask(self._settings.broker)
        except HashwardenError:
            return False
        return True

    def _of_sandbox(self) -> Iterator[Metric]:
        if self._walls is None:
            return
        if self._standing is None:
            try:
                self._standing = self._walls()
            except HashwardenError as fault:
                log.warning("metrics_without_sandbox", fault=fault.code)
                return
        family = GaugeMetricFamily(
            "hashwarden_sandbox_wall",
            "Whether a wall around the decoders stands on this host.",
            labels=["wall"],
        )
        for wall in Wall:
            family.add_metric([(wall.name or "").lower()], bool(wall & self._standing))
        yield family


def _of_event_list(events: EventSettings) -> Iterator[Metric]:
    """Of MinIO's list, where events come from one."""
    if not events.redis_url.get_secret_value():
        return
    try:
        with closing(open_list(events)) as client:
            messages = waiting(client, events.redis_key)
    except HashwardenError as fault:
        log.warning("metrics_without_event_list", fault=fault.code)
        yield _gauge("event_list_up", "Whether the Redis with MinIO's list of events answers.", 0)
        return
    yield _gauge("event_list_up", "Whether the Redis with MinIO's list of events answers.", 1)
    yield _gauge("event_list_waiting", "Messages in that list that nobody has taken.", messages)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hashwarden_{name}", text, value=float(value))


def _workers(session: Session) -> Metric:
    family = GaugeMetricFamily(
        "hashwarden_workers",
        "Worker processes that live, by what keeps them from the epoch in force.",
        labels=["fault"],
    )
    counted = {"none": 0} | {
        fault or "none": number
        for fault, number in session.execute(
            select(Heartbeat.index_fault, func.count()).where(searching()).group_by(Heartbeat.index_fault)
        )
    }
    for fault, number in counted.items():
        family.add_metric([fault], number)
    return family


def _uploads(session: Session) -> Iterator[Metric]:
    covered = coverage(session)
    family = GaugeMetricFamily("hashwarden_uploads", "Uploads by state.", labels=["state"])
    for state, number in covered.states.items():
        family.add_metric([state], number)
    yield family
    family = GaugeMetricFamily(
        "hashwarden_uploads_not_compared",
        "Uploads that could not be compared, by reason.",
        labels=["state", "reason"],
    )
    rows = session.execute(
        select(Upload.state, Upload.reason, func.count())
        .where(Upload.state.in_(("unscannable", "unsupported")))
        .group_by(Upload.state, Upload.reason)
    )
    for state, reason, number in rows:
        family.add_metric([state, reason], number)
    yield family
    yield _gauge("uploads_seen", "Uploads known.", covered.seen)
    yield _gauge("uploads_scanned", "Uploads that were compared with the banks.", covered.scanned)
    yield _gauge("backfill_pending", "Old stock that waits behind new uploads.", covered.backfill)
    yield _gauge(
        "oldest_pending_seconds",
        "Age of the oldest new upload that is not scanned; 0 without one.",
        covered.oldest_pending or 0.0,
    )
    yield _gauge("lag_seconds", "First sight to outcome, 95th percentile of the newest.", covered.lag or 0.0)
    family = GaugeMetricFamily(
        "hashwarden_pending_attempts", "Uploads that wait, by attempts used.", labels=["lane", "attempts"]
    )
    rows = session.execute(
        select(Upload.lane, Upload.attempts, func.count())
        .where(Upload.state.in_(("pending", "scanning")))
        .group_by(Upload.lane, Upload.attempts)
    )
    for lane, attempts, number in rows:
        family.add_metric([lane, str(attempts)], number)
    yield family
    due, refused = session.execute(
        select(func.count(), func.count().filter(Upload.access_applied == REFUSED)).where(
            Upload.access_due_at.is_not(None)
        )
    ).one()
    yield _gauge("effects_due", "Uploads whose access is still to be made to agree with their state.", due)
    yield _gauge("effects_refused", "Of those, refused by the store.", refused)


def _reviews(session: Session) -> Iterator[Metric]:
    number, age = session.execute(
        select(func.count(), seconds_since(func.min(Review.opened_at))).where(Review.state == "open")
    ).one()
    yield _gauge("reviews_open", "Reviews that wait for a person.", number)
    yield _gauge("oldest_review_seconds", "Age of the oldest of them; 0 without one.", age or 0.0)
    family = GaugeMetricFamily(
        "hashwarden_reviews_due",
        "Open reviews that have used this share of their time, in per cent; 100: breached.",
        labels=["percent"],
    )
    shares = [func.count().filter(used() >= share) for share in WARNINGS]
    counted = session.execute(select(*shares).where(Review.state == "open")).one()
    for share, due in zip(WARNINGS, counted, strict=True):
        family.add_metric([str(share)], due)
    yield family
    demoted = session.scalar(select(func.count()).select_from(Demotion).where(Demotion.lifted_at.is_(None)))
    yield _gauge("demotions_open", "Bank entries that the flood breaker set to flag-only.", demoted or 0)


def _banks(session: Session) -> Iterator[Metric]:
    family = GaugeMetricFamily("hashwarden_bank_entries", "Live entries by bank.", labels=["bank"])
    for bank, number in session.execute(
        select(BankEntry.bank, func.count()).where(BankEntry.live).group_by(BankEntry.bank)
    ):
        family.add_metric([bank], number)
    yield family
    family = GaugeMetricFamily(
        "hashwarden_bank_age_seconds", "Time since a bank was last read to its end.", labels=["bank"]
    )
    for bank, age in session.execute(
        select(BankCheckpoint.bank, seconds_since(BankCheckpoint.drained_at)).where(
            BankCheckpoint.drained_at.is_not(None)
        )
    ):
        family.add_metric([bank], age)
    yield family


def _past(session: Session) -> Iterator[Metric]:
    days = ledger.partitions(session)
    today = session.scalars(select(cast(func.timezone("UTC", func.clock_timestamp()), Date))).one()
    oldest = (today - days[0].day).days if days else 0
    yield _gauge(
        "ledger_rows", "Hashes of cleared uploads, as the database estimates.", ledger.estimated_rows(session)
    )
    yield _gauge("ledger_days", "Age in days of the ledger's oldest day.", max(0, oldest))
    family = GaugeMetricFamily(
        "hashwarden_retro_hunts", "Searches of the past for new bank hashes, by state.", labels=["state"]
    )
    counted = dict.fromkeys(HuntState, 0)
    for state, number in session.execute(select(RetroHunt.state, func.count()).group_by(RetroHunt.state)):
        counted[HuntState(state)] = number
    for state, number in counted.items():
        family.add_metric([state], number)
    yield family
    moved = session.scalar(select(func.coalesce(func.sum(RetroHunt.moved), 0)))
    yield _gauge("retro_moved", "Uploads that hunts have held or flagged.", float(moved or 0))


def _outboxes(session: Session) -> Iterator[Metric]:
    waiting = WebhookMessage.delivered_at.is_(None)
    number, dead, age = session.execute(
        select(
            func.count().filter(~WebhookMessage.dead),
            func.count().filter(WebhookMessage.dead),
            seconds_since(func.min(WebhookMessage.created_at).filter(~WebhookMessage.dead)),
        ).where(waiting)
    ).one()
    yield _gauge("webhooks_waiting", "Webhooks not yet delivered.", number)
    yield _gauge("webhooks_dead", "Webhooks that the platform refused for good.", dead)
    yield _gauge("oldest_webhook_seconds", "Age of the oldest that waits; 0 without one.", age or 0.0)
    family = GaugeMetricFamily(
        "hashwarden_feedback_waiting", "Feedback not yet sent, by bank.", labels=["bank"]
    )
    for bank, count in session.execute(
        select(Feedback.bank, func.count())
        .where(Feedback.sent_at.is_(None), Feedback.dropped.is_(None))
        .group_by(Feedback.bank)
    ):
        family.add_metric([bank], count)
    yield family
    rejects = session.scalar(select(func.coalesce(func.sum(InboxReject.seen), 0)))
    yield _gauge("inbox_rejects", "Event messages that were not understood.", rejects or 0)
    found = session.scalar(select(func.coalesce(func.sum(Sweep.found), 0)).where(Sweep.kind == "recent"))
    yield _gauge("sweep_found", "Uploads of the last recent sweeps that no event had told of.", found or 0)
