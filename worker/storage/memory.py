"""The object store's twin in memory, with versioned, suspended and unversioned buckets: for tests and trials."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from worker.domain import ObjectRef
from worker.errors import ObjectGone, ObjectSuperseded, StorageRefused
from worker.storage import probe
from worker.storage.access import AccessControl, Version
from worker.storage.protocol import Body, Listed, Probe, Versioning, VersionPage

CHUNK_BYTES = 2**16


@dataclass(slots=True)
class _Object:
    version_id: str
    last_modified: datetime
    data: bytes = b""
    etag: str = ""
    content_type: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    is_marker: bool = False


@dataclass(slots=True)
class _Bucket:
    versioning: Versioning
    keys: dict[str, list[_Object]] = field(default_factory=dict)


class MemoryStore(AccessControl):
    """Thread-safe. `put_object` and `delete_object` are what the platform would do."""

    def __init__(
        self, quarantine_bucket: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.quarantine_bucket = quarantine_bucket
        self._clock = clock
        self._lock = threading.RLock()
        self._buckets: dict[str, _Bucket] = {}
        if quarantine_bucket:
            self.create_bucket(quarantine_bucket)

    def create_bucket(self, name: str, versioning: Versioning = Versioning.OFF) -> None:
        """Makes a bucket, or changes what an existing one does with versions."""
        with self._lock:
            self._buckets.setdefault(name, _Bucket(versioning)).versioning = versioning

    def put_object(
        self,
        bucket: str,
        key: str,
        data: bytes,
        content_type: str = "binary/octet-stream",
        metadata: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> ObjectRef:
        with self._lock:
            made = _Object(
                self._new_version_id(bucket),
                self._clock(),
                data,
                hashlib.md5(data, usedforsecurity=False).hexdigest(),
                content_type,
                dict(metadata or {}),
                dict(tags or {}),
            )
            self._push(bucket, key, made)
            return _ref(bucket, key, made)

    def delete_object(self, bucket: str, key: str) -> None:
        """A plain DELETE: a delete marker, or the end of the object where there are no versions."""
        with self._lock:
            if self._bucket(bucket).versioning is Versioning.OFF:
                self._bucket(bucket).keys.pop(key, None)
            else:
                self.lay_marker(bucket, key)

    def versioning(self, bucket: str, *, fresh: bool = False) -> Versioning:  # noqa: ARG002 (nothing is cached)
        return self._bucket(bucket).versioning

    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectRef | None:
        with self._lock:
            found = self._find(bucket, key, version_id)
            return _ref(bucket, key, found) if found else None

    @contextmanager
    def read(self, bucket: str, key: str, version_id: str | None, etag: str) -> Iterator[Body]:
        with self._lock:
            found = self._there(bucket, key, version_id)
            if etag and found.etag != etag:
                raise ObjectSuperseded(f"In bucket {bucket} that key holds another content now.")
            data = found.data
        chunks = (data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))
        yield Body(len(data), found.content_type, chunks)

    def stack(self, bucket: str, key: str) -> list[Version]:
        with self._lock:
            return [
                Version(
                    found.version_id,
                    is_marker=found.is_marker,
                    is_latest=place == 0,
                    etag=found.etag,
                    last_modified=found.last_modified.replace(microsecond=0),
                )
                for place, found in enumerate(self._bucket(bucket).keys.get(key, []))
            ]

    def lay_marker(self, bucket: str, key: str) -> str:
        with self._lock:
            marker = _Object(self._new_version_id(bucket), self._clock(), is_marker=True)
            self._push(bucket, key, marker)
            return marker.version_id

    def delete(self, bucket: str, key: str, version_id: str | None, etag: str = "") -> None:
        with self._lock:
            found = self._find(bucket, key, version_id)
            if etag and found is not None and found.etag != etag:
                raise ObjectSuperseded(f"In bucket {bucket} that key holds another content now.")
            if version_id is None:
                self.delete_object(bucket, key)
                return
            keys = self._bucket(bucket).keys
            left = [kept for kept in keys.get(key, []) if kept.version_id != version_id]
            if left:
                keys[key] = left
            else:
                keys.pop(key, None)

    def copy(
        self,
        source: ObjectRef,
        bucket: str,
        key: str,
        *,
        only_if_free: bool,
        kms_key: str | None = None,  # noqa: ARG002 (memory has no disk to encrypt)
    ) -> None:
        with self._lock:
            found = self._there(source.bucket, source.key, source.version_id or None)
            if found.etag != source.etag or (only_if_free and self._find(bucket, key, None) is not None):
                raise ObjectSuperseded(f"In bucket {bucket} that key holds another content now.")
            self.put_object(bucket, key, found.data, found.content_type, found.metadata, found.tags)

    def put(self, bucket: str, key: str, data: bytes, content_type: str) -> ObjectRef:
        return self.put_object(bucket, key, data, content_type)

    def get_tags(self, bucket: str, key: str, version_id: str | None) -> dict[str, str]:
        with self._lock:
            return dict(self._there(bucket, key, version_id).tags)

    def put_tags(self, bucket: str, key: str, version_id: str | None, tags: dict[str, str]) -> None:
        with self._lock:
            self._there(bucket, key, version_id).tags = dict(tags)

    def get_metadata(self, bucket: str, key: str) -> dict[str, str]:
        """The user metadata of the current object."""
        with self._lock:
            return dict(self._there(bucket, key, None).metadata)

    def list_versions(
        self, bucket: str, key_marker: str = "", version_marker: str = "", limit: int = 1000
    ) -> VersionPage:
        with self._lock:
            entries = [
                (key, place, found)
                for key, stack in sorted(self._bucket(bucket).keys.items())
                for place, found in enumerate(stack)
                if (key, place) > (key_marker, self._place(bucket, key_marker, version_marker))
            ]
            page = entries[:limit]
            refs = [
                Listed(_ref(bucket, key, found), is_latest=place == 0)
                for key, place, found in page
                if not found.is_marker
            ]
            if not page:
                return VersionPage(refs)
            last_key, _, last = page[-1]
            return VersionPage(refs, last_key, last.version_id or "null", more=len(entries) > limit)

    def probe(self, bucket: str) -> list[Probe]:
        return probe.probe(self, bucket)

    def _place(self, bucket: str, key: str, version_marker: str) -> int:
        """Where in the key's stack a listing goes on; without a version marker after the whole key."""
        stack = self._bucket(bucket).keys.get(key, [])
        wanted = "" if version_marker == "null" else version_marker
        places = [place for place, found in enumerate(stack) if version_marker and found.version_id == wanted]
        return places[0] if places else len(stack)

    def _bucket(self, name: str) -> _Bucket:
        if name not in self._buckets:
            raise StorageRefused(f"There is no bucket {name}.", next_step="Create it.")
        return self._buckets[name]

    def _new_version_id(self, bucket: str) -> str:
        return uuid4().hex if self._bucket(bucket).versioning is Versioning.ENABLED else ""

    def _push(self, bucket: str, key: str, new: _Object) -> None:
        stack = self._bucket(bucket).keys.get(key, [])
        # A bucket keeps one null version a key: the newest write without a version id replaces it.
        kept = [found for found in stack if new.version_id or found.version_id]
        self._bucket(bucket).keys[key] = [new, *kept]

    def _find(self, bucket: str, key: str, version_id: str | None) -> _Object | None:
        stack = self._bucket(bucket).keys.get(key, [])
        if version_id is not None:
            stack = [found for found in stack if found.version_id == version_id]
        return stack[0] if stack and not stack[0].is_marker else None

    def _there(self, bucket: str, key: str, version_id: str | None) -> _Object:
        found = self._find(bucket, key, version_id)
        if found is None:
            raise ObjectGone(f"Bucket {bucket} no longer holds that object version.")
        return found


def _ref(bucket: str, key: str, found: _Object) -> ObjectRef:
    return ObjectRef(
        bucket,
        key,
        found.version_id,
        found.etag,
        len(found.data),
        found.last_modified.astimezone(UTC).replace(microsecond=0),
    )
