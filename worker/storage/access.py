"""Denying and serving one object version, written once over a few primitives that every store implements.

What is relied on, and why it is done in this order:

- In a bucket with versions a delete marker hides the version and its removal undoes that exactly. Between looking
  and laying the marker a newer version may slip in, so the stack is read again and a marker that covers anything
  but our version is taken away.
- In a bucket without versions (or with versions suspended) DELETE destroys, so the bytes are copied to the
  quarantine bucket, verified, and only then deleted; every step can be repeated after a crash. Restoring never
  overwrites what somebody else has put at the key.
- Where versions are suspended, a plain DELETE leaves a null delete marker, so no older version surfaces.

Never acts on an object whose version id or etag is not the one that it was asked for.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from worker.domain import ObjectRef
from worker.errors import ObjectGone, ObjectSuperseded, StorageError, StorageRefused
from worker.storage.protocol import (
    Body,
    Method,
    Probe,
    Receipt,
    Served,
    ServedOutcome,
    Versioning,
    VersionPage,
)

MAX_TAGS = 10
"""Tags an object can have (S3 user guide, "Object tagging")."""

MAX_COPY_BYTES = 5 * 2**30
"""Largest object that one CopyObject copies with its tags and metadata (S3 API reference)."""

CLOCK_TOLERANCE = timedelta(seconds=2)
"""Marker times have a resolution of a second, and the store's clock is not the database's."""


@dataclass(frozen=True, slots=True)
class Version:
    """One entry of a key's stack of versions and delete markers, newest first."""

    version_id: str
    is_marker: bool
    is_latest: bool
    etag: str
    last_modified: datetime


class AccessControl(ABC):
    """An `ObjectStore` over primitives, for a store to be made of; no other room calls the primitives.

    In the primitives `version_id` is None for the current object and '' for the store's "null" version.
    """

    quarantine_bucket: str

    @abstractmethod
    def versioning(self, bucket: str, *, fresh: bool = False) -> Versioning:
        """What the bucket does with versions; `fresh` asks the store and not the cache."""

    @abstractmethod
    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectRef | None:
        """The object there, complete; None where there is none or a delete marker."""

    @abstractmethod
    def read(self, bucket: str, key: str, version_id: str | None, etag: str) -> AbstractContextManager[Body]:
        """The object's bytes; ObjectSuperseded when `etag` is set and differs."""

    @abstractmethod
    def stack(self, bucket: str, key: str) -> list[Version]:
        """The newest versions and markers of exactly this key.

        The latest entry comes first and the objects are in order; where a marker lies among them is not told, as
        S3 lists the two apart with times in seconds.
        """

    @abstractmethod
    def lay_marker(self, bucket: str, key: str) -> str:
        """A plain DELETE in a bucket with versions; the marker's version id."""

    @abstractmethod
    def delete(self, bucket: str, key: str, version_id: str | None, etag: str = "") -> None:
        """Deletes; nothing there is fine. With `etag`, ObjectSuperseded where the store sees another one."""

    @abstractmethod
    def copy(
        self, source: ObjectRef, bucket: str, key: str, *, only_if_free: bool, kms_key: str | None = None
    ) -> None:
        """Copies bytes, metadata, type and tags of the source as its etag names it; with `kms_key` encrypted."""

    @abstractmethod
    def put(self, bucket: str, key: str, data: bytes, content_type: str) -> ObjectRef:
        """Writes a scratch object; only `probe` does."""

    @abstractmethod
    def get_tags(self, bucket: str, key: str, version_id: str | None) -> dict[str, str]: ...

    @abstractmethod
    def put_tags(self, bucket: str, key: str, version_id: str | None, tags: dict[str, str]) -> None: ...

    @abstractmethod
    def list_versions(
        self, bucket: str, key_marker: str = "", version_marker: str = "", limit: int = 1000
    ) -> VersionPage: ...

    @abstractmethod
    def probe(self, bucket: str) -> list[Probe]: ...

    def complete(self, ref: ObjectRef) -> ObjectRef:
        found = self.head(ref.bucket, ref.key, ref.version_id or None)
        if found is None:
            raise _gone(ref.bucket)
        if ref.etag and found.etag != ref.etag:
            raise _superseded(ref.bucket)
        return found

    def open(self, ref: ObjectRef, receipt: Receipt | None = None) -> AbstractContextManager[Body]:
        if receipt is not None and receipt.method is Method.QUARANTINE:
            return self.read(self._quarantine_bucket(), receipt.quarantine_key, None, "")
        return self.read(ref.bucket, ref.key, self._pin(ref), "" if ref.version_id else ref.etag)

    def is_served(self, ref: ObjectRef) -> bool:
        current = self.head(ref.bucket, ref.key)
        return current is not None and _is(current, ref)

    def deny(
        self,
        ref: ObjectRef,
        receipt: Receipt | None,
        *,
        intent_at: datetime | None,
        quarantine_key: str,
        sha256: bytes | None,
    ) -> Receipt:
        if self.versioning(ref.bucket, fresh=True) is Versioning.ENABLED:
            return self._hide(ref, receipt, intent_at)
        return self._quarantine(ref, receipt, quarantine_key, sha256)

    def serve(
        self,
        ref: ObjectRef,
        receipt: Receipt | None,
        *,
        intent_at: datetime | None = None,
        quarantine_key: str = "",
    ) -> Served:
        if intent_at is not None:
            receipt = self._after_crash(ref, receipt, intent_at, quarantine_key) or receipt
        if receipt is not None and receipt.method is Method.QUARANTINE:
            return self._restore(ref, receipt)
        if receipt is not None and receipt.method is Method.DELETE_MARKER:
            self.delete(ref.bucket, ref.key, receipt.marker_version_id)
        served = self.is_served(ref)
        return Served(ServedOutcome.SERVED if served else ServedOutcome.NOT_CURRENT, ref)

    def purge(self, ref: ObjectRef, receipt: Receipt | None) -> None:
        if receipt is not None and receipt.method is Method.QUARANTINE:
            self.erase(self._quarantine_bucket(), receipt.quarantine_key)
            return
        versioning = self.versioning(ref.bucket, fresh=True)
        if versioning is Versioning.ENABLED and self.is_served(ref):
            self._hide(ref, None, None)
        pin = self._pin(ref)
        found = self.head(ref.bucket, ref.key, pin)
        if found is not None and _is(found, ref):
            with suppress(ObjectSuperseded):
                self.delete(ref.bucket, ref.key, pin, "" if ref.version_id else ref.etag)

    def tag(self, ref: ObjectRef, name_values: dict[str, str]) -> bool:
        pin = self._pin(ref)
        self._expect(ref, pin)
        tags = self.get_tags(ref.bucket, ref.key, pin)
        merged = tags | name_values
        if merged == tags:
            return True
        if len(merged) > MAX_TAGS:
            return False
        self.put_tags(ref.bucket, ref.key, pin, merged)
        if pin is None:
            # PutObjectTagging takes no If-Match: an upload that replaced ours just now must not carry our verdict.
            try:
                self._expect(ref, pin)
            except ObjectSuperseded:
                theirs = {name: value for name, value in merged.items() if name not in name_values}
                self.put_tags(ref.bucket, ref.key, None, theirs)
                raise
        return True

    def _pin(self, ref: ObjectRef) -> str | None:
        """The version id to ask for; without one, the null version where it may lie beneath others."""
        if ref.version_id:
            return ref.version_id
        return "" if self.versioning(ref.bucket) is Versioning.ENABLED else None

    def _expect(self, ref: ObjectRef, pin: str | None) -> None:
        found = self.head(ref.bucket, ref.key, pin)
        if found is None:
            raise _gone(ref.bucket)
        if not _is(found, ref):
            raise _superseded(ref.bucket)

    def _hide(self, ref: ObjectRef, receipt: Receipt | None, intent_at: datetime | None) -> Receipt:
        stack = self.stack(ref.bucket, ref.key)
        if not (stack and _is_version(stack[0], ref)):
            unrecorded = _unrecorded_marker(stack, ref, receipt, intent_at)
            return unrecorded or receipt or Receipt(Method.NOT_CURRENT, at=datetime.now(UTC))
        marker_id = self.lay_marker(ref.bucket, ref.key)
        stack = self.stack(ref.bucket, ref.key)
        newest = next((version for version in stack if not version.is_marker), None)
        if newest is None or not _is_version(newest, ref):
            self.delete(ref.bucket, ref.key, marker_id)
            return Receipt(Method.NOT_CURRENT, at=datetime.now(UTC))
        if receipt is not None and receipt.method is Method.QUARANTINE and self.quarantine_bucket:
            # The bucket was given versions since, and the version came back: it lies beneath the marker now.
            self.erase(self.quarantine_bucket, receipt.quarantine_key)
        laid = next((version for version in stack if version.version_id == marker_id), None)
        return Receipt(Method.DELETE_MARKER, marker_id, at=laid.last_modified if laid else datetime.now(UTC))

    def _quarantine(
        self, ref: ObjectRef, receipt: Receipt | None, quarantine_key: str, sha256: bytes | None
    ) -> Receipt:
        current = self.head(ref.bucket, ref.key)
        if current is None or not _is(current, ref):
            if receipt is not None:
                return receipt
            copy = self._sound_copy(quarantine_key, ref, sha256)
            return copy or Receipt(Method.NOT_CURRENT, at=datetime.now(UTC))
        bucket = self._quarantine_bucket()
        if current.size > MAX_COPY_BYTES:
            raise StorageRefused(
                f"An object of {current.size} bytes in bucket {ref.bucket} is too large to be copied to quarantine.",
                next_step="Turn on versions for that bucket: then a delete marker denies access.",
            )
        if receipt is not None and receipt.method is Method.QUARANTINE:
            quarantine_key = receipt.quarantine_key
        try:
            self.copy(current, bucket, quarantine_key, only_if_free=False)
        except (ObjectGone, ObjectSuperseded):
            return self._sound_copy(quarantine_key, ref, sha256) or Receipt(
                Method.NOT_CURRENT, at=datetime.now(UTC)
            )
        if not self.is_served(ref):
            # Not every store honours If-Match on a copy: without the SHA-256 this may be the newer content.
            if sha256 is None:
                self.erase(bucket, quarantine_key)
            copy = self._sound_copy(quarantine_key, ref, sha256)
            return copy or Receipt(Method.NOT_CURRENT, at=datetime.now(UTC))
        copy = self._sound_copy(quarantine_key, current, sha256)
        if copy is None:
            raise StorageError(
                f"The quarantine copy of an object of bucket {ref.bucket} differs from it; the object was left.",
                next_step="It is tried again; if this stays, the store doesn't copy faithfully.",
            )
        if self.is_served(ref):
            with suppress(ObjectSuperseded):
                self.delete(ref.bucket, ref.key, ref.version_id or None, "" if ref.version_id else ref.etag)
        return copy

    def _sound_copy(self, quarantine_key: str, ref: ObjectRef, sha256: bytes | None) -> Receipt | None:
        """The receipt of a quarantine copy that holds these bytes; one that doesn't is deleted."""
        if not self.quarantine_bucket or not quarantine_key:
            return None
        copy = self.head(self.quarantine_bucket, quarantine_key)
        if copy is None:
            return None
        sound = not ref.size or copy.size == ref.size
        if sound and sha256 is not None:
            sound = self._sha256(self.quarantine_bucket, quarantine_key) == sha256
        if not sound:
            self.erase(self.quarantine_bucket, quarantine_key)
            return None
        return Receipt(Method.QUARANTINE, quarantine_key=quarantine_key, at=copy.last_modified)

    def _restore(self, ref: ObjectRef, receipt: Receipt) -> Served:
        bucket, key = self._quarantine_bucket(), receipt.quarantine_key
        copy = self.head(bucket, key)
        current = self.head(ref.bucket, ref.key)
        if current is not None and not self._older(current, receipt):
            if not (_is(current, ref) or (copy is not None and self._same_bytes(current, copy))):
                return Served(ServedOutcome.OCCUPIED, ref)
        elif copy is None:
            return Served(ServedOutcome.LOST, ref)
        else:
            try:
                self.copy(copy, ref.bucket, ref.key, only_if_free=current is None)
            except ObjectSuperseded:
                return Served(ServedOutcome.OCCUPIED, ref)
            current = self.head(ref.bucket, ref.key)
            if current is None or not self._same_bytes(current, copy):
                raise StorageError(
                    f"An object restored to bucket {ref.bucket} isn't served with the bytes of its quarantine copy.",
                    next_step="It is tried again; the quarantine copy was kept.",
                )
        self.erase(bucket, key)
        restored = (current.version_id, current.etag, current.last_modified) != (
            ref.version_id,
            ref.etag,
            ref.last_modified,
        )
        return Served(ServedOutcome.SERVED, current, restored=restored)

    def _older(self, current: ObjectRef, receipt: Receipt) -> bool:
        """Whether this surfaced only because ours was deleted above it (where versions are suspended).

        The copy put back becomes the null version, so a current null version counts as somebody's and is kept.
        """
        return bool(
            current.version_id
            and receipt.at is not None
            and current.last_modified is not None
            and current.last_modified < receipt.at
        )

    def _same_bytes(self, one: ObjectRef, other: ObjectRef) -> bool:
        if one.size != other.size:
            return False
        return one.etag == other.etag or self._sha256(one.bucket, one.key) == self._sha256(
            other.bucket, other.key
        )

    def _after_crash(
        self, ref: ObjectRef, receipt: Receipt | None, intent_at: datetime, quarantine_key: str
    ) -> Receipt | None:
        """What a `deny` did whose receipt was never committed."""
        if self.versioning(ref.bucket, fresh=True) is Versioning.ENABLED:
            return _unrecorded_marker(self.stack(ref.bucket, ref.key), ref, receipt, intent_at)
        return self._sound_copy(quarantine_key, ref, None) if receipt is None else None

    def _sha256(self, bucket: str, key: str) -> bytes:
        digest = hashlib.sha256()
        with self.read(bucket, key, None, "") as body:
            for chunk in body:
                digest.update(chunk)
        return digest.digest()

    def erase(self, bucket: str, key: str) -> None:
        """Deletes the key with all its versions, whatever the bucket does with versions."""
        if self.versioning(bucket, fresh=True) is not Versioning.ENABLED:
            self.delete(bucket, key, None)
            return
        for version in self.stack(bucket, key):
            self.delete(bucket, key, version.version_id)

    def _quarantine_bucket(self) -> str:
        if not self.quarantine_bucket:
            raise StorageRefused(
                "An object of a bucket without versions can't be withheld: no quarantine bucket is set.",
                next_step="Set storage.quarantine_bucket to a private bucket, or turn on versions.",
            )
        return self.quarantine_bucket


def _is(found: ObjectRef, ref: ObjectRef) -> bool:
    """Whether what was found is this version; where there are no version ids the etag tells."""
    if ref.version_id or found.version_id:
        return found.version_id == ref.version_id
    return bool(ref.etag) and found.etag == ref.etag


def _is_version(version: Version, ref: ObjectRef) -> bool:
    return not version.is_marker and _is(
        ObjectRef(ref.bucket, ref.key, version.version_id, version.etag), ref
    )


def _unrecorded_marker(
    stack: list[Version], ref: ObjectRef, receipt: Receipt | None, intent_at: datetime | None
) -> Receipt | None:
    """The marker laid by a `deny` that died before its receipt was committed.

    It is on top, no older than an intent that no receipt answers, and the newest object beneath is ours. While the
    marker on record lies there, another one on top is somebody's own.
    """
    if not stack or intent_at is None or not stack[0].is_marker:
        return None
    if receipt is not None:
        answered = receipt.at is None or receipt.at >= intent_at - CLOCK_TOLERANCE
        if answered or any(version.version_id == receipt.marker_version_id for version in stack):
            return None
    top = stack[0]
    newest = next((version for version in stack if not version.is_marker), None)
    if newest is None or not _is_version(newest, ref) or top.last_modified < intent_at - CLOCK_TOLERANCE:
        return None
    return Receipt(Method.DELETE_MARKER, top.version_id, at=top.last_modified)


def _gone(bucket: str) -> ObjectGone:
    return ObjectGone(f"Bucket {bucket} no longer holds that object version.")


def _superseded(bucket: str) -> ObjectSuperseded:
    return ObjectSuperseded(f"In bucket {bucket} that key holds another content now.")
