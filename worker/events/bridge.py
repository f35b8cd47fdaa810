"""From an event source to the inbox, until told to stop.

A message is done only when its uploads are committed. No passing fault ends the loop, and each kind of fault is
one log line when it begins and one when it is over.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from config.errors import HashwardenError
from worker.domain import UploadEvent
from worker.errors import StorageError, StorageRefused
from worker.events.inbox import Inbox
from worker.events.parse import parse
from worker.events.source import EventSource, Message

log = structlog.get_logger()

SOURCE = "event"
_OF_ONE_MESSAGE = (StorageError, StorageRefused, DataError, IntegrityError)
"""Faults that one upload of a batch can cause; those of the others are not held up by it."""

BACKOFF_FIRST, BACKOFF_MAX = 0.5, 30.0
"""Seconds; doubled from fault to fault."""


def run(source: EventSource, inbox: Inbox, stop: threading.Event) -> None:
    """Takes messages until `stop` is set; returns after the poll that runs then."""
    faults = _Faults(stop)
    while not stop.is_set():
        try:
            messages = source.receive()
            taken = _take(inbox, messages)
            if taken:
                source.done(taken)
        except (HashwardenError, SQLAlchemyError) as fault:
            faults.wait_after(fault)
            continue
        if messages and len(taken) < len(messages):
            # What was left comes again by itself; the pause keeps a failing store from being asked in a circle.
            stop.wait(BACKOFF_FIRST)
        else:
            faults.over()


def _take(inbox: Inbox, messages: Sequence[Message]) -> list[Message]:
    """All messages in one transaction; when the store fails for one of them, each alone."""
    events: list[UploadEvent] = []
    for message in messages:
        events += _read(inbox, message)
    if not messages:
        return []
    try:
        inbox.take(events, SOURCE)
    except _OF_ONE_MESSAGE as fault:
        if len(messages) == 1:
            raise
        log.warning("batch_failed", fault=_kind(fault), messages=len(messages))
        return [message for message in messages if _take_alone(inbox, message)]
    return list(messages)


def _take_alone(inbox: Inbox, message: Message) -> bool:
    try:
        inbox.take(parse(message.body).events, SOURCE)
    except _OF_ONE_MESSAGE as fault:
        log.warning("message_left", message=message.id, fault=_kind(fault))
        return False
    return True


def _read(inbox: Inbox, message: Message) -> list[UploadEvent]:
    parsed = parse(message.body)
    if parsed.rejects:
        inbox.reject(SOURCE, message.body, parsed.rejects[0])
    return parsed.events


def _kind(fault: Exception) -> str:
    return fault.code if isinstance(fault, HashwardenError) else type(fault).__name__


class _Faults:
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._kind = ""
        self._pause = BACKOFF_FIRST

    def wait_after(self, fault: Exception) -> None:
        kind = _kind(fault)
        if kind != self._kind:
            # SQLAlchemy's texts hold statements, so only their kind is told.
            said = (
                str(fault)
                if isinstance(fault, HashwardenError)
                else "The database failed; it is tried again."
            )
            log.error("bridge_fault", fault=kind, message=said)
        self._kind = kind
        self._stop.wait(self._pause)
        self._pause = min(self._pause * 2, BACKOFF_MAX)

    def over(self) -> None:
        if self._kind:
            log.info("bridge_fault_over", fault=self._kind)
        self._kind = ""
        self._pause = BACKOFF_FIRST
