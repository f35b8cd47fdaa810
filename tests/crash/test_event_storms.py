"""Events doubled, reordered, told by two bridges at once or not at all: one row and one outcome a version."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from worker.domain import State
from worker.events import bridge
from worker.events.inbox import Inbox
from worker.events.sqs import SqsSource
from worker.events.sweep import Sweeper
from worker.store.models import History, Upload

if TYPE_CHECKING:
    from tests.conftest import Queue
    from tests.crash.conftest import Fleet


def event(bucket: str, key: str, name: str = "ObjectCreated:Put", **fields: object) -> str:
    """One S3 notification, as AWS words it."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, **fields}},
    }
    return json.dumps({"Records": [record]})


def inbox_of(fleet: Fleet) -> Inbox:
    return Inbox(fleet.rig.sessions, fleet.rig.stages.store, fleet._announcer, fleet.rig.settings.storage)


def rows(fleet: Fleet) -> list[Upload]:
    with fleet.rig.sessions() as session:
        return list(session.scalars(select(Upload).order_by(Upload.id)))


@pytest.mark.parametrize("seed", [1, 2])
def test_08_a_storm_of_doubled_and_reordered_events_makes_one_row_a_version(
    fleet: Fleet, versioned_bucket: str, sqs_queue: Queue, seed: int
) -> None:
    rig = fleet.rig
    rig.publish()
    order = random.Random(seed)  # noqa: S311
    versions: list[tuple[str, str]] = []
    messages: list[str] = []
    for number in range(12):
        key = f"user{number % 4}/p{number % 5}.jpg"
        put = rig.s3.put_object(Bucket=versioned_bucket, Key=key, Body=rig.jpeg(rig.picture(number)))
        versions.append((key, put["VersionId"]))
        etag = put["ETag"].strip('"')
        messages += [
            event(versioned_bucket, key, name, versionId=put["VersionId"], eTag=etag)
            for name in ("ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Put")
        ]
    order.shuffle(messages)
    for body in messages:
        sqs_queue.client.send_message(QueueUrl=sqs_queue.url, MessageBody=body)

    stop = threading.Event()
    sources = [SqsSource(rig.settings.events, rig.settings.storage) for _ in range(2)]
    bridges = [
        threading.Thread(target=bridge.run, args=(source, inbox_of(fleet), stop)) for source in sources
    ]
    for thread in bridges:
        thread.start()
    fleet.start()
    fleet.dispatch()
    try:
        fleet.wait_until(lambda: len(rows(fleet)) == len(versions), timeout=40)
        for row in rows(fleet):
            fleet.wait_for(row.id, State.CLEAR)
        fleet.wait_until(lambda: _left(sqs_queue) == 0, timeout=40)
    finally:
        stop.set()
        for thread in bridges:
            thread.join()
        for source in sources:
            source.close()
    assert sorted((row.key, row.version_id) for row in rows(fleet)) == sorted(versions)
    with rig.sessions() as session:
        scans = session.execute(
            select(History.upload_id, func.count())
            .where(History.to_state == State.SCANNING)
            .group_by(History.upload_id)
        ).all()
    assert Counter(count for _, count in scans) == {1: len(versions)}


def _left(queue: Queue) -> int:
    found = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
    return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])


def test_09_an_upload_that_no_event_told_is_found_by_the_sweep_once(fleet: Fleet, plain_bucket: str) -> None:
    rig = fleet.rig
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    rig.s3.put_object(Bucket=plain_bucket, Key="u/a.jpg", Body=body)
    inbox = inbox_of(fleet)
    sweeper = Sweeper(rig.sessions, rig.stages.store, inbox, rig.settings)
    assert sweeper.recent(plain_bucket)
    (row,) = rows(fleet)
    fleet.start()
    fleet.dispatch()
    fleet.wait_for(row.id, State.HELD)
    assert rig.get(plain_bucket, "u/a.jpg") is None
    for _ in range(2):
        sweeper.recent(plain_bucket)
        sweeper.full(plain_bucket)
    assert [found.id for found in rows(fleet)] == [row.id]
    assert rig.history(row.id).count("held") == 1
