"""Fixtures on real servers: PostgreSQL, Valkey, S3 and SQS, started once a session when a test first asks.

Each test gets a database, a broker and buckets of its own; none sees what another left. A test may kill or
restart a server through `embedded`: the next test that asks for it finds it running.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from config.settings import Settings
    from worker.demo.embedded import Embedded
    from worker.demo.processes import Server

# Threads of one process that share a sum spin while they wait, and take the cores from the other tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REFERENCE_VARIABLE = "HASHWARDEN_REFERENCE_DATA"
_TEMPLATE = "hw_template"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Queue:
    """An SQS queue, and the way to send a bucket's notifications to it."""

    url: str
    arn: str
    client: SQSClient
    s3: S3Client

    def watch(self, bucket: str) -> None:
        """From now on each object created or removed in `bucket` is told to this queue."""
        self.s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {"QueueArn": self.arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
                ]
            },
        )


def _wait_until(condition: Callable[[], _T], timeout: float = 10.0, every: float = 0.02) -> _T:
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() >= deadline:
            pytest.fail(f"the condition did not hold within {timeout:g} seconds")
        time.sleep(every)
    return value


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., object]:
    """`wait_until(condition, timeout=10.0)` returns the first true value of `condition()`, or fails the test."""
    return _wait_until


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """All embedded servers, without fsync; shared by the session."""
    from worker.demo.embedded import Embedded

    with Embedded(tmp_path_factory.mktemp("embedded"), fsync=False) as servers:
        yield servers


def _running(server: Server) -> None:
    if not server.running:
        server.start()


@pytest.fixture(scope="session")
def template_database(embedded: Embedded) -> str:
    """Name of a database with the current schema and no rows."""
    from worker.store import migrate

    _running(embedded.postgres)
    migrate.upgrade(embedded.postgres.create_database(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def database_url(embedded: Embedded, template_database: str) -> Iterator[str]:
    """Address of a database of this test's own, with the current schema."""
    _running(embedded.postgres)
    name = f"test_{uuid.uuid4().hex}"
    yield embedded.postgres.create_database(name, template=template_database)
    _running(embedded.postgres)
    embedded.postgres.drop_database(name)


@pytest.fixture
def broker_url(embedded: Embedded) -> str:
    """Address of an empty broker, in Celery's form; `embedded.redis_url` is the same in redis-py's."""
    import redis

    _running(embedded.valkey)
    with closing(redis.Redis.from_url(embedded.redis_url)) as client:
        client.flushall()
    return embedded.broker_url


@pytest.fixture(scope="session")
def _s3_client(embedded: Embedded) -> Iterator[S3Client]:
    import boto3

    from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY

    client = boto3.client(
        "s3",
        endpoint_url=embedded.s3_endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    yield client
    client.close()


@pytest.fixture(scope="session")
def _sqs_client(embedded: Embedded) -> Iterator[SQSClient]:
    import boto3

    from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY

    client = boto3.client(
        "sqs",
        endpoint_url=embedded.s3_endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    yield client
    client.close()


@pytest.fixture
def s3(embedded: Embedded, _s3_client: S3Client) -> S3Client:
    """A boto3 client of the embedded S3, shared by the session: take buckets from the fixtures."""
    _running(embedded.moto)
    return _s3_client


@pytest.fixture
def sqs(embedded: Embedded, _sqs_client: SQSClient) -> SQSClient:
    """A boto3 client of the embedded SQS, shared by the session."""
    _running(embedded.moto)
    return _sqs_client


def _new_bucket(s3: S3Client, kind: str) -> str:
    name = f"{kind}-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def versioned_bucket(s3: S3Client) -> str:
    """Name of a new bucket that keeps versions."""
    name = _new_bucket(s3, "versioned")
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def plain_bucket(s3: S3Client) -> str:
    """Name of a new bucket without versions."""
    return _new_bucket(s3, "plain")


@pytest.fixture
def quarantine_bucket(s3: S3Client) -> str:
    """Name of a new bucket without versions, for held objects."""
    return _new_bucket(s3, "quarantine")


@pytest.fixture
def sqs_queue(s3: S3Client, sqs: SQSClient, versioned_bucket: str) -> Queue:
    """A new queue that `versioned_bucket` notifies; `sqs_queue.watch(bucket)` adds another bucket.

    The first message in it is S3's test event, as on AWS.
    """
    url = sqs.create_queue(QueueName=f"uploads-{uuid.uuid4().hex}")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    queue = Queue(url=url, arn=attributes["QueueArn"], client=sqs, s3=s3)
    queue.watch(versioned_bucket)
    return queue


@pytest.fixture
def settings(
    embedded: Embedded,
    database_url: str,
    broker_url: str,
    versioned_bucket: str,
    plain_bucket: str,
    quarantine_bucket: str,
    sqs_queue: Queue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Settings of a deployment on the embedded servers, whatever the environment of the test run says."""
    from config.settings import load_settings
    from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY

    for name in os.environ:
        if name.startswith("HASHWARDEN_") and name != REFERENCE_VARIABLE:
            monkeypatch.delenv(name)
    return load_settings(
        state_dir=tmp_path / "state",
        database={"url": database_url},
        broker={"url": broker_url},
        storage={
            "endpoint_url": embedded.s3_endpoint,
            "region": REGION,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "buckets": [versioned_bucket, plain_bucket],
            "quarantine_bucket": quarantine_bucket,
        },
        events={
            "sqs_queue_url": sqs_queue.url,
            "sqs_endpoint_url": embedded.s3_endpoint,
            "sqs_wait_seconds": 1,
        },
    )


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of the reference pictures, clips and hashes; skips the test where it is not set."""
    value = os.environ.get(REFERENCE_VARIABLE)
    if not value:
        pytest.skip(f"{REFERENCE_VARIABLE} is not set: it names the folder of the reference data")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{REFERENCE_VARIABLE} names {folder}, which is not a folder")
    return folder
