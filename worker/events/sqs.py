"""Event messages from an SQS queue by long polls.

Messages that are not done come again by the queue's own visibility timeout, and its redrive policy moves those that
never succeed to a dead-letter queue; neither is set from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from config.events import EventSettings
from config.settings import StorageSettings
from worker.errors import EventSourceError
from worker.events.source import Message

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BATCH = 10
"""SQS gives and deletes at most ten messages a call."""

_ANSWER_GRACE = 10
"""Seconds on top of a long poll until the connection counts as dead."""


class SqsSource:
    """One queue. Credentials and region are those of the storage settings."""

    def __init__(self, events: EventSettings, storage: StorageSettings) -> None:
        self._url = events.sqs_queue_url
        self._wait = events.sqs_wait_seconds
        self._client: SQSClient = boto3.client(
            "sqs",
            endpoint_url=events.sqs_endpoint_url or None,
            region_name=storage.region,
            aws_access_key_id=storage.access_key.get_secret_value() if storage.access_key else None,
            aws_secret_access_key=storage.secret_key.get_secret_value() if storage.secret_key else None,
            config=Config(
                connect_timeout=storage.connect_timeout,
                read_timeout=events.sqs_wait_seconds + _ANSWER_GRACE,
                retries={"mode": "standard", "total_max_attempts": 2},
            ),
        )

    def receive(self) -> list[Message]:
        with _sqs_errors():
            answer = self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=self._wait
            )
        return [
            Message(message["MessageId"], message["Body"], message["ReceiptHandle"])
            for message in answer.get("Messages", [])
        ]

    def done(self, messages: Sequence[Message]) -> None:
        for start in range(0, len(messages), BATCH):
            with _sqs_errors():
                answer = self._client.delete_message_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": message.handle}
                        for number, message in enumerate(messages[start : start + BATCH])
                    ],
                )
            if answer.get("Failed"):
                raise EventSourceError(
                    f"SQS did not delete {len(answer['Failed'])} messages ({answer['Failed'][0]['Code']}).",
                    next_step="They come again; their uploads are known already.",
                )

    def close(self) -> None:
        self._client.close()


@contextmanager
def _sqs_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise EventSourceError(
            f"SQS refused or failed ({code}).",
            next_step="Check events.sqs_queue_url and the permissions sqs:ReceiveMessage and sqs:DeleteMessage.",
        ) from None
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise EventSourceError(
            f"SQS can't be reached ({type(error).__name__}).",
            next_step="It is tried again; check events.sqs_endpoint_url, region and credentials if this stays.",
        ) from None
