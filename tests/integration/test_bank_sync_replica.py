"""Epochs in an S3 prefix: pushed whole, pulled whole, and never taken for more than they prove to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bank_sync.bank import BankRecord, upsert
from bank_sync.compaction import Compaction
from bank_sync.epoch import (
    EpochError,
    EpochReader,
    publish,
    publish_if_changed,
    published_numbers,
    read_pointer,
    rollback,
)
from bank_sync.epoch_files import manifest_name, needed_files, read_manifest
from bank_sync.replica import Replica
from config.database import Sessions, make_engine, make_sessions
from config.settings import Settings
from worker.operate.check import Status
from worker.operate.doctor import examine

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Hosts:
    """One prefix, a database, and hosts with folders of their own."""

    def __init__(self, sessions: Sessions, settings: Settings, s3: S3Client, bucket: str, root: Path) -> None:
        self.sessions = sessions
        self.settings = settings
        self.s3 = s3
        self.bucket = bucket
        self.root = root

    def folder(self, host: str) -> Path:
        return self.root / host

    def replica(self) -> Replica:
        return Replica(f"s3://{self.bucket}/some/epochs", self.settings.storage)

    def add(self, *bytes_: int, status: str = "Active") -> None:
        with self.sessions.begin() as session:
            upsert(
                session, "practice", [BankRecord("pdq", bytes([n]) * 32, raw_status=status) for n in bytes_]
            )

    def publish(self, host: str) -> int:
        with self.sessions.begin() as session:
            return publish_if_changed(session, self.folder(host), replica=self.replica()).number

    def reader(self, host: str) -> EpochReader:
        return EpochReader(self.folder(host), 0, replica=self.replica())

    def compact(self, host: str) -> int | None:
        made = Compaction(self.sessions, self.folder(host), after=3600, replica=self.replica())
        return made.run(always=True).number

    def key(self, name: str) -> str:
        return f"some/epochs/{name}"

    def names(self) -> set[str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="some/epochs/").get("Contents", [])
        return {item["Key"].removeprefix("some/epochs/") for item in listed}

    def newest(self, host: str) -> dict[str, str]:
        """Name of a file to its key in the bucket, of the epoch in force on a host."""
        manifest = read_manifest(self.folder(host), read_pointer(self.folder(host)).number)
        return {name: self.key(f"files/{file['sha256']}") for name, file in manifest["base"]["files"].items()}


@pytest.fixture
def hosts(settings: Settings, s3: S3Client, plain_bucket: str, tmp_path: Path) -> Iterator[Hosts]:
    engine = make_engine(settings.database)
    yield Hosts(make_sessions(engine), settings, s3, plain_bucket, tmp_path / "hosts")
    engine.dispose()


def test_what_one_host_publishes_another_searches(hosts: Hosts, wait_until: Callable[..., object]) -> None:
    hosts.add(1, 2)
    hosts.publish("first")
    reader = hosts.reader("second")
    assert reader.current().counts["pdq"] == 2
    hosts.add(3)
    hosts.add(2, status="Withdrawn")
    assert hosts.publish("first") == 2
    wait_until(lambda: reader.current().number == 2)
    assert (reader.current().counts["pdq"], reader.fault) == (2, "")
    confirmed = reader.confirmed_at
    assert confirmed is not None
    assert hosts.publish("first") == 2
    wait_until(lambda: (reader.current(), reader.confirmed_at)[1] != confirmed)


def test_a_fresh_host_goes_on_publishing_over_what_is_there(hosts: Hosts) -> None:
    hosts.add(1)
    hosts.publish("first")
    before = hosts.names()
    hosts.add(2)
    assert hosts.publish("second") == 2
    assert before - {"CURRENT"} <= hosts.names()
    assert hosts.publish("first") == 2
    assert hosts.compact("third") is None
    assert hosts.compact("second") == 3
    assert hosts.reader("first").current().number == 3


def test_old_epochs_go_from_the_prefix_and_files_that_no_epoch_names(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    monkeypatch.setattr("bank_sync.replica.YOUNG", timedelta(0))
    for number in range(5):
        hosts.add(number)
        hosts.publish("first")
    hosts.compact("first")
    hosts.compact("first")
    folder = hosts.folder("first")
    kept = published_numbers(folder)
    assert kept == [6, 7]
    needed = needed_files(read_manifest(folder, number) for number in kept)
    assert hosts.names() == {
        "CURRENT",
        *(manifest_name(number) for number in kept),
        *(f"files/{sha256}" for sha256 in needed),
    }


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda hosts, key: hosts.s3.put_object(Bucket=hosts.bucket, Key=key, Body=b"\xee" * 64), "corrupt"),
        (lambda hosts, key: hosts.s3.put_object(Bucket=hosts.bucket, Key=key, Body=b"\xee"), "partial"),
        (lambda hosts, key: hosts.s3.delete_object(Bucket=hosts.bucket, Key=key), "partial"),
    ],
    ids=["altered", "short", "missing"],
)
def test_a_damaged_file_is_refused_and_the_last_good_epoch_stays(
    hosts: Hosts,
    damage: Callable[[Hosts, str], object],
    fault: str,
    wait_until: Callable[..., object],
) -> None:
    hosts.add(1)
    hosts.publish("first")
    reader = hosts.reader("second")
    good = reader.current()
    hosts.add(2)
    with hosts.sessions.begin() as session:
        publish(session, hosts.folder("first"), replica=hosts.replica())
    damage(hosts, hosts.newest("first")["pdq.hashes"])
    wait_until(lambda: (reader.current(), reader.fault)[1] == fault)
    assert reader.current() is good
    assert not [path for path in hosts.folder("second").iterdir() if "building" in path.name]
    with hosts.sessions.begin() as session:
        hosts.add(3)
        publish(session, hosts.folder("first"), replica=hosts.replica())
    wait_until(lambda: reader.current().number == 3)


def test_a_missing_manifest_and_an_older_pointer_are_refused_and_mended_by_publishing(
    hosts: Hosts, wait_until: Callable[..., object]
) -> None:
    hosts.add(1)
    hosts.publish("first")
    old = hosts.s3.get_object(Bucket=hosts.bucket, Key=hosts.key("CURRENT"))["Body"].read()
    reader = hosts.reader("second")
    reader.current()
    hosts.add(2)
    hosts.publish("first")
    hosts.s3.delete_object(Bucket=hosts.bucket, Key=hosts.key(manifest_name(2)))
    wait_until(lambda: (reader.current(), reader.fault)[1] == "partial")
    hosts.add(3)
    assert hosts.publish("first") == 3
    wait_until(lambda: reader.current().number == 3)
    hosts.s3.put_object(Bucket=hosts.bucket, Key=hosts.key("CURRENT"), Body=old)
    wait_until(lambda: (reader.current(), reader.fault)[1] == "older")
    assert reader.current().number == 3
    # Nothing changed, and yet it is published: the prefix has to be mended.
    assert hosts.publish("first") == 4
    wait_until(lambda: reader.current().number == 4)


def test_a_host_that_fell_behind_a_damaged_epoch_publishes_above_it(hosts: Hosts) -> None:
    hosts.add(1)
    hosts.publish("first")
    hosts.reader("second").current()
    for number in (2, 3):
        hosts.add(number)
        assert hosts.publish("first") == number
    hosts.s3.put_object(Bucket=hosts.bucket, Key=hosts.key(manifest_name(3)), Body=b"{}")
    assert hosts.publish("second") == 4
    reader = hosts.reader("first")
    assert (reader.current().number, reader.current().counts["pdq"], reader.fault) == (4, 3, "")


def test_a_file_damaged_on_a_host_is_fetched_anew(hosts: Hosts) -> None:
    hosts.add(1)
    hosts.publish("first")
    hosts.reader("second").current()
    for path in (hosts.folder("second") / "files").iterdir():
        path.write_bytes(b"\xee" * path.stat().st_size)
    reader = hosts.reader("second")
    assert (reader.current().counts["pdq"], reader.fault) == (1, "")


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["lost", "damaged"]
)
def test_a_manifest_lost_on_a_host_is_fetched_anew(hosts: Hosts, damage: Callable[[Path], object]) -> None:
    hosts.add(1)
    hosts.publish("first")
    hosts.reader("second").current()
    damage(hosts.folder("second") / manifest_name(1))
    reader = hosts.reader("second")
    assert (reader.current().counts["pdq"], reader.fault) == (1, "")


def test_two_that_publish_one_number_do_not_mix(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        hosts.add(number)
        hosts.publish("first")
    hosts.reader("second").current()

    def raced(_replica: Replica) -> int:
        # Somebody else publishes after this one looked for the last number.
        monkeypatch.undo()
        assert rollback(hosts.folder("first"), 1, replica=hosts.replica()) == 3
        return 2

    monkeypatch.setattr(Replica, "last_number", raced)
    with pytest.raises(EpochError, match="Somebody else published"):
        rollback(hosts.folder("second"), 1, replica=hosts.replica())
    reader = hosts.reader("third")
    assert (reader.current().number, reader.fault) == (3, "")
    assert rollback(hosts.folder("second"), 1, replica=hosts.replica()) == 4


def test_the_processes_of_a_host_share_one_look_at_the_prefix(hosts: Hosts) -> None:
    hosts.add(1)
    hosts.publish("first")
    folder = hosts.folder("second")
    hosts.replica().pull(folder, every=3600)
    hosts.add(2)
    hosts.publish("first")
    hosts.replica().pull(folder, every=3600)
    assert read_pointer(folder).number == 1
    hosts.replica().pull(folder)
    assert read_pointer(folder).number == 2


def test_the_doctor_looks_into_the_prefix(hosts: Hosts) -> None:
    hosts.add(1)
    hosts.publish("first")
    index = hosts.settings.index.model_copy(update={"publish_to": f"s3://{hosts.bucket}/some/epochs"})
    found = {
        (check.part, check.name): check
        for check in examine(hosts.settings.model_copy(update={"index": index}))
    }
    assert found["index", "publish_to"].status is Status.OK
    assert found["index", "epoch"].detail.startswith("1: 1 pdq")


def test_roll_back_on_another_host_fetches_the_epoch(hosts: Hosts) -> None:
    hosts.add(1)
    hosts.publish("first")
    hosts.add(2)
    hosts.publish("first")
    reader = hosts.reader("second")
    assert reader.current().number == 2
    assert rollback(hosts.folder("second"), 1, replica=hosts.replica()) == 3
    assert hosts.publish("first") == 3
    assert hosts.reader("first").current().counts["pdq"] == 1


def test_a_store_that_is_away_leaves_what_is_here_in_force(hosts: Hosts) -> None:
    hosts.add(1)
    hosts.publish("first")
    away = Replica("s3://no-such-bucket-here/epochs", hosts.settings.storage)
    reader = EpochReader(hosts.folder("first"), 0, replica=away)
    assert reader.current().counts["pdq"] == 1
    assert reader.fault == "unreachable"
    with pytest.raises(EpochError, match="can't be reached") as caught, hosts.sessions.begin() as session:
        publish(session, hosts.folder("first"), replica=away)
    assert "index.publish_to" in caught.value.next_step
    assert read_pointer(hosts.folder("first")).number == 1
