"""The doctor on real parts: what works is ok, and each thing that does not is named with its next step."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from config.policy import BankSettings
from config.settings import Settings, load_settings
from worker.cli import cli
from worker.operate.check import Check, Status
from worker.operate.doctor import examine
from worker.review.people import people
from worker.store.people import Role

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.integration.conftest import Rig
    from worker.demo.embedded import Embedded


def changed(settings: Settings, **groups: dict[str, Any]) -> Settings:
    """The settings with some fields of some groups replaced."""
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=fields) for name, fields in groups.items()}
    )


def failing(settings: Settings) -> dict[str, Check]:
    return {check.part: check for check in examine(settings) if check.status is Status.FAIL}


def named(checks: Iterable[Check]) -> dict[tuple[str, str], Check]:
    return {(check.part, check.name): check for check in checks}


def test_a_whole_deployment_does_not_fail(rig: Rig, environment: dict[str, str]) -> None:
    rig.publish()
    answer = CliRunner().invoke(cli, ["doctor", "--json"])
    assert answer.exit_code == 0, answer.output
    checks = [json.loads(line) for line in answer.stdout.splitlines()]
    statuses = {(check["part"], check["name"]): check["status"] for check in checks}
    assert statuses["database", "schema"] == "ok"
    assert statuses["broker", "appendonly"] == "ok"
    assert statuses["events", "queue"] == "ok"
    assert statuses["index", "epoch"] == "ok"
    assert statuses["quarantine", "private"] == "ok"
    assert statuses["webhook", "settings"] == "warn"
    for bucket in rig.settings.storage.buckets:
        assert statuses[f"bucket {bucket}", "withhold"] == "ok"
        assert rig.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert environment


def test_each_part_that_is_away_is_named_and_the_others_are_examined(settings: Settings) -> None:
    broken = changed(
        settings,
        database={
            "url": load_settings(database={"url": "postgresql+psycopg://u:pw@127.0.0.1:1/x"}).database.url
        },
        broker={"url": load_settings(broker={"url": "redis://:pw@127.0.0.1:1/0"}).broker.url},
        storage={"buckets": ["no-such-bucket"], "quarantine_bucket": "nor-this-one"},
        events={"sqs_queue_url": "http://127.0.0.1:1/queue", "sqs_endpoint_url": "http://127.0.0.1:1"},
    )
    found = failing(broken)
    assert set(found) == {"database", "broker", "bucket no-such-bucket", "quarantine", "events", "index"}
    assert all(check.next_step for check in found.values())
    assert "no bucket no-such-bucket" in found["bucket no-such-bucket"].detail
    assert not [check for check in found.values() if "pw@" in check.detail + check.next_step]


def test_a_public_quarantine_fails(settings: Settings, s3: S3Client, quarantine_bucket: str) -> None:
    s3.put_bucket_acl(Bucket=quarantine_bucket, ACL="public-read")
    assert "access list" in failing(settings)["quarantine"].detail


def test_unversioned_buckets_need_a_quarantine(settings: Settings, plain_bucket: str) -> None:
    found = failing(changed(settings, storage={"quarantine_bucket": ""}))
    assert plain_bucket in found["quarantine"].detail
    assert found[f"bucket {plain_bucket}"].name == "withhold"


def test_the_quarantine_is_not_scanned(settings: Settings, plain_bucket: str) -> None:
    found = failing(changed(settings, storage={"quarantine_bucket": plain_bucket}))
    assert found[f"bucket {plain_bucket}"].name == "quarantine"


def test_banks_and_webhook_need_their_keys(settings: Settings, tmp_path: Path) -> None:
    banks = {
        "stopncii": BankSettings(exchange="stopncii"),
        "list": BankSettings(exchange="file", path=tmp_path / "missing.txt"),
        "off": BankSettings(exchange="stopncii", enabled=False),
    }
    unsigned = changed(settings, webhook={"url": "http://127.0.0.1:1/"}).model_copy(update={"banks": banks})
    found = failing(unsigned)
    assert "HASHWARDEN_BANKS__STOPNCII__SUBSCRIPTION_KEY" in found["bank stopncii"].next_step
    assert "missing.txt" in found["bank list"].detail
    assert "bank off" not in found
    assert "HASHWARDEN_WEBHOOK__SECRET" in found["webhook"].next_step


def test_an_epoch_that_was_altered_fails(rig: Rig) -> None:
    number = rig.publish()
    manifest = rig.settings.epochs_dir / f"epoch-{number:08d}.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert "hashwarden index" in failing(rig.settings)["index"].next_step


def test_an_eviction_policy_is_told(settings: Settings, broker_url: str, embedded: Embedded) -> None:
    import redis

    with redis.Redis.from_url(embedded.redis_url) as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        try:
            check = named(examine(settings))["broker", "maxmemory-policy"]
        finally:
            broker.config_set("maxmemory-policy", "noeviction")
    assert check.status is Status.WARN
    assert "noeviction" in check.next_step
    assert broker_url


def test_second_reviews_that_nobody_could_settle_are_told(rig: Rig) -> None:
    asked = rig.settings.policy.second_review.model_copy(update={"share": 0.5})
    settings = changed(rig.settings, policy={"second_review": asked})

    def told() -> Check | None:
        return named(examine(settings)).get(("pages", "adjudicators"))

    with rig.sessions.begin() as session:
        people.add(session, "Maria", {Role.REVIEWER}, actor="test")
    alone = told()
    assert alone is not None
    assert alone.status is Status.WARN
    assert "hashwarden people roles" in alone.next_step
    with rig.sessions.begin() as session:
        people.add(session, "Jo", {Role.ADJUDICATOR}, actor="test")
    assert told() is None
