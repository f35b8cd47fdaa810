"""What the dispatcher and the outboxes do when one part of the world is away, slow or strange."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from config.settings import WebhookSettings
from worker import pipeline
from worker.domain import Lane
from worker.outbox import WebhookSender
from worker.queue.dispatch import Dispatcher
from worker.queue.tasks import run_task
from worker.store.models import WebhookMessage

if TYPE_CHECKING:
    from config.database import Sessions
    from tests.integration.conftest import Rig

SECRET = "whsec_" + "A" * 32


def messages(sessions: Sessions, *fast: bool) -> None:
    with sessions.begin() as session:
        for number, quick in enumerate(fast):
            session.add(WebhookMessage(type="item.held", payload={"number": number}, fast=quick))


def sender(sessions: Sessions, answer: Any) -> WebhookSender:  # noqa: ANN401 (httpx's handler)
    settings = WebhookSettings(url="http://platform.test/hook", secret=SecretStr(SECRET), timeout=5)
    return WebhookSender(sessions, settings, transport=httpx.MockTransport(answer))


def test_a_message_is_taken_only_when_it_is_its_turn(rig: Rig) -> None:
    """Waiting behind a platform that hangs uses up no try, and a hold queued meanwhile is not kept waiting."""
    messages(rig.sessions, False, False)
    told: list[int] = []

    def slow(request: httpx.Request) -> httpx.Response:
        number = json.loads(request.content)["data"]["number"]
        told.append(number)
        if len(told) == 1:
            with rig.sessions.begin() as session:
                waiting = session.scalars(select(WebhookMessage).where(WebhookMessage.attempts == 0)).all()
                assert len(waiting) == 1
                session.add(WebhookMessage(type="item.held", payload={"number": 9}, fast=True))
        return httpx.Response(204)

    sending = sender(rig.sessions, slow)
    assert sending.send_due().sent == 3
    sending.close()
    assert told == [0, 9, 1]


@pytest.mark.parametrize("header", [b"\xb2", b"1e9", b"-5", b"99999999999", b""])
def test_a_strange_retry_after_only_puts_the_message_off(rig: Rig, header: bytes) -> None:
    messages(rig.sessions, False)
    sending = sender(rig.sessions, lambda _: httpx.Response(503, headers=[(b"Retry-After", header)]))
    assert sending.send_due().failed == 1
    sending.close()
    with rig.sessions() as session:
        assert session.scalars(select(WebhookMessage.error)).one() == "http_503"


def test_rows_that_the_broker_did_not_take_are_announced_at_the_next_round(
    rig: Rig, versioned_bucket: str
) -> None:
    upload_id = rig.put(versioned_bucket, "u/a.jpg", b"a")

    def full(_: object) -> None:
        raise redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'")

    assert Dispatcher(rig.settings, rig.sessions, full).announce_due() == 0
    assert rig.row(upload_id).announced_at is None


def test_a_dispatcher_beside_another_announces_each_row_once(rig: Rig, versioned_bucket: str) -> None:
    for number in range(5):
        rig.put(versioned_bucket, f"u/{number}.jpg", b"a")
    announced: list[tuple[int, Lane]] = []
    for _ in range(2):
        Dispatcher(rig.settings, rig.sessions, announced.extend).announce_due()
    assert len(announced) == len(set(announced)) == 5


@pytest.mark.parametrize(
    "fault", [MemoryError(), IntegrityError("INSERT", {}, Exception("Key (key)=(a.jpg)"))]
)
def test_no_fault_leaves_the_task(rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """Celery logs the text of what leaves a task, and a MemoryError that does ends its worker."""
    ran: list[int] = []

    def fail(_: object, upload_id: int) -> None:
        ran.append(upload_id)
        raise fault

    monkeypatch.setattr(pipeline, "process", fail)
    run_task(lambda: rig.stages, 7)
    assert ran == [7]
