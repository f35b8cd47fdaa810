"""Whether what tells of uploads is there, is of a kind that loses none, and is not about to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from config.events import EventSettings
from config.inbox import InboxSettings
from config.settings import Settings
from worker.events.redis_list import open_list, redis_errors, waiting
from worker.operate.broker import facts_of
from worker.operate.check import Check, Status
from worker.operate.doctor_redis import keeping_checks


def event_checks(settings: Settings) -> Iterator[Check]:
    if settings.events.sqs_queue_url:
        yield from _sqs(settings)
    if settings.events.redis_url.get_secret_value():
        yield from _redis(settings.events)
    if settings.inbox.is_open:
        yield Check("events", "inbox", Status.OK, _who_pushes(settings.inbox))
    if not settings.told_of_uploads:
        yield Check(
            "events",
            "queue",
            Status.WARN,
            f"None is set: uploads are found by the sweep, every {settings.sweep.recent_every:g} s.",
            "docs/how-to/connect-s3-events.md says how AWS, MinIO and Ceph tell of uploads at once.",
        )


def _who_pushes(inbox: InboxSettings) -> str:
    pushing = [
        who
        for who, tokens in (("stores", inbox.store_tokens), ("the platform", inbox.platform_tokens))
        if tokens
    ]
    return f"{' and '.join(pushing)} may push"


def _sqs(settings: Settings) -> Iterator[Check]:
    events, storage = settings.events, settings.storage
    client = boto3.client(
        "sqs",
        endpoint_url=events.sqs_endpoint_url or None,
        region_name=storage.region,
        aws_access_key_id=storage.access_key.get_secret_value() if storage.access_key else None,
        aws_secret_access_key=storage.secret_key.get_secret_value() if storage.secret_key else None,
        config=Config(
            connect_timeout=storage.connect_timeout, read_timeout=10, retries={"total_max_attempts": 2}
        ),
    )
    try:
        told = client.get_queue_attributes(
            QueueUrl=events.sqs_queue_url, AttributeNames=["ApproximateNumberOfMessages", "RedrivePolicy"]
        )["Attributes"]
    except (ClientError, BotoCoreError, ValueError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        yield Check(
            "events",
            "queue",
            Status.FAIL,
            f"The queue can't be reached ({code}).",
            "Check events.sqs_queue_url, events.sqs_endpoint_url, the region and sqs:GetQueueAttributes.",
        )
        return
    finally:
        client.close()
    yield Check("events", "queue", Status.OK, f"{told.get('ApproximateNumberOfMessages', '?')} messages wait")
    if "RedrivePolicy" not in told:
        yield Check(
            "events",
            "dead-letter queue",
            Status.WARN,
            "None: a message that can never be taken comes again until it expires.",
            "Give the queue a redrive policy.",
        )


def _redis(events: EventSettings) -> Iterator[Check]:
    with closing(open_list(events)) as client, redis_errors(events.redis_key):
        yield Check("events", "list", Status.OK, f"{waiting(client, events.redis_key)} messages wait")
        facts = facts_of(client)
    yield from keeping_checks(
        "events",
        facts,
        evicts="events are dropped",
        forgets="a restart forgets events, and the sweep has to find their uploads",
        where="where MinIO writes its list",
    )
