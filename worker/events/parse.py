"""What an event message says, as a pure function over its text; no body of any shape makes it raise.

Known shapes: S3 notifications 2.x (AWS, Ceph, moto), the same inside an SNS envelope, EventBridge events, and MinIO's
webhook and Redis bodies. Notifications encode keys as HTML forms do ('+' is a space); EventBridge and Ceph don't.
What is of no known shape is given back as a reason, so that the message is kept and counted and never dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from worker.domain import EventKind, ObjectRef, UploadEvent
from worker.events import event_names
from worker.events.event_names import Meaning

MAX_KEY_BYTES = 1024
MAX_VERSION_BYTES = 1024
"""S3's own limits for object keys and version ids (S3 user guide); longer ones could not be stored as a row."""

MAX_ETAG_CHARS = 256
MAX_BUCKET_CHARS = 255
MAX_SIZE = 2**63 - 1
MAX_SIZE_DIGITS = 19

KNOWN_MAJOR = "2"
"""Of `eventVersion`. AWS adds fields in minor versions and changes their meaning in major ones (S3 user guide)."""

_RAW_KEYS = frozenset({"ceph:s3"})
"""Event sources that do not encode keys: Ceph's RGW writes them as they are (rgw_pubsub.cc)."""

_MAX_DEPTH = 3
"""Envelopes in envelopes: SNS around EventBridge is the most there is."""


@dataclass(slots=True)
class Parsed:
    """The events of one message in their order, duplicates kept, and a reason for each part not understood."""

    events: list[UploadEvent] = field(default_factory=list)
    rejects: list[str] = field(default_factory=list)
    ignored: int = 0
    """Records of known kinds that tell of no upload: tagging, folders."""


class _Unknown(Exception):
    """Carries the reason of a reject."""


def parse(body: str) -> Parsed:
    """Reads one message body."""
    parsed = Parsed()
    _message(body, parsed, depth=0)
    return parsed


def storable(ref: ObjectRef) -> bool:
    """Whether a row can hold this: PostgreSQL's text takes no NUL and no lone surrogates."""
    try:
        key = ref.key.encode("utf-8")
        return (
            0 < len(key) <= MAX_KEY_BYTES
            and len(ref.version_id.encode("utf-8")) <= MAX_VERSION_BYTES
            and 0 < len(ref.bucket) <= MAX_BUCKET_CHARS
            and len(ref.etag) <= MAX_ETAG_CHARS
            and "\x00" not in f"{ref.bucket}{ref.key}{ref.version_id}{ref.etag}"
            and bool(f"{ref.bucket}{ref.etag}".encode())
        )
    except UnicodeEncodeError:
        return False


def _message(body: str, parsed: Parsed, depth: int) -> None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        parsed.rejects.append("not_json")
        return
    _shape(value, parsed, depth)


def _shape(value: Any, parsed: Parsed, depth: int) -> None:  # noqa: ANN401 (any JSON)
    if depth > _MAX_DEPTH:
        parsed.rejects.append("nested_too_deep")
    elif isinstance(value, list):
        # MinIO's Redis target: [{"Event": [record, ...], "EventTime": "..."}]
        if not value:
            parsed.rejects.append("no_records")
        for part in value:
            records = part.get("Event") if isinstance(part, dict) else None
            _records(records, parsed)
    elif not isinstance(value, dict):
        parsed.rejects.append("not_an_object")
    elif "Records" in value:
        _records(value["Records"], parsed)
    elif value.get("Event") == "s3:TestEvent":
        bucket = value.get("Bucket")
        parsed.events.append(
            UploadEvent(EventKind.TEST, ObjectRef(bucket if isinstance(bucket, str) else "", ""))
        )
    elif value.get("Type") == "Notification" and isinstance(value.get("Message"), str):
        _message(value["Message"], parsed, depth + 1)
    elif value.get("source") == "aws.s3":
        _collect(_bridge_event, value, parsed)
    else:
        parsed.rejects.append("unknown_shape")


def _records(records: Any, parsed: Parsed) -> None:  # noqa: ANN401
    if not isinstance(records, list) or not records:
        parsed.rejects.append("no_records")
        return
    for record in records:
        _collect(_record_event, record, parsed)


def _collect(read: Any, value: Any, parsed: Parsed) -> None:  # noqa: ANN401
    try:
        event = read(value)
    except _Unknown as unknown:
        parsed.rejects.append(str(unknown))
        return
    if event is None or (event.kind is EventKind.CREATED and is_folder(event.ref)):
        parsed.ignored += 1
    else:
        parsed.events.append(event)


def is_folder(ref: ObjectRef) -> bool:
    """Whether this is the empty object by which consoles show a folder."""
    return ref.key.endswith("/") and ref.size == 0


def _record_event(record: Any) -> UploadEvent | None:  # noqa: ANN401
    name = _text(_dict(record, "record"), "eventName")
    if _optional(record, "eventVersion").partition(".")[0] not in ("", KNOWN_MAJOR):
        raise _Unknown("unknown_major_version")
    meaning = event_names.of_record(name)
    if meaning is None:
        raise _Unknown("unknown_event_name")
    if meaning is Meaning.NOTHING:
        return None
    s3 = _dict(record.get("s3"), "s3")
    told = _dict(s3.get("object"), "object")
    ref = _ref(
        bucket=_text(_dict(s3.get("bucket"), "bucket"), "name"),
        key=_key(told, encoded=record.get("eventSource") not in _RAW_KEYS),
        version_id=_optional(told, "versionId"),
        etag=_optional(told, "eTag"),
        size=_size(told),
    )
    return _event(meaning, ref, told)


def _bridge_event(value: dict[str, Any]) -> UploadEvent | None:
    name = _text(value, "detail-type")
    detail = value.get("detail")
    meaning = event_names.of_bridge(name, detail.get("deletion-type") if isinstance(detail, dict) else None)
    if meaning is None:
        raise _Unknown("unknown_event_name")
    if meaning is Meaning.NOTHING:
        return None
    detail = _dict(detail, "detail")
    told = _dict(detail.get("object"), "object")
    ref = _ref(
        bucket=_text(_dict(detail.get("bucket"), "bucket"), "name"),
        key=_key(told, encoded=False),
        # The hyphens are EventBridge's; moto writes these two as notifications do.
        version_id=_optional(told, "version-id") or _optional(told, "versionId"),
        etag=_optional(told, "etag") or _optional(told, "eTag"),
        size=_size(told),
    )
    return _event(meaning, ref, told)


def _event(meaning: Meaning, ref: ObjectRef, told: dict[str, Any]) -> UploadEvent:
    kind = EventKind.CREATED if meaning is Meaning.CREATED else EventKind.REMOVED
    return UploadEvent(kind, ref, _sequencer(told), meaning is Meaning.MARKED)


def _key(told: dict[str, Any], *, encoded: bool) -> str:
    key = _text(told, "key")
    if not encoded:
        return key
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise _Unknown("key_not_utf8") from None


def _ref(*, bucket: str, key: str, version_id: str, etag: str, size: int) -> ObjectRef:
    ref = ObjectRef(bucket, key, "" if version_id == "null" else version_id, etag.strip('"'), size)
    if not storable(ref):
        raise _Unknown("name_not_storable")
    return ref


def _dict(value: Any, name: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise _Unknown(f"no_{name}")
    return value


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not found:
        raise _Unknown(f"no_{name}")
    return found


def _optional(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _Unknown(f"bad_{name}")
    return found


def _size(value: dict[str, Any]) -> int:
    """Deletions tell no size; 0 then. Ceph's own example has it as text."""
    found = value.get("size", 0)
    if found is None:
        return 0
    if isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) <= MAX_SIZE_DIGITS:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= MAX_SIZE:
        raise _Unknown("bad_size")
    return found


def _sequencer(value: dict[str, Any]) -> str:
    """Only orders events of one key for display, so a strange one is left out and not rejected."""
    found = value.get("sequencer")
    return (
        found if isinstance(found, str) and found.isalnum() and len(found) <= 64 and found.isascii() else ""
    )
