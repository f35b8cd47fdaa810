"""From a plain put_object through the store's own notification and SQS to a row, and what faults in between do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from config.database import Sessions, make_engine, make_sessions
from worker.domain import Lane, State, UploadEvent
from worker.errors import EventSourceError, StorageError
from worker.events import bridge
from worker.events.arrivals import Taken
from worker.events.inbox import Inbox
from worker.events.memory import MemorySource
from worker.events.source import EventSource, Message
from worker.events.sqs import SqsSource
from worker.storage.memory import MemoryStore
from worker.storage.protocol import Versioning
from worker.storage.s3 import S3Store
from worker.store.models import InboxReject, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from config.settings import Settings

KEY = "users/7/an odd näme+&.jpg"


@dataclass
class Place:
    settings: Settings
    sessions: Sessions
    inbox: Inbox
    announced: list[tuple[int, Lane]] = field(default_factory=list)

    def announce(self, calls: Iterable[tuple[int, Lane]]) -> None:
        self.announced += calls

    def rows(self) -> list[Upload]:
        with self.sessions() as session:
            return list(session.scalars(select(Upload).order_by(Upload.id)))

    @contextmanager
    def running(self, source: EventSource) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=bridge.run, args=(source, self.inbox, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    engine = make_engine(settings.database)
    sessions = make_sessions(engine)
    place = Place(settings, sessions, None)  # type: ignore[arg-type]
    place.inbox = Inbox(sessions, S3Store(settings.storage), place.announce, settings.storage)
    yield place
    engine.dispose()


def message(bucket: str, key: str, **told: Any) -> str:  # noqa: ANN401
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 7} | told},
    }
    return json.dumps({"Records": [record]})


def test_put_object_becomes_a_row(
    place: Place, s3: S3Client, versioned_bucket: str, wait_until: Callable[..., object]
) -> None:
    answer = s3.put_object(Bucket=versioned_bucket, Key=KEY, Body=b"picture")
    with closing(SqsSource(place.settings.events, place.settings.storage)) as source:
        with place.running(source):
            wait_until(place.rows, timeout=20)
            s3.put_object(Bucket=versioned_bucket, Key="clip.mp4", Body=b"video")
            wait_until(lambda: len(place.rows()) == 2, timeout=20)
        assert source.receive() == []
    row, clip = place.rows()
    assert (row.bucket, row.key, row.version_id) == (versioned_bucket, KEY, answer["VersionId"])
    assert (row.size, row.state, row.source) == (7, State.PENDING, "event")
    assert place.announced == [(row.id, Lane.IMAGE), (clip.id, Lane.VIDEO)]


def test_both_events_of_a_multipart_upload_make_one_row(
    place: Place, s3: S3Client, versioned_bucket: str, wait_until: Callable[..., object]
) -> None:
    upload = s3.create_multipart_upload(Bucket=versioned_bucket, Key="big.mp4")["UploadId"]
    part = s3.upload_part(
        Bucket=versioned_bucket, Key="big.mp4", UploadId=upload, PartNumber=1, Body=b"x" * 6_000_000
    )
    s3.complete_multipart_upload(
        Bucket=versioned_bucket,
        Key="big.mp4",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    s3.put_object(Bucket=versioned_bucket, Key="last.jpg", Body=b"picture")
    with closing(SqsSource(place.settings.events, place.settings.storage)) as source, place.running(source):
        wait_until(lambda: "last.jpg" in [row.key for row in place.rows()], timeout=20)
    assert sorted(row.key for row in place.rows()) == ["big.mp4", "last.jpg"]


@pytest.fixture
def memory_place(place: Place) -> tuple[Place, MemoryStore]:
    store = MemoryStore()
    for bucket in place.settings.storage.buckets:
        store.create_bucket(bucket, Versioning.ENABLED)
    place.inbox = Inbox(place.sessions, store, place.announce, place.settings.storage)
    return place, store


def test_unknown_shapes_are_kept_and_the_rest_of_the_batch_goes_on(
    memory_place: tuple[Place, MemoryStore], versioned_bucket: str, wait_until: Callable[..., object]
) -> None:
    place, _ = memory_place
    source = MemorySource(wait=0.1)
    for body in ("what is this", "what is this", '{"Event": "s3:TestEvent", "Bucket": "b"}'):
        source.send(body)
    source.send(message(versioned_bucket, "a.jpg", versionId="v1"))
    with place.running(source):
        wait_until(place.rows)
        wait_until(lambda: source.receive() == [])
    with place.sessions() as session:
        (reject,) = session.scalars(select(InboxReject))
    assert (reject.body, reject.reason, reject.seen) == ("what is this", "not_json", 2)


def test_a_message_of_a_failing_object_comes_again_and_holds_up_no_other(
    memory_place: tuple[Place, MemoryStore],
    versioned_bucket: str,
    wait_until: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, store = memory_place
    store.put_object(versioned_bucket, "failing.jpg", b"picture")
    complete = store.complete
    healthy = threading.Event()

    def failing(ref: Any) -> Any:  # noqa: ANN401
        if not healthy.is_set():
            raise StorageError("The object store answered 503.")
        return complete(ref)

    monkeypatch.setattr(store, "complete", failing)
    source = MemorySource(visibility=0.3, wait=0.1)
    source.send(message(versioned_bucket, "failing.jpg"))
    source.send(message(versioned_bucket, "fine.jpg", versionId="v1"))
    with place.running(source):
        wait_until(lambda: [row.key for row in place.rows()] == ["fine.jpg"])
        healthy.set()
        wait_until(lambda: len(place.rows()) == 2)


class Faulty:
    """A source whose polls fail before they work."""

    def __init__(self, source: MemorySource, faults: list[Exception]) -> None:
        self._source = source
        self._faults = faults

    def receive(self) -> list[Message]:
        if self._faults:
            raise self._faults.pop(0)
        return self._source.receive()

    def done(self, messages: Any) -> None:  # noqa: ANN401
        self._source.done(messages)

    def close(self) -> None:
        self._source.close()


def test_faults_of_the_queue_and_the_database_pass(
    memory_place: tuple[Place, MemoryStore],
    versioned_bucket: str,
    wait_until: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, _ = memory_place
    monkeypatch.setattr(bridge, "BACKOFF_FIRST", 0.01)
    take = place.inbox.take
    database_faults = [OperationalError("SELECT", {}, Exception("gone"))]

    def failing(events: list[UploadEvent], source: str) -> Taken:
        if events and database_faults:
            raise database_faults.pop()
        return take(events, source)

    monkeypatch.setattr(place.inbox, "take", failing)
    memory = MemorySource(visibility=0.2, wait=0.05)
    memory.send(message(versioned_bucket, "a.jpg", versionId="v1"))
    with place.running(Faulty(memory, [EventSourceError("down"), EventSourceError("down")])):
        wait_until(place.rows)
        wait_until(lambda: memory._messages == {})
    assert len(place.rows()) == 1


def test_each_kind_of_fault_is_one_line(
    memory_place: tuple[Place, MemoryStore],
    wait_until: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from structlog.testing import capture_logs

    place, _ = memory_place
    monkeypatch.setattr(bridge, "BACKOFF_FIRST", 0.01)
    faults: list[Exception] = [EventSourceError("SQS can't be reached.") for _ in range(4)]
    with capture_logs() as lines, place.running(Faulty(MemorySource(wait=0.02), faults)):
        wait_until(lambda: any(line["event"] == "bridge_fault_over" for line in lines))
    assert [line["event"] for line in lines] == ["bridge_fault", "bridge_fault_over"]
