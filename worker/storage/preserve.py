"""Copies one object, denied or not, to a place of its own, encrypted there, and proves that the copy is the same.

Can be run again after a crash at any step: a copy that is there and sound is taken as it is.
"""

from __future__ import annotations

import hashlib

from worker.domain import ObjectRef
from worker.errors import ObjectGone, StorageError, StorageRefused
from worker.storage.access import MAX_COPY_BYTES, AccessControl
from worker.storage.protocol import Method, Receipt


def preserve(
    store: AccessControl,
    ref: ObjectRef,
    receipt: Receipt | None,
    *,
    bucket: str,
    key: str,
    sha256: bytes | None,
    kms_key: str,
) -> ObjectRef:
    """The copy, exactly named. `kms_key`: the key that encrypts it, '' for the store's own.

    Raises ObjectGone or ObjectSuperseded when the object is not there any more, StorageError when it is to be tried
    again, StorageRefused when it can't be copied, or not encrypted.
    """
    there = store.head(bucket, key)
    if there is not None and _sound(store, there, ref, sha256):
        return there
    source = _source(store, ref, receipt)
    if source.size > MAX_COPY_BYTES:
        raise StorageRefused(
            f"An object of {source.size} bytes in bucket {ref.bucket} is too large to be copied in one piece.",
            next_step="Copy it by hand to the bucket of minors.bucket; until then it stays where it is, denied.",
        )
    store.copy(source, bucket, key, only_if_free=False, kms_key=kms_key)
    made = store.head(bucket, key)
    if made is None or not _sound(store, made, ref, sha256):
        raise StorageError(
            f"The copy of an object of bucket {ref.bucket} differs from it; the object was left.",
            next_step="It is tried again; if this stays, the store doesn't copy faithfully.",
        )
    return made


def _source(store: AccessControl, ref: ObjectRef, receipt: Receipt | None) -> ObjectRef:
    if receipt is None or receipt.method is not Method.QUARANTINE:
        return store.complete(ref)
    found = store.head(store.quarantine_bucket, receipt.quarantine_key)
    if found is None:
        raise ObjectGone("The quarantine bucket no longer holds that object.")
    return found


def _sound(store: AccessControl, copy: ObjectRef, ref: ObjectRef, sha256: bytes | None) -> bool:
    if sha256 is None:
        return copy.size == ref.size
    digest = hashlib.sha256()
    with store.open(copy) as body:
        for chunk in body:
            digest.update(chunk)
    return digest.digest() == sha256
