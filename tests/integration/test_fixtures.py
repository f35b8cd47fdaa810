"""The shared fixtures: each test gets an empty system of its own, wired to the settings."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from config.settings import Settings
    from tests.conftest import Queue
    from worker.demo.embedded import Embedded


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_starts_empty(turn: str, embedded: Embedded, database_url: str, broker_url: str) -> None:
    engine = create_engine(database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE mark (turn text)"))  # fails where another test's remains
            assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    finally:
        engine.dispose()
    assert broker_url == embedded.broker_url
    with closing(redis.Redis.from_url(embedded.redis_url)) as client:
        assert client.set("mark", turn, nx=True) is True


def test_settings_name_the_parts_of_this_test(
    settings: Settings,
    embedded: Embedded,
    database_url: str,
    broker_url: str,
    versioned_bucket: str,
    plain_bucket: str,
    quarantine_bucket: str,
    sqs_queue: Queue,
    s3: S3Client,
    tmp_path: Path,
) -> None:
    assert settings.database.url.get_secret_value() == database_url
    assert settings.broker.url.get_secret_value() == broker_url
    assert settings.storage.endpoint_url == settings.events.sqs_endpoint_url == embedded.s3_endpoint
    assert settings.storage.buckets == [versioned_bucket, plain_bucket]
    assert settings.storage.quarantine_bucket == quarantine_bucket
    assert settings.events.sqs_queue_url == sqs_queue.url
    assert settings.state_dir.is_relative_to(tmp_path)
    assert s3.get_bucket_versioning(Bucket=versioned_bucket)["Status"] == "Enabled"
    assert "Status" not in s3.get_bucket_versioning(Bucket=plain_bucket)


def test_the_environment_of_the_run_does_not_reach_the_settings(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("HASHWARDEN_QUEUE__MAX_ATTEMPTS", "9")
    settings: Settings = request.getfixturevalue("settings")
    assert settings.queue.max_attempts != 9


@pytest.mark.parametrize("server", ["postgres", "valkey", "moto"])
def test_a_server_left_dead_is_back_for_the_next_test(
    server: str, embedded: Embedded, request: pytest.FixtureRequest
) -> None:
    getattr(embedded, server).kill()
    settings: Settings = request.getfixturevalue("settings")
    assert settings.storage.endpoint_url == embedded.s3_endpoint
    assert getattr(embedded, server).running
