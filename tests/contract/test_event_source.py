"""What every event source does: one suite for SQS, MinIO's Redis list and the twin in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import redis

from worker.errors import EventSourceError
from worker.events.memory import MemorySource
from worker.events.redis_list import RedisListSource
from worker.events.source import EventSource, Message
from worker.events.sqs import SqsSource

if TYPE_CHECKING:
    from config.settings import Settings

VISIBILITY = 1


@dataclass
class Place:
    source: EventSource
    send: Callable[[str], object]
    wait_until: Callable[..., object]

    def receive(self, count: int) -> list[Message]:
        received: list[Message] = []

        def enough() -> bool:
            received.extend(self.source.receive())
            return len({message.id for message in received}) >= count

        self.wait_until(enough, timeout=15)
        return received

    def is_empty(self) -> bool:
        return self.source.receive() == []


@pytest.fixture(params=["memory", "sqs", "redis"])
def place(request: pytest.FixtureRequest, wait_until: Callable[..., object]) -> Iterator[Place]:
    if request.param == "memory":
        memory = MemorySource(visibility=VISIBILITY)
        yield Place(memory, memory.send, wait_until)
        return
    from config.events import EventSettings
    from config.settings import StorageSettings

    embedded = request.getfixturevalue("embedded")
    if request.param == "redis":
        address = request.getfixturevalue("broker_url")
        listed = RedisListSource(EventSettings(redis_url=address, redis_key="uploads"), poll_seconds=0)
        with closing(listed), redis.Redis.from_url(embedded.redis_url) as client:
            yield Place(listed, lambda body: client.rpush("uploads", body), wait_until)
        return
    sqs = request.getfixturevalue("sqs")
    url = sqs.create_queue(
        QueueName=f"contract-{request.node.name[:20].strip('[]')}-{uuid4().hex}",
        Attributes={"VisibilityTimeout": str(VISIBILITY)},
    )["QueueUrl"]
    source = SqsSource(
        EventSettings(sqs_queue_url=url, sqs_endpoint_url=embedded.s3_endpoint, sqs_wait_seconds=0),
        StorageSettings(access_key="testing", secret_key="testing-secret"),  # noqa: S106 (any is taken)
    )
    with closing(source):
        yield Place(source, lambda body: sqs.send_message(QueueUrl=url, MessageBody=body), wait_until)


def test_an_empty_source_answers_and_does_not_wait_for_ever(place: Place) -> None:
    assert place.source.receive() == []


def test_bodies_come_as_they_were_sent(place: Place) -> None:
    bodies = ['{"Records": []}', "näme \u20ac"]
    for body in bodies:
        place.send(body)
    assert sorted(message.body for message in place.receive(2)) == sorted(bodies)


def test_a_message_that_is_not_done_comes_again_and_then_no_more(place: Place) -> None:
    place.send("one")
    first = place.receive(1)
    again = place.receive(1)
    assert {message.id for message in again} == {message.id for message in first}
    place.source.done(again[-1:])
    place.send("two")
    received = place.receive(1)
    assert {message.body for message in received} == {"two"}


def test_more_than_one_batch(place: Place) -> None:
    for number in range(23):
        place.send(str(number))
    seen: set[str] = set()

    def drained() -> bool:
        messages = place.source.receive()
        assert len(messages) <= 10
        place.source.done(messages)
        seen.update(message.body for message in messages)
        return len(seen) == 23

    place.wait_until(drained, timeout=15)
    assert place.is_empty()


def test_done_with_nothing(place: Place) -> None:
    place.source.done([])
    assert place.is_empty()


@contextmanager
def unreachable(settings: Settings) -> Iterator[SqsSource]:
    told = settings.events.model_copy(update={"sqs_endpoint_url": "http://127.0.0.1:9"})
    with closing(SqsSource(told, settings.storage)) as source:
        yield source


def test_an_unreachable_queue_is_one_clear_error(settings: Settings) -> None:
    with unreachable(settings) as source, pytest.raises(EventSourceError, match="can't be reached"):
        source.receive()


def test_a_missing_queue_is_one_clear_error(settings: Settings) -> None:
    told = settings.events.model_copy(update={"sqs_queue_url": f"{settings.events.sqs_endpoint_url}/1/none"})
    with (
        closing(SqsSource(told, settings.storage)) as source,
        pytest.raises(EventSourceError, match="refused"),
    ):
        source.receive()
