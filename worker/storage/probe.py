"""What a store really does, tried on a scratch key: services that speak S3 are known to answer 200 and do otherwise.

(One of them writes the tags over the object's bytes; reference: its own issue tracker and our measurement.)
Never touches a key outside the scratch prefix, and deletes what it wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from config.errors import HashwardenError
from worker.errors import ObjectSuperseded
from worker.storage.access import AccessControl
from worker.storage.protocol import Probe, Versioning

SCRATCH_PREFIX = ".hashwarden-doctor/"

_BODY = b"hashwarden doctor: one"
_TYPE = "image/x-hashwarden"
_TAGS = {"hashwarden-doctor": "one"}


def probe(store: AccessControl, bucket: str) -> list[Probe]:
    """One line for each thing relied on; a later one is tried even when an earlier one failed."""
    key = f"{SCRATCH_PREFIX}{uuid4()}"
    target = store.quarantine_bucket or bucket
    copy_key = f"{key}-copy"
    checks: list[tuple[str, Callable[[], str]]] = [
        ("put_and_get", lambda: _put_and_get(store, bucket, key)),
        ("tags", lambda: _tags(store, bucket, key)),
        ("copy", lambda: _copy(store, bucket, key, target, copy_key)),
        ("if_match_get", lambda: _if_match(store, bucket, key)),
        ("list_versions", lambda: _list(store, bucket, key)),
        ("withhold", lambda: _withhold(store, bucket, key)),
        ("clean_up", lambda: _clean_up(store, [(bucket, key), (target, copy_key)])),
    ]
    return [_run(name, check) for name, check in checks]


class _Failed(Exception):
    pass


def _run(name: str, check: Callable[[], str]) -> Probe:
    try:
        return Probe(name, ok=True, detail=check())
    except _Failed as failure:
        return Probe(name, ok=False, detail=str(failure))
    except HashwardenError as error:
        return Probe(name, ok=False, detail=str(error))


def _bytes(store: AccessControl, bucket: str, key: str) -> tuple[bytes, str]:
    with store.read(bucket, key, None, "") as body:
        return b"".join(body), body.content_type


def _put_and_get(store: AccessControl, bucket: str, key: str) -> str:
    store.put(bucket, key, _BODY, _TYPE)
    if _bytes(store, bucket, key) != (_BODY, _TYPE):
        raise _Failed("An object is not read as it was written.")
    return ""


def _tags(store: AccessControl, bucket: str, key: str) -> str:
    store.put_tags(bucket, key, None, _TAGS)
    if _bytes(store, bucket, key)[0] != _BODY:
        raise _Failed("Writing tags destroys the object: tags must stay off on this store.")
    if store.get_tags(bucket, key, None) != _TAGS:
        raise _Failed("Tags are not kept.")
    return ""


def _copy(store: AccessControl, bucket: str, key: str, target: str, copy_key: str) -> str:
    source = store.head(bucket, key)
    if source is None:
        raise _Failed("The scratch object is missing.")
    store.copy(source, target, copy_key, only_if_free=True)
    if _bytes(store, target, copy_key) != (_BODY, _TYPE):
        raise _Failed("A copy has other bytes or another content type.")
    if store.get_tags(target, copy_key, None) != _TAGS:
        raise _Failed("A copy loses its tags.")
    return "" if store.quarantine_bucket else "within the bucket; no quarantine bucket is set"


def _if_match(store: AccessControl, bucket: str, key: str) -> str:
    try:
        with store.read(bucket, key, None, "0" * 32):
            raise _Failed(
                "If-Match is ignored: an overwritten object would be taken for the one that was told."
            )
    except ObjectSuperseded:
        return ""


def _list(store: AccessControl, bucket: str, key: str) -> str:
    if not any(version.is_latest and not version.is_marker for version in store.stack(bucket, key)):
        raise _Failed("The listing of versions doesn't show the current object.")
    return ""


def _withhold(store: AccessControl, bucket: str, key: str) -> str:
    before = store.head(bucket, key)
    if store.versioning(bucket, fresh=True) is not Versioning.ENABLED:
        if not store.quarantine_bucket:
            raise _Failed("The bucket keeps no versions and storage.quarantine_bucket is not set.")
        return "by copy to the quarantine bucket" + _conditional_delete(store, bucket, key)
    marker = store.lay_marker(bucket, key)
    if store.head(bucket, key) is not None:
        raise _Failed("A delete marker doesn't hide the object.")
    store.delete(bucket, key, marker)
    if before is None or store.head(bucket, key) != before:
        raise _Failed("Removing a delete marker doesn't bring the same version back.")
    return "by delete marker"


def _conditional_delete(store: AccessControl, bucket: str, key: str) -> str:
    try:
        store.delete(bucket, key, None, "0" * 32)
    except ObjectSuperseded:
        return ""
    return "; If-Match on deletion is ignored, so the etag is checked right before instead"


def _clean_up(store: AccessControl, scratch: list[tuple[str, str]]) -> str:
    for bucket, key in scratch:
        store.erase(bucket, key)
    if any(store.head(bucket, key) is not None for bucket, key in scratch):
        raise _Failed("A deleted object is still served.")
    return ""
