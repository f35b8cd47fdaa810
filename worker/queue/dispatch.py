"""Announces every due row again, so that a lost message or a wiped broker loses nothing; sends the outboxes.

Safe to run twice: rows are picked with SKIP LOCKED, and a row announced twice is scanned once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta

import redis
import structlog
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import Select, and_, func, or_, select, text, update

from bank_sync import feedback
from bank_sync.epoch import EpochError, is_behind
from bank_sync.sync import compaction_of, publish_changes
from config.broker import redis_client
from config.database import Sessions
from config.settings import Settings
from worker import deadlines
from worker.domain import Lane, State
from worker.outbox import WebhookSender
from worker.preservation import Preserver
from worker.queue.celery_app import queue_name
from worker.retention import Retention
from worker.retro.hunter import Hunter
from worker.storage.s3 import S3Store
from worker.store import heartbeats, ledger
from worker.store.models import MAY_BE_DUE, Upload
from worker.withdrawals import release_withdrawn

log = structlog.get_logger()

Announce = Callable[[Iterable[tuple[int, Lane]]], None]

OUTBOX_EVERY = 1.0
"""Seconds between looks at the outboxes: a hold must reach the platform within seconds."""

CONFIRM_EVERY = 60.0
"""Seconds between two words of the pointer that an unchanged epoch still equals the database."""

COMPACTION_EVERY = 60.0
"""Seconds between looks whether a new base is due."""

HUNT_EVERY = 5.0
"""Seconds between looks for bank changes to search the past for."""

DEADLINES_EVERY = 10.0
"""Seconds between looks for reviews whose time runs out."""

PRESERVE_EVERY = 10.0
"""Seconds between looks for uploads of suspected minors to note and to copy."""

LEDGER_EVERY = 3600.0
"""Seconds between looks at the ledger's days: new ones are made ahead, old ones dropped."""

RETENTION_EVERY = 60.0
"""Seconds between rounds of retention: what was deleted is forgotten within a minute."""

_BATCH = 500
_BROKER_FAULTS = (BrokerError, redis.RedisError, OSError)


class Dispatcher:
    """The loops of `hashwarden dispatch`."""

    def __init__(self, settings: Settings, sessions: Sessions, announce: Announce) -> None:
        self._settings = settings
        self._sessions = sessions
        self._announce = announce
        self._webhooks = WebhookSender(sessions, settings.webhook)
        self._broker = redis_client(settings.broker)
        self._confirm_at = 0.0
        self._compaction = compaction_of(sessions, settings)
        self._hunter = Hunter(settings, sessions)
        self._preserver = Preserver(sessions, S3Store(settings.storage), settings.minors)
        self._retention = Retention(sessions, settings.retention.clear_days, settings.storage.buckets)
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Runs until `stop` is set. A fault of one round is logged and never ends the loop."""
        self._stop = stop
        loops = [
            threading.Thread(target=self._loop, args=(stop, name, every, round_), name=name, daemon=True)
            for name, every, round_ in (
                ("announce", self._settings.queue.dispatch_every, self.announce_due),
                ("webhooks", OUTBOX_EVERY, self.send_webhooks),
                ("feedback", OUTBOX_EVERY, self.send_feedback),
                ("withdrawals", OUTBOX_EVERY, self.release_withdrawn),
                ("deadlines", DEADLINES_EVERY, self.warn_of_deadlines),
                ("preserve", PRESERVE_EVERY, self.preserve_minors),
                ("index", self._settings.index.poll_every, self.publish_index),
                ("compaction", COMPACTION_EVERY, self.compact_index),
                ("retro", HUNT_EVERY, self.hunt),
                ("ledger", LEDGER_EVERY, self.maintain_ledger),
                ("retention", RETENTION_EVERY, self.retain),
            )
        ]
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join()
        self._webhooks.close()
        self._broker.close()

    def _loop(self, stop: threading.Event, name: str, every: float, round_: Callable[[], object]) -> None:
        while not stop.is_set():
            try:
                round_()
            except Exception as fault:  # noqa: BLE001 (the next round is the answer to any fault)
                log.warning("dispatch_round_failed", loop=name, fault=type(fault).__name__)
            stop.wait(every)

    def announce_due(self) -> int:
        """Announces due uploads and due effects, as many as the broker's queues are short of; returns how many."""
        announced = 0
        for lane in Lane:
            depth = self._depth(lane)
            if depth is None:
                return announced
            room = self._settings.queue.depth - depth
            while room > 0:
                ids = self._take_due(lane, min(room, _BATCH), lost=depth == 0)
                if not ids:
                    break
                try:
                    self._announce([(upload_id, lane) for upload_id in ids])
                except _BROKER_FAULTS as fault:
                    log.warning("broker_unreachable", fault=type(fault).__name__)
                    self._not_announced(ids)
                    return announced
                announced += len(ids)
                room -= len(ids)
        self._beat()
        return announced

    def _depth(self, lane: Lane) -> int | None:
        try:
            return int(self._broker.llen(f"{self._settings.broker.key_prefix}{queue_name(lane)}"))
        except _BROKER_FAULTS as fault:
            log.warning("broker_unreachable", fault=type(fault).__name__)
            return None

    def _take_due(self, lane: Lane, limit: int, *, lost: bool) -> list[int]:
        """Marks due rows as announced and returns their ids.

        A row announced lately still waits in the broker, unless the broker's queue is empty: then its message was
        taken by a worker or lost, and after one round of grace it is announced again.
        """
        queue = self._settings.queue
        silence = min(queue.dispatch_every, queue.reannounce_after) if lost else queue.reannounce_after
        with self._sessions.begin() as session:
            rows = session.scalars(due(lane, silence).limit(limit).with_for_update(skip_locked=True)).all()
            for upload in rows:
                upload.announced_at = func.clock_timestamp()
            return [upload.id for upload in rows]

    def _not_announced(self, ids: list[int]) -> None:
        """They are due at the next round, and not only when `reannounce_after` has passed."""
        with self._sessions.begin() as session:
            session.execute(update(Upload).where(Upload.id.in_(ids)).values(announced_at=None))

    def send_webhooks(self) -> int:
        return self._webhooks.send_due().sent

    def send_feedback(self) -> object:
        return feedback.send_due(self._sessions, self._settings.banks)

    def publish_index(self) -> None:
        """Publishes what changed in the banks; if nothing did, says once a minute that the epoch is up to date."""
        with self._sessions.begin() as session:
            if not is_behind(session, self._settings.epochs_dir) and time.monotonic() < self._confirm_at:
                return
            publish_changes(session, self._settings)
        self._confirm_at = time.monotonic() + CONFIRM_EVERY

    def compact_index(self) -> object:
        """Builds a new base when one is due, while the other loops go on."""
        return self._compaction.run()

    def hunt(self) -> None:
        """Searches the past for what banks changed; what it withholds is due and announced by the next round."""
        with suppress(EpochError):
            # Without an index nothing is scanned, which is an alarm of its own.
            self._hunter.round(self._stop.is_set)

    def maintain_ledger(self) -> None:
        ledger.maintain(self._sessions, self._settings.ledger.days, enabled=self._settings.ledger.enabled)

    def retain(self) -> int:
        return self._retention.round(self._stop.is_set)

    def warn_of_deadlines(self) -> int:
        return deadlines.warn(self._sessions)

    def preserve_minors(self) -> int:
        return self._preserver.round()

    def release_withdrawn(self) -> int:
        released = release_withdrawn(self._sessions, keep=self._settings.ledger.enabled)
        if released:
            # Somebody's upload is withheld for nothing: it does not wait for the next round.
            self.announce_due()
        return released

    def _beat(self) -> None:
        with self._sessions.begin() as session:
            heartbeats.beat(session, heartbeats.DISPATCH)
            heartbeats.forget_old(session)


def due(lane: Lane, silence: float) -> Select[Upload]:
    """Uploads of a lane to be scanned, or whose effect is to be made, not announced for `silence` seconds."""
    now = func.clock_timestamp()
    return (
        select(Upload)
        .where(
            text(f"({MAY_BE_DUE})"),
            Upload.lane == lane,
            or_(Upload.announced_at.is_(None), Upload.announced_at < now - timedelta(seconds=silence)),
            or_(
                and_(Upload.state == State.PENDING, Upload.next_attempt_at <= now),
                and_(Upload.state == State.SCANNING, Upload.lease_until < now),
                Upload.access_due_at <= now,
                Upload.purge_at <= now,
            ),
        )
        .order_by(Upload.priority, Upload.next_attempt_at)
    )
