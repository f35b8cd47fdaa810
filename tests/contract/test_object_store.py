"""What every object store does: one suite for the store on S3 and for its twin in memory.

`place` is a store with three buckets, and the platform's own hand on them: it writes, overwrites and deletes
without the store knowing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import pytest

from worker.domain import ObjectRef
from worker.errors import ObjectGone, ObjectSuperseded, StorageRefused
from worker.storage.access import AccessControl
from worker.storage.memory import MemoryStore
from worker.storage.protocol import Method, Receipt, ServedOutcome, Versioning

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PICTURE = b"\x89PNG the picture \x00\xff" * 5000
OTHER = b"another picture" * 100
KEY = "users/7/an odd näme+&?#.png"
TYPE = "image/png"
METADATA = {"camera": "one"}
TAGS = {"album": "summer", "kept": "yes"}


class Platform(Protocol):
    def put(self, bucket: str, data: bytes, key: str = KEY) -> None: ...
    def delete(self, bucket: str, key: str = KEY) -> None: ...
    def get(self, bucket: str, key: str = KEY) -> bytes | None: ...
    def describe(self, bucket: str) -> tuple[str, dict[str, str], dict[str, str]]: ...
    def keys(self, bucket: str) -> list[str]: ...


@dataclass
class Place:
    store: AccessControl
    platform: Platform
    versioned: str
    plain: str
    quarantine: str

    def upload(self, bucket: str, data: bytes = PICTURE, key: str = KEY) -> ObjectRef:
        self.platform.put(bucket, data, key)
        return self.store.complete(ObjectRef(bucket, key))

    def deny(self, ref: ObjectRef, receipt: Receipt | None = None, **given: Any) -> Receipt:  # noqa: ANN401
        asked: dict[str, Any] = {"intent_at": datetime.now(UTC), "quarantine_key": "held-1", "sha256": None}
        asked |= given
        return self.store.deny(ref, receipt, **asked)


class MemoryPlatform:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def put(self, bucket: str, data: bytes, key: str = KEY) -> None:
        self._store.put_object(bucket, key, data, TYPE, METADATA, TAGS)

    def delete(self, bucket: str, key: str = KEY) -> None:
        self._store.delete_object(bucket, key)

    def get(self, bucket: str, key: str = KEY) -> bytes | None:
        try:
            with self._store.read(bucket, key, None, "") as body:
                return b"".join(body)
        except ObjectGone:
            return None

    def describe(self, bucket: str) -> tuple[str, dict[str, str], dict[str, str]]:
        with self._store.read(bucket, KEY, None, "") as body:
            kind = body.content_type
        return kind, self._store.get_metadata(bucket, KEY), self._store.get_tags(bucket, KEY, None)

    def keys(self, bucket: str) -> list[str]:
        return [listed.ref.key for listed in self._store.list_versions(bucket).refs]


@dataclass
class S3Platform:
    s3: S3Client

    def put(self, bucket: str, data: bytes, key: str = KEY) -> None:
        self.s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=data,
            ContentType=TYPE,
            Metadata=METADATA,
            Tagging="&".join(f"{name}={value}" for name, value in TAGS.items()),
        )

    def delete(self, bucket: str, key: str = KEY) -> None:
        self.s3.delete_object(Bucket=bucket, Key=key)

    def get(self, bucket: str, key: str = KEY) -> bytes | None:
        try:
            return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None

    def describe(self, bucket: str) -> tuple[str, dict[str, str], dict[str, str]]:
        answer = self.s3.get_object(Bucket=bucket, Key=KEY)
        answer["Body"].close()
        tags = self.s3.get_object_tagging(Bucket=bucket, Key=KEY)["TagSet"]
        return answer["ContentType"], answer["Metadata"], {tag["Key"]: tag["Value"] for tag in tags}

    def keys(self, bucket: str) -> list[str]:
        return [found["Key"] for found in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "memory":
        store = MemoryStore(quarantine_bucket="quarantine")
        store.create_bucket("versioned", Versioning.ENABLED)
        store.create_bucket("plain")
        return Place(store, MemoryPlatform(store), "versioned", "plain", "quarantine")
    from config.settings import StorageSettings
    from worker.storage.s3 import S3Store

    names = [request.getfixturevalue(f"{name}_bucket") for name in ("versioned", "plain", "quarantine")]
    embedded = request.getfixturevalue("embedded")
    settings = StorageSettings(
        endpoint_url=embedded.s3_endpoint,
        access_key="testing",
        secret_key="testing-secret",  # noqa: S106 (the embedded server takes any)
        buckets=names[:2],
        quarantine_bucket=names[2],
    )
    return Place(S3Store(settings), S3Platform(request.getfixturevalue("s3")), *names)


@pytest.fixture(params=["versioned", "plain"])
def bucket(request: pytest.FixtureRequest, place: Place) -> str:
    return str(getattr(place, request.param))


class Crash(Exception):
    pass


WRITES = ("lay_marker", "delete", "copy", "put_tags")


@dataclass
class Faults:
    """Kills the process, so to speak, right before or right after the n-th write to the store."""

    place: Place
    patch: pytest.MonkeyPatch
    writes: int = 0
    originals: dict[str, Callable[..., Any]] = field(default_factory=dict)

    @contextmanager
    def crash_at(self, number: int, when: str) -> Iterator[None]:
        self.writes = 0

        def dying(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
                self.writes += 1
                if self.writes == number and when == "before":
                    raise Crash
                result = original(*args, **kwargs)
                if self.writes == number:
                    raise Crash
                return result

            return call

        with self.patch.context() as patched:
            for name in WRITES:
                patched.setattr(self.place.store, name, dying(getattr(self.place.store, name)))
            yield


@pytest.fixture
def faults(place: Place, monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(place, monkeypatch)


def interpose(
    monkeypatch: pytest.MonkeyPatch, store: AccessControl, name: str, act: Callable[[], None]
) -> None:
    """Lets `act` happen once, right before the next call of a primitive."""
    original = getattr(store, name)
    done: list[bool] = []

    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if not done:
            done.append(True)
            act()
        return original(*args, **kwargs)

    monkeypatch.setattr(store, name, call)


def read(place: Place, ref: ObjectRef, receipt: Receipt | None = None) -> bytes:
    with place.store.open(ref, receipt) as body:
        return b"".join(body)


# Reading exactly one version


def test_complete_names_the_current_object(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    assert ref.complete
    assert (ref.etag, ref.size) == (hashlib.md5(PICTURE, usedforsecurity=False).hexdigest(), len(PICTURE))
    assert ref.last_modified is not None
    assert ref.last_modified.microsecond == 0
    assert ref.last_modified.utcoffset() == timedelta(0)
    assert bool(ref.version_id) is (bucket == place.versioned)


def test_complete_agrees_with_the_listing(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    assert [listed.ref for listed in place.store.list_versions(bucket).refs] == [ref]


def test_complete_tells_a_moved_on_etag_and_a_missing_object(place: Place, bucket: str) -> None:
    place.upload(bucket)
    with pytest.raises(ObjectSuperseded):
        place.store.complete(ObjectRef(bucket, KEY, etag="0" * 32))
    with pytest.raises(ObjectGone):
        place.store.complete(ObjectRef(bucket, "missing"))


def test_a_missing_bucket_is_refused_and_not_taken_for_a_missing_object(place: Place) -> None:
    with pytest.raises(StorageRefused, match="no-such-bucket"):
        place.store.complete(ObjectRef("no-such-bucket-here", KEY))


def test_open_reads_the_bytes_and_tells_size_and_type(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    with place.store.open(ref) as body:
        assert (body.size, body.content_type) == (len(PICTURE), TYPE)
        assert b"".join(body) == PICTURE


def test_open_reads_an_overwritten_version_or_says_superseded(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    place.upload(bucket, OTHER)
    if bucket == place.versioned:
        assert read(place, ref) == PICTURE
    else:
        with pytest.raises(ObjectSuperseded):
            read(place, ref)


def test_open_of_what_is_deleted_says_gone(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    place.store.purge(ref, None)
    with pytest.raises(ObjectGone):
        read(place, ref)


# Denying and serving


def test_denied_is_not_served_and_comes_back_byte_for_byte(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    before = place.platform.describe(bucket)
    receipt = place.deny(ref, sha256=hashlib.sha256(PICTURE).digest())

    assert place.platform.get(bucket) is None
    assert not place.store.is_served(ref)
    assert read(place, ref, receipt) == PICTURE
    assert receipt.method is (Method.DELETE_MARKER if bucket == place.versioned else Method.QUARANTINE)
    assert Receipt.from_json(receipt.to_json()) == receipt

    served = place.store.serve(ref, receipt)
    assert served.outcome is ServedOutcome.SERVED
    assert place.platform.get(bucket) == PICTURE
    assert place.platform.describe(bucket) == before == (TYPE, METADATA, TAGS)
    assert place.store.is_served(served.ref)
    assert place.platform.keys(place.quarantine) == []
    if bucket == place.versioned:
        assert (served.restored, served.ref) == (False, ref)
    else:
        assert served.restored == (served.ref != ref)


def test_denying_again_changes_nothing(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    receipt = place.deny(ref)
    entries = place.store.stack(bucket, KEY)
    assert place.deny(ref, receipt) == receipt
    assert place.store.stack(bucket, KEY) == entries
    assert place.store.serve(ref, receipt).outcome is ServedOutcome.SERVED


def test_serving_again_changes_nothing(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    receipt = place.deny(ref)
    first = place.store.serve(ref, receipt)
    again = place.store.serve(first.ref, receipt)
    assert again == replace(first, restored=False)
    assert place.platform.get(bucket) == PICTURE


def test_a_removed_marker_is_repaired(place: Place) -> None:
    ref = place.upload(place.versioned)
    receipt = place.deny(ref)
    place.store.delete(place.versioned, KEY, receipt.marker_version_id)
    repaired = place.deny(ref, receipt)
    assert repaired.method is Method.DELETE_MARKER
    assert repaired != receipt
    assert place.platform.get(place.versioned) is None


def test_a_repair_that_crashed_is_recognised(place: Place) -> None:
    ref = place.upload(place.versioned)
    receipt = place.deny(ref)
    assert receipt.at is not None
    receipt = replace(receipt, at=receipt.at - timedelta(minutes=1))
    place.store.delete(place.versioned, KEY, receipt.marker_version_id)
    intent_at = datetime.now(UTC)
    repaired = place.deny(ref, receipt, intent_at=intent_at)
    assert place.deny(ref, receipt, intent_at=intent_at) == repaired
    assert place.store.serve(ref, receipt, intent_at=intent_at).outcome is ServedOutcome.SERVED


def test_a_users_delete_after_ours_was_taken_away_is_never_taken_for_ours(place: Place) -> None:
    ref = place.upload(place.versioned)
    intent_at = datetime.now(UTC)
    receipt = place.deny(ref, intent_at=intent_at)
    place.store.delete(place.versioned, KEY, receipt.marker_version_id)
    place.platform.delete(place.versioned)
    assert place.deny(ref, receipt, intent_at=intent_at) == receipt
    assert place.store.serve(ref, receipt, intent_at=intent_at).outcome is ServedOutcome.NOT_CURRENT
    assert place.platform.get(place.versioned) is None


def test_an_object_put_back_by_hand_is_quarantined_again(place: Place) -> None:
    ref = place.upload(place.plain)
    receipt = place.deny(ref)
    place.platform.put(place.plain, PICTURE)
    assert place.deny(ref, receipt).quarantine_key == receipt.quarantine_key
    assert place.platform.get(place.plain) is None


def test_a_newer_version_is_left_alone(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    place.upload(bucket, OTHER)
    receipt = place.deny(ref)
    assert receipt.method is Method.NOT_CURRENT
    assert place.platform.get(bucket) == OTHER
    assert place.store.serve(ref, receipt).outcome is ServedOutcome.NOT_CURRENT
    assert place.platform.get(bucket) == OTHER


def test_a_version_that_surfaces_again_is_denied_by_the_next_check(place: Place) -> None:
    ref = place.upload(place.versioned)
    newer = place.upload(place.versioned, OTHER)
    receipt = place.deny(ref)
    place.store.delete(place.versioned, KEY, newer.version_id)
    assert place.platform.get(place.versioned) == PICTURE
    assert place.deny(ref, receipt).method is Method.DELETE_MARKER
    assert place.platform.get(place.versioned) is None


def test_a_users_own_delete_marker_is_never_taken_for_ours(place: Place) -> None:
    ref = place.upload(place.versioned)
    place.platform.delete(place.versioned)
    receipt = place.deny(ref, intent_at=datetime.now(UTC) + timedelta(minutes=5))
    assert receipt.method is Method.NOT_CURRENT
    assert place.store.serve(ref, receipt).outcome is ServedOutcome.NOT_CURRENT
    assert place.platform.get(place.versioned) is None


def test_a_users_delete_while_held_outlives_the_release(place: Place) -> None:
    ref = place.upload(place.versioned)
    receipt = place.deny(ref)
    place.platform.delete(place.versioned)
    assert place.deny(ref, receipt) == receipt
    assert place.store.serve(ref, receipt).outcome is ServedOutcome.NOT_CURRENT
    assert place.platform.get(place.versioned) is None


def test_overwritten_while_held(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    receipt = place.deny(ref)
    place.platform.put(bucket, OTHER)
    assert place.deny(ref, receipt) == receipt
    outcome = place.store.serve(ref, receipt).outcome
    assert place.platform.get(bucket) == OTHER
    if bucket == place.versioned:
        assert outcome is ServedOutcome.NOT_CURRENT
        assert read(place, ref) == PICTURE
    else:
        assert outcome is ServedOutcome.OCCUPIED
        assert read(place, ref, receipt) == PICTURE


def test_a_newer_version_that_slips_in_is_not_hidden(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = place.upload(place.versioned)
    interpose(monkeypatch, place.store, "lay_marker", lambda: place.platform.put(place.versioned, OTHER))
    assert place.deny(ref).method is Method.NOT_CURRENT
    assert place.platform.get(place.versioned) == OTHER
    assert not any(version.is_marker for version in place.store.stack(place.versioned, KEY))


def test_an_overwrite_before_the_quarantine_copy_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = place.upload(place.plain)
    interpose(monkeypatch, place.store, "copy", lambda: place.platform.put(place.plain, OTHER))
    receipt = place.deny(ref)
    assert receipt.method is Method.NOT_CURRENT
    assert place.platform.get(place.plain) == OTHER
    assert place.platform.keys(place.quarantine) == []


def test_an_overwrite_after_the_quarantine_copy_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = place.upload(place.plain)
    copied = place.store.copy

    def copy_then_overwrite(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        copied(*args, **kwargs)
        place.platform.put(place.plain, OTHER)

    monkeypatch.setattr(place.store, "copy", copy_then_overwrite)
    receipt = place.deny(ref, sha256=hashlib.sha256(PICTURE).digest())
    assert receipt.method is Method.QUARANTINE
    assert place.platform.get(place.plain) == OTHER
    assert read(place, ref, receipt) == PICTURE


def test_a_lost_quarantine_copy_is_said(place: Place) -> None:
    ref = place.upload(place.plain)
    receipt = place.deny(ref)
    place.platform.delete(place.quarantine, receipt.quarantine_key)
    assert place.store.serve(ref, receipt).outcome is ServedOutcome.LOST


def test_without_a_quarantine_bucket_the_setting_is_named(place: Place) -> None:
    ref = place.upload(place.plain)
    place.store.quarantine_bucket = ""
    with pytest.raises(StorageRefused, match=r"storage\.quarantine_bucket"):
        place.deny(ref)
    assert place.platform.get(place.plain) == PICTURE


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_deny_converges_after_a_crash_at_any_write(
    place: Place, bucket: str, faults: Faults, step: int, when: str
) -> None:
    ref = place.upload(bucket)
    intent_at = datetime.now(UTC)
    with faults.crash_at(step, when):
        try:
            place.deny(ref, intent_at=intent_at)
        except Crash:
            pass
        else:
            assert faults.writes < step
    receipt = place.deny(ref, intent_at=intent_at)

    assert place.platform.get(bucket) is None
    markers = [version for version in place.store.stack(bucket, KEY) if version.is_marker]
    if bucket == place.versioned:
        assert [marker.version_id for marker in markers] == [receipt.marker_version_id]
    else:
        assert place.platform.keys(place.quarantine) == [receipt.quarantine_key]
    assert place.store.serve(ref, receipt).outcome is ServedOutcome.SERVED
    assert place.platform.get(bucket) == PICTURE


@pytest.mark.parametrize("step", [1, 2])
def test_a_release_after_a_deny_that_crashed_undoes_it(
    place: Place, bucket: str, faults: Faults, step: int
) -> None:
    ref = place.upload(bucket)
    intent_at = datetime.now(UTC)
    with faults.crash_at(step, "after"), suppress(Crash):
        place.deny(ref, intent_at=intent_at)
    served = place.store.serve(ref, None, intent_at=intent_at, quarantine_key="held-1")
    assert served.outcome is ServedOutcome.SERVED
    assert place.platform.get(bucket) == PICTURE
    assert place.platform.keys(place.quarantine) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [1, 2])
def test_serve_converges_after_a_crash_at_any_write(
    place: Place, bucket: str, faults: Faults, step: int, when: str
) -> None:
    ref = place.upload(bucket)
    receipt = place.deny(ref)
    with faults.crash_at(step, when), suppress(Crash):
        place.store.serve(ref, receipt)
    assert place.store.serve(ref, receipt).outcome is ServedOutcome.SERVED
    assert place.platform.get(bucket) == PICTURE
    assert place.platform.describe(bucket) == (TYPE, METADATA, TAGS)
    assert place.platform.keys(place.quarantine) == []


# Deleting for good


def test_purge_deletes_the_denied_version_and_surfaces_no_older_one(place: Place, bucket: str) -> None:
    place.upload(bucket, OTHER)
    ref = place.upload(bucket)
    receipt = place.deny(ref)
    place.store.purge(ref, receipt)
    place.store.purge(ref, receipt)
    assert place.platform.get(bucket) is None
    assert place.platform.keys(place.quarantine) == []
    with pytest.raises(ObjectGone):
        read(place, ref, receipt)


def test_purge_without_a_denial_surfaces_no_older_version(place: Place, bucket: str) -> None:
    place.upload(bucket, OTHER)
    ref = place.upload(bucket)
    place.store.purge(ref, None)
    assert place.platform.get(bucket) is None


def test_purge_spares_what_was_uploaded_since(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    place.platform.put(bucket, OTHER)
    place.store.purge(ref, None)
    assert place.platform.get(bucket) == OTHER


# Tags


def test_tags_are_merged_and_the_bytes_untouched(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    assert place.store.tag(ref, {"content-scan-status": "CLEAR"})
    assert place.platform.describe(bucket)[2] == TAGS | {"content-scan-status": "CLEAR"}
    assert place.platform.get(bucket) == PICTURE
    assert place.store.complete(ObjectRef(bucket, KEY)) == ref


def test_equal_tags_are_not_written_again(place: Place, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = place.upload(bucket)
    place.store.tag(ref, {"content-scan-status": "CLEAR"})
    monkeypatch.setattr(place.store, "put_tags", lambda *_: pytest.fail("written again"))
    assert place.store.tag(ref, {"content-scan-status": "CLEAR"})


def test_never_more_than_ten_tags(place: Place, bucket: str) -> None:
    ref = place.upload(bucket)
    assert place.store.tag(ref, {f"name-{number}": "x" for number in range(8)})
    assert not place.store.tag(ref, {"content-scan-status": "CLEAR"})
    assert "content-scan-status" not in place.platform.describe(bucket)[2]


def test_a_verdict_is_not_tagged_to_what_replaced_the_object(
    place: Place, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = place.upload(bucket)
    interpose(monkeypatch, place.store, "put_tags", lambda: place.platform.put(bucket, OTHER))
    if bucket == place.versioned:
        assert place.store.tag(ref, {"content-scan-status": "CLEAR"})
    else:
        with pytest.raises(ObjectSuperseded):
            place.store.tag(ref, {"content-scan-status": "CLEAR"})
    assert "content-scan-status" not in place.platform.describe(bucket)[2]


def test_a_held_version_can_be_tagged(place: Place) -> None:
    ref = place.upload(place.versioned)
    receipt = place.deny(ref)
    assert place.store.tag(ref, {"content-scan-status": "HELD"})
    place.store.serve(ref, receipt)
    assert place.platform.describe(place.versioned)[2]["content-scan-status"] == "HELD"


# Listing


def test_a_listing_goes_on_where_a_page_ended(place: Place, bucket: str) -> None:
    refs = {place.upload(bucket, OTHER, key) for key in ("a", "a/b", "b &+", "c")}
    refs.add(place.upload(bucket, PICTURE, "b &+"))
    place.platform.delete(bucket, "c")
    if bucket == place.plain:
        refs = {ref for ref in refs if ref.key != "c" and (ref.key, ref.size) != ("b &+", len(OTHER))}
    found: list[ObjectRef] = []
    latest: set[ObjectRef] = set()
    key_marker = version_marker = ""
    more = True
    while more:
        page = place.store.list_versions(bucket, key_marker, version_marker, limit=2)
        found += [listed.ref for listed in page.refs]
        latest |= {listed.ref for listed in page.refs if listed.is_latest}
        key_marker, version_marker, more = page.next_key_marker, page.next_version_marker, page.more
    assert len(found) == len(refs)
    assert set(found) == refs
    assert {ref.key for ref in latest} == {"a", "a/b", "b &+"}


# What doctor asks


def test_the_probe_finds_all_in_order_and_leaves_nothing(place: Place, bucket: str) -> None:
    results = place.store.probe(bucket)
    assert [result for result in results if not result.ok] == []
    assert {result.name for result in results} >= {
        "tags",
        "copy",
        "if_match_get",
        "withhold",
        "list_versions",
    }
    assert place.store.list_versions(bucket).refs == []
    assert place.platform.keys(place.quarantine) == []


def test_the_probe_sees_tags_that_destroy_the_object(
    place: Place, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        place.store, "put_tags", lambda bucket, key, *_: place.platform.put(bucket, b"<Tagging/>", key)
    )
    assert [result.ok for result in place.store.probe(bucket) if result.name == "tags"] == [False]


def test_no_error_text_carries_a_key(place: Place, bucket: str) -> None:
    secret = f"secret-{uuid4()}"
    for ask in (
        lambda: place.store.complete(ObjectRef(bucket, secret)),
        lambda: place.store.tag(ObjectRef(bucket, secret, etag="0" * 32), {"a": "b"}),
        lambda: read(place, ObjectRef(bucket, secret, etag="0" * 32)),
        lambda: read(place, ObjectRef("no-such-bucket-here", secret, etag="0" * 32)),
    ):
        with pytest.raises((ObjectGone, StorageRefused)) as caught:
            ask()
        assert secret not in f"{caught.value}{caught.value.__cause__}"
