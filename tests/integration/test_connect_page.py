"""docs/how-to/connect-s3-events.md: the JSON of AWS's three ways, as it stands there, brings uploads to the inbox."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest

from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY, Embedded
from worker.domain import EventKind, UploadEvent
from worker.events.parse import parse
from worker.events.sqs import SqsSource

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from config.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/how-to/connect-s3-events.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w-]+\.json)`[^\n]*:\n\n```json\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE))
ACCOUNT = "123456789012"
KEY = "users/7/an odd näme+&100%.jpg"


def told(name: str, bucket: str, queue: str = "", topic: str = "") -> Any:  # noqa: ANN401 (any JSON)
    """A file of the page, with the placeholders filled in."""
    text = FILES[name].replace("REGION", REGION).replace("ACCOUNT", ACCOUNT)
    if queue:
        text = re.sub(r"arn:aws:sqs:[\w:-]+:hashwarden-uploads(?=[\"\\])", queue, text)
    if topic:
        text = re.sub(r"arn:aws:sns:[\w:-]+:uploads(?=[\"\\])", topic, text)
    text = text.replace("arn:aws:s3:::uploads", f"arn:aws:s3:::{bucket}").replace(
        '["uploads"]', f'["{bucket}"]'
    )
    return json.loads(text)


@pytest.fixture
def aws(embedded: Embedded) -> Iterator[Callable[[str], Any]]:
    """A client of a service of moto by its name; not all have stubs."""
    made = []

    def client(service: str) -> Any:  # noqa: ANN401
        made.append(
            cast(Any, boto3).client(
                service,
                endpoint_url=embedded.s3_endpoint,
                region_name=REGION,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
            )
        )
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
def arrivals(
    settings: Settings, sqs: SQSClient, s3: S3Client, plain_bucket: str, wait_until: Callable[..., object]
) -> Callable[[], list[UploadEvent]]:
    """Puts an object into the plain bucket, and gives what the queue says was created."""
    attributes = told("queue.json", plain_bucket)
    # This one names a dead-letter queue.
    dead = sqs.create_queue(QueueName="hashwarden-uploads-dead")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=settings.events.sqs_queue_url, Attributes=attributes)
    assert dead

    def run() -> list[UploadEvent]:
        s3.put_object(Bucket=plain_bucket, Key=KEY, Body=b"picture")
        found: list[UploadEvent] = []
        with closing(SqsSource(settings.events, settings.storage)) as source:

            def came() -> bool:
                for message in source.receive():
                    parsed = parse(message.body)
                    assert parsed.rejects == []
                    found.extend(event for event in parsed.events if event.kind is EventKind.CREATED)
                return bool(found)

            wait_until(came, timeout=20)
        return found

    return run


def queue_arn(sqs: SQSClient, settings: Settings) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=settings.events.sqs_queue_url, AttributeNames=["QueueArn"])
    return answer["Attributes"]["QueueArn"]


def names(events: list[UploadEvent], bucket: str) -> bool:
    return {(event.ref.bucket, event.ref.key, event.ref.size) for event in events} == {(bucket, KEY, 7)}


def test_straight_to_sqs(
    arrivals: Callable[[], list[UploadEvent]],
    settings: Settings,
    sqs: SQSClient,
    s3: S3Client,
    plain_bucket: str,
) -> None:
    s3.put_bucket_notification_configuration(
        Bucket=plain_bucket,
        NotificationConfiguration=told("notify.json", plain_bucket, queue_arn(sqs, settings)),
    )
    assert names(arrivals(), plain_bucket)


@pytest.mark.parametrize("raw", ["true", "false"])
def test_through_sns(
    arrivals: Callable[[], list[UploadEvent]],
    settings: Settings,
    sqs: SQSClient,
    s3: S3Client,
    plain_bucket: str,
    aws: Callable[[str], Any],
    raw: str,
) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name="uploads", Attributes=told("topic.json", plain_bucket))["TopicArn"]
    queue = queue_arn(sqs, settings)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": raw})
    s3.put_bucket_notification_configuration(
        Bucket=plain_bucket, NotificationConfiguration=told("notify-sns.json", plain_bucket, topic=topic)
    )
    assert names(arrivals(), plain_bucket)
    sns.delete_topic(TopicArn=topic)


def test_through_eventbridge(
    arrivals: Callable[[], list[UploadEvent]],
    settings: Settings,
    sqs: SQSClient,
    s3: S3Client,
    plain_bucket: str,
    aws: Callable[[str], Any],
) -> None:
    events = aws("events")
    events.put_rule(Name="hashwarden-uploads", EventPattern=json.dumps(told("pattern.json", plain_bucket)))
    targets = told("targets.json", plain_bucket, queue_arn(sqs, settings))
    assert events.put_targets(Rule="hashwarden-uploads", Targets=targets)["FailedEntryCount"] == 0
    s3.put_bucket_notification_configuration(
        Bucket=plain_bucket, NotificationConfiguration=told("notify-eventbridge.json", plain_bucket)
    )
    assert names(arrivals(), plain_bucket)


def test_every_file_of_the_page_is_json_and_every_policy_lets_only_its_source_in() -> None:
    assert len(FILES) == 8
    for name in FILES:
        read = told(name, "uploads")
        if "Policy" in read:
            (statement,) = json.loads(read["Policy"])["Statement"]
            assert statement["Condition"]["ArnLike"]["aws:SourceArn"] == "arn:aws:s3:::uploads"
            assert set(statement["Principal"]) == {"Service"}
