"""Event bodies of all known shapes, and that no body whatever makes the parser raise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain import EventKind, ObjectRef, UploadEvent
from worker.events.parse import MAX_KEY_BYTES, parse, storable

ETAG = "d41d8cd98f00b204e9800998ecf8427e"


def record(name: str = "ObjectCreated:Put", **told: Any) -> dict[str, Any]:  # noqa: ANN401
    told = {"key": "in/my+photo%2Ba.jpg", "size": 10, "eTag": ETAG, "sequencer": "0064D3"} | told
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": name,
        "eventTime": "2026-11-22T10:53:37.191Z",
        "s3": {"bucket": {"name": "uploads"}, "object": {k: v for k, v in told.items() if v is not None}},
    }


def body(*records: Any) -> str:  # noqa: ANN401
    return json.dumps({"Records": list(records)})


def created(key: str = "in/my photo+a.jpg", version_id: str = "", size: int = 10) -> UploadEvent:
    return UploadEvent(EventKind.CREATED, ObjectRef("uploads", key, version_id, ETAG, size), "0064D3")


AWS = body(record(versionId="v1"))
RECORDED = sorted((Path(__file__).parents[2] / "data" / "events").glob("*.json"))
BRIDGE = json.loads(next(path for path in RECORDED if path.stem == "eventbridge_created").read_text("utf-8"))[
    "body"
]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_bodies_of_every_store_say_what_happened(path: Path) -> None:
    """One file a shape, with its origin and what it says."""
    told = json.loads(path.read_text("utf-8"))
    assert told["origin"]
    parsed = parse(json.dumps(told["body"]))
    said = [
        {
            "kind": event.kind,
            "bucket": event.ref.bucket,
            "key": event.ref.key,
            "version_id": event.ref.version_id,
            "etag": event.ref.etag,
            "size": event.ref.size,
            "sequencer": event.sequencer,
            "marker": event.marker,
        }
        for event in parsed.events
    ]
    assert (said, parsed.ignored, parsed.rejects) == (told["events"], told["ignored"], [])


def test_there_is_a_body_of_every_shape() -> None:
    names = {path.stem for path in RECORDED}
    assert len(RECORDED) >= 30
    for shape in ("s3_2_1", "s3_2_6", "sns_s3", "sns_eventbridge", "eventbridge_created", "moto_eventbridge"):
        assert shape in names
    for shape in ("minio_webhook", "minio_webhook_old", "minio_redis_access", "ceph", "moto_test_event"):
        assert shape in names


@pytest.mark.parametrize("version", ["3.0", "1.0", "two"])
def test_another_major_version_is_not_guessed_at(version: str) -> None:
    assert parse(body(record() | {"eventVersion": version})).rejects == ["unknown_major_version"]


@pytest.mark.parametrize("version_id", [None, "null", ""])
def test_no_version_and_the_null_version_are_one(version_id: str | None) -> None:
    assert parse(body(record(versionId=version_id))).events == [created()]


def test_events_tell_no_last_modified() -> None:
    assert parse(AWS).events[0].ref.last_modified is None


def test_a_test_event_is_one() -> None:
    text = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"})
    assert [(event.kind, event.ref.bucket) for event in parse(text).events] == [(EventKind.TEST, "uploads")]


@pytest.mark.parametrize(
    ("name", "kind", "marker"),
    [
        ("ObjectCreated:CompleteMultipartUpload", EventKind.CREATED, False),
        ("s3:ObjectCreated:Copy", EventKind.CREATED, False),
        ("ObjectRemoved:Delete", EventKind.REMOVED, False),
        ("s3:ObjectRemoved:DeleteMarkerCreated", EventKind.REMOVED, True),
        ("LifecycleExpiration:Delete", EventKind.REMOVED, False),
        ("LifecycleExpiration:DeleteMarkerCreated", EventKind.REMOVED, True),
        ("s3:ObjectCreated:PutTagging", EventKind.CREATED, False),
        ("s3:ObjectRemoved:DeleteAllVersions", EventKind.REMOVED, False),
    ],
)
def test_what_an_event_name_means(name: str, kind: EventKind, marker: bool) -> None:
    events = parse(body(record(name, versionId="v1"))).events
    assert [(event.kind, event.marker) for event in events] == [(kind, marker)]


@pytest.mark.parametrize(
    "name",
    [
        "ObjectTagging:Put",
        "s3:ObjectAccessed:Get",
        "ObjectRestore:Completed",
        "s3:Scanner:ManyVersions",
        "s3:LifecycleDelMarkerExpiration:Delete",
        "ObjectLifecycle:Expiration:AbortMPU",
    ],
)
def test_what_tells_of_no_upload_is_ignored(name: str) -> None:
    parsed = parse(body(record(name)))
    assert (parsed.events, parsed.rejects, parsed.ignored) == ([], [], 1)


def test_folders_are_ignored_and_objects_that_look_like_one_are_not() -> None:
    parsed = parse(body(record(key="in/", size=0), record(key="in/", size=3)))
    assert (parsed.events, parsed.ignored) == ([created("in/", size=3)], 1)


def test_all_records_of_a_message_with_the_bad_ones_told_apart() -> None:
    parsed = parse(body(record(key="a"), {"eventName": "ObjectCreated:Put"}, 7, record(key="b")))
    assert [event.ref.key for event in parsed.events] == ["a", "b"]
    assert parsed.rejects == ["no_s3", "no_record"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not_json"),
        ("[" * 100_000, "not_json"),
        ("9" * 5000, "not_json"),
        ("7", "not_an_object"),
        ("{}", "unknown_shape"),
        ("[]", "no_records"),
        ('{"Records": []}', "no_records"),
        (json.dumps({"Type": "SubscriptionConfirmation", "Message": "Confirm"}), "unknown_shape"),
        (body(record("ObjectInvented:Now")), "unknown_event_name"),
        (body(record(key="%ff%fe")), "key_not_utf8"),
        (body(record(key="a%00b")), "name_not_storable"),
        (body(record(key="\ud800")), "name_not_storable"),
        (body(record(key="k" * (MAX_KEY_BYTES + 1))), "name_not_storable"),
        (body(record(size=-1)), "bad_size"),
        (body(record(size=True)), "bad_size"),
        (body(record(size="-1")), "bad_size"),
        (body(record(size="\u0663")), "bad_size"),
        (body(record(size="9" * 19)), "bad_size"),
        (body(record(size=2**63)), "bad_size"),
        (body(record(eTag=7)), "bad_eTag"),
    ],
)
def test_unknown_bodies_are_given_back_with_a_reason(text: str, reason: str) -> None:
    parsed = parse(text)
    assert (parsed.events, parsed.rejects) == ([], [reason])


def test_envelopes_in_envelopes_end() -> None:
    text = AWS
    for _ in range(6):
        text = json.dumps({"Type": "Notification", "Message": text})
    assert parse(text).rejects == ["nested_too_deep"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
ENVELOPE = ["Records", "Event", "Type", "Message", "source", "detail-type", "detail", "s3", "Bucket"]
RECORD = ["object", "bucket", "key", "eventName", "name", "size", "eTag", "versionId", "deletion-type"]
NAMES = st.sampled_from([*ENVELOPE, *RECORD])
VALUES = st.sampled_from(
    [
        "s3:TestEvent",
        "Notification",
        "aws.s3",
        "Object Created",
        "ObjectCreated:Put",
        "uploads",
        "k",
        10,
        None,
    ]
)
NEARLY = st.recursive(
    VALUES | JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=200).filter(
    lambda key: len(key.encode()) <= MAX_KEY_BYTES
)


def said_something(text: str) -> bool:
    """Whether the parser told an event, a reason or that it ignores it: nothing vanishes."""
    parsed = parse(text)
    assert all(event.kind is EventKind.TEST or storable(event.ref) for event in parsed.events)
    return bool(parsed.events or parsed.rejects or parsed.ignored)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert said_something(text)


@given(JSON | NEARLY)
def test_no_json_raises(value: Any) -> None:  # noqa: ANN401
    assert said_something(json.dumps(value))


STYLES: dict[str, Callable[[str], str]] = {
    "aws": lambda key: quote(key, safe="/").replace("%20", "+"),
    "minio": quote_plus,
    "percent": lambda key: quote(key, safe=""),
}


@given(KEYS, st.sampled_from(sorted(STYLES)))
def test_keys_come_back_through_every_encoding(key: str, style: str) -> None:
    assert parse(body(record(key=STYLES[style](key)))).events[0].ref.key == key


@given(KEYS)
def test_keys_of_ceph_and_eventbridge_come_as_they_are(key: str) -> None:
    assert parse(body(record(key=key) | {"eventSource": "ceph:s3"})).events[0].ref.key == key
    told = json.loads(json.dumps(BRIDGE))
    told["detail"]["object"]["key"] = key
    assert parse(json.dumps(told)).events[0].ref.key == key


@given(KEYS, st.sampled_from(["%", "%2", "%zz", "+%", "%25%"]))
def test_a_percent_sign_that_encodes_nothing_stays(key: str, stray: str) -> None:
    parsed = parse(body(record(key=quote_plus(key[:100]) + stray)))
    assert len(parsed.events) == 1


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectTagging:Put", "Nothing:Known"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["v1", "v2"]),
    ),
    min_size=1,
    max_size=8,
)


@given(RECORDS, st.integers(0, 2))
def test_order_and_duplicates_are_kept_and_every_record_counts(
    told: list[tuple[str, str, str]], envelopes: int
) -> None:
    text = body(*[record(name, key=key, versionId=version) for name, key, version in told])
    for _ in range(envelopes):
        text = json.dumps({"Type": "Notification", "Message": text})
    parsed = parse(text)
    assert [(event.kind, event.ref.key, event.ref.version_id) for event in parsed.events] == [
        (EventKind.CREATED if name == "ObjectCreated:Put" else EventKind.REMOVED, key, version)
        for name, key, version in told
        if name in ("ObjectCreated:Put", "ObjectRemoved:Delete")
    ]
    assert len(parsed.events) + len(parsed.rejects) + parsed.ignored == len(told)
