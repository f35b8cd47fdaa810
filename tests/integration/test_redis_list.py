"""From MinIO's Redis list on a real Valkey to a row, with processes killed and the server away in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import redis
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import func, select, text

from bank_sync.epoch import read_pointer
from config.events import EventSettings
from config.settings import Settings
from worker.cli import cli
from worker.commands.services import own_command
from worker.errors import EventSourceError
from worker.events import bridge
from worker.events.inbox import Inbox
from worker.events.redis_list import BATCH, DEAD_AFTER, NotAListError, RedisListSource
from worker.events.sources import open_source
from worker.operate.check import Status
from worker.operate.doctor import examine
from worker.operate.metrics import Metrics
from worker.storage.s3 import S3Store
from worker.store.models import InboxReject, Upload

if TYPE_CHECKING:
    from tests.integration.conftest import Rig
    from worker.demo.embedded import Embedded

Wait = Callable[..., object]
LIST, PROCESSING = "minio_events", "minio_events:processing"


def access(bucket: str, key: str, version_id: str = "v1") -> str:
    """What MinIO's `notify_redis` appends for an upload."""
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 7, "versionId": version_id}},
    }
    return json.dumps([{"Event": [record], "EventTime": "2026-05-04T09:12:33.401Z"}])


@dataclass
class Place:
    client: redis.Redis
    events: EventSettings
    settings: Settings

    def source(self, **told: Any) -> RedisListSource:  # noqa: ANN401
        return RedisListSource(self.events, **{"poll_seconds": 0} | told)

    def push(self, *bodies: str) -> None:
        for body in bodies:
            self.client.rpush(LIST, body)

    def waiting(self) -> int:
        """How many messages are in the list or in anybody's processing list."""
        names = self.client.keys(f"{PROCESSING}:*")
        return sum(self.client.llen(name) for name in [LIST, *names])

    def grow_old(self) -> None:
        """As if no process had polled for longer than the living do."""
        for name in self.client.zrange(PROCESSING, 0, -1):
            self.client.zincrby(PROCESSING, -DEAD_AFTER - 1, name)  # type: ignore[arg-type] # scores are not asked for


@pytest.fixture
def place(settings: Settings, broker_url: str, embedded: Embedded) -> Iterator[Place]:
    events = settings.events.model_copy(
        update={"sqs_queue_url": "", "redis_url": settings.broker.url, "redis_key": LIST}
    )
    with redis.Redis.from_url(embedded.redis_url) as client:
        yield Place(client, events, settings.model_copy(update={"events": events}))
    assert broker_url


@contextmanager
def ingesting(place: Place, rig: Rig, source: RedisListSource) -> Iterator[None]:
    inbox = Inbox(rig.sessions, S3Store(place.settings.storage), lambda _: None, place.settings.storage)
    stop = threading.Event()
    thread = threading.Thread(target=bridge.run, args=(source, inbox, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


def keys(rig: Rig) -> list[str]:
    with rig.sessions() as session:
        return list(session.scalars(select(Upload.key).order_by(Upload.id)))


def test_what_minio_appends_becomes_rows_and_leaves_the_list(
    place: Place, rig: Rig, versioned_bucket: str, wait_until: Wait
) -> None:
    names = [f"users/7/{number}.jpg" for number in range(25)]
    place.push("what is this", *[access(versioned_bucket, name) for name in names])
    with closing(place.source(poll_seconds=1)) as source, ingesting(place, rig, source):
        wait_until(lambda: len(keys(rig)) == 25)
        place.push(access(versioned_bucket, "late.jpg"))
        wait_until(lambda: len(keys(rig)) == 26)
        wait_until(lambda: place.waiting() == 0)
    assert sorted(keys(rig)) == sorted([*names, "late.jpg"])
    with rig.sessions() as session:
        assert session.scalar(select(func.count()).select_from(InboxReject)) == 1
    assert place.client.keys(f"{PROCESSING}*") == []


def test_what_a_dead_process_had_in_hand_goes_back_to_the_front(place: Place) -> None:
    place.push("a", "b")
    dead = place.source()
    assert [message.body for message in dead.receive()] == ["a", "b"]
    place.push("c")
    with closing(place.source()) as living:
        assert [message.body for message in living.receive()] == ["c"]
        place.grow_old()
        again = living.receive()
        # Its own unfinished one waits behind what is older.
        assert [message.body for message in again] == ["a", "b", "c"]
        living.done(again)
        # One that was thought dead has lost nothing but the message's end.
        dead.done(again[:1])
        assert dead.receive() == living.receive() == []
    dead.close()
    assert place.waiting() == 0


def test_an_orderly_end_gives_back_at_once(place: Place) -> None:
    place.push("a")
    with closing(place.source()) as source:
        assert len(source.receive()) == 1
    with closing(place.source()) as other:
        assert [message.body for message in other.receive()] == ["a"]


def test_two_processes_share_a_list_and_take_nothing_twice(place: Place) -> None:
    place.push(*[str(number) for number in range(3 * BATCH)])
    seen: list[str] = []
    with closing(place.source()) as one, closing(place.source()) as other:
        for source in (one, other, one, other):
            messages = source.receive()
            seen += [message.body for message in messages]
            source.done(messages)
    assert sorted(seen, key=int) == [str(number) for number in range(3 * BATCH)]
    assert place.waiting() == 0


def test_a_body_that_is_no_text_is_ended_too(place: Place) -> None:
    place.client.rpush(LIST, b"\xff\xfe")
    with closing(place.source()) as source:
        (message,) = source.receive()
        source.done([message])
        assert source.receive() == []
    assert place.waiting() == 0


@pytest.fixture
def ingest(environment: dict[str, str]) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    variables = {
        **os.environ,
        **environment,
        "HASHWARDEN_EVENTS__SQS_QUEUE_URL": "",
        "HASHWARDEN_EVENTS__REDIS_URL": environment["HASHWARDEN_BROKER__URL"],
        "HASHWARDEN_EVENTS__REDIS_KEY": LIST,
    }
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(own_command("ingest"), env=variables))  # noqa: S603 (our own command)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(20)


def test_a_process_killed_between_take_and_commit_loses_nothing(
    place: Place,
    rig: Rig,
    versioned_bucket: str,
    ingest: Callable[[], subprocess.Popen[bytes]],
    wait_until: Wait,
) -> None:
    names = ["one.jpg", "two.jpg"]
    with rig.sessions.begin() as session:
        session.execute(text("LOCK TABLE uploads IN ACCESS EXCLUSIVE MODE"))
        first = ingest()
        place.push(*[access(versioned_bucket, name) for name in names])
        wait_until(lambda: place.client.llen(LIST) == 0, timeout=30)
        wait_until(lambda: blocked(session), timeout=30)
        first.send_signal(signal.SIGKILL)
        first.wait(20)
    assert keys(rig) == []
    assert place.waiting() == len(names)

    second = ingest()
    place.grow_old()
    wait_until(lambda: keys(rig) == names, timeout=30)
    wait_until(lambda: place.waiting() == 0, timeout=20)
    second.terminate()
    assert second.wait(40) == 0


def blocked(session: Any) -> bool:  # noqa: ANN401
    """Whether somebody waits for the table that this session has locked."""
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'uploads'::regclass AND NOT granted)"
    return bool(session.scalar(text(query)))


def test_a_killed_server_comes_back_with_every_message(
    place: Place, rig: Rig, embedded: Embedded, versioned_bucket: str, wait_until: Wait
) -> None:
    with closing(place.source(poll_seconds=1)) as source, ingesting(place, rig, source):
        place.push(access(versioned_bucket, "before.jpg"))
        wait_until(lambda: keys(rig) == ["before.jpg"])
        embedded.valkey.kill()
        embedded.valkey.start()
        place.push(access(versioned_bucket, "after.jpg"))
        wait_until(lambda: len(keys(rig)) == 2, timeout=30)
        wait_until(lambda: place.waiting() == 0)


def test_the_namespace_format_is_refused_and_left_as_it_is(
    place: Place, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.client.hset(LIST, "uploads/a.jpg", json.dumps({"Records": []}))
    with pytest.raises(NotAListError, match="format=access"):
        open_source(place.settings)
    with closing(place.source()) as source, pytest.raises(NotAListError, match="namespace"):
        source.receive()
    assert place.client.hlen(LIST) == 1
    (check,) = [check for check in examine(place.settings) if check.part == "events"]
    assert (check.status, check.name) == (Status.FAIL, "event_source")
    assert "format=access" in check.next_step
    monkeypatch.setenv("HASHWARDEN_EVENTS__SQS_QUEUE_URL", "")
    monkeypatch.setenv("HASHWARDEN_EVENTS__REDIS_URL", environment["HASHWARDEN_BROKER__URL"])
    monkeypatch.setenv("HASHWARDEN_EVENTS__REDIS_KEY", LIST)
    answer = CliRunner().invoke(cli, ["ingest"])
    assert answer.exit_code == 1
    assert "Set format=access" in str(answer.output)


def test_the_doctor_looks_at_the_list(place: Place) -> None:
    place.push("a", "b")
    checks = {check.name: check for check in examine(place.settings) if check.part == "events"}
    assert (checks["list"].status, checks["list"].detail) == (Status.OK, "2 messages wait")
    assert checks["appendonly"].status is Status.OK
    place.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        checks = {check.name: check for check in examine(place.settings) if check.part == "events"}
    finally:
        place.client.config_set("maxmemory-policy", "noeviction")
    assert checks["maxmemory-policy"].status is Status.WARN


@pytest.mark.parametrize("address", ["redis://:secret@127.0.0.1:1/0", "redis+socket:///secret/none.sock"])
def test_a_server_that_is_away_is_one_clear_error(place: Place, address: str) -> None:
    events = EventSettings(redis_url=address, redis_key=LIST)
    with closing(RedisListSource(events)) as source, pytest.raises(EventSourceError) as told:
        source.receive()
    assert "can't be reached" in str(told.value)
    assert "secret" not in str(told.value)
    # It may come up later.
    open_source(place.settings.model_copy(update={"events": events})).close()


def test_the_metrics_tell_how_many_wait(place: Place, rig: Rig) -> None:
    def told(events: EventSettings) -> str:
        settings = place.settings.model_copy(update={"events": events})
        return Metrics(settings, rig.sessions, lambda: read_pointer(settings.epochs_dir)).text().decode()

    place.push("a", "b")
    assert "hashwarden_event_list_up 1.0\n" in told(place.events)
    assert "hashwarden_event_list_waiting 2.0\n" in told(place.events)
    away = told(place.events.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}))
    assert "hashwarden_event_list_up 0.0\n" in away
    assert "event_list" not in told(rig.settings.events)
