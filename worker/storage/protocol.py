"""What an object store is to the rest of the worker, and the values it answers with.

All of it takes an `ObjectRef`: etags without quotes, last-modified in whole UTC seconds, and the store's "null"
version as ''. Every implementation raises only `StorageError` (try again), `ObjectGone`, `ObjectSuperseded` and
`StorageRefused` (a permission, setting or ability is missing), and no message carries an object key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from worker.domain import ObjectRef
from worker.errors import StorageError


class Versioning(StrEnum):
    """What a bucket does with what is overwritten or deleted."""

    ENABLED = "enabled"
    SUSPENDED = "suspended"
    OFF = "off"


class Method(StrEnum):
    """How a plain GET was made not to serve a version."""

    DELETE_MARKER = "delete_marker"
    QUARANTINE = "quarantine"
    NOT_CURRENT = "not_current"
    """Nothing was done: a newer version or somebody else's delete marker hides it already."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `deny` did, kept in the upload's row so that `serve` undoes exactly that."""

    method: Method
    marker_version_id: str = ""
    quarantine_key: str = ""
    at: datetime | None = None
    """When it took hold, by the store's clock where the store says so."""

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method.value,
            "marker_version_id": self.marker_version_id,
            "quarantine_key": self.quarantine_key,
            "at": self.at.isoformat() if self.at else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        at = value.get("at")
        return cls(
            Method(value["method"]),
            value.get("marker_version_id", ""),
            value.get("quarantine_key", ""),
            datetime.fromisoformat(at) if at else None,
        )


class ServedOutcome(StrEnum):
    SERVED = "served"
    NOT_CURRENT = "not_current"
    """Nothing of ours hides it any more, but a newer version or somebody else's delete marker does."""
    OCCUPIED = "occupied"
    """The key holds other content: that is not overwritten, and the quarantine copy stays."""
    LOST = "lost"
    """Neither the object nor its quarantine copy exists."""


@dataclass(frozen=True, slots=True)
class Served:
    """What `serve` found or did; `ref` is the object version that the key serves as this upload now."""

    outcome: ServedOutcome
    ref: ObjectRef
    restored: bool = False
    """The object was written anew: `ref` has a new etag, version or last-modified, and is our own write."""


@dataclass(frozen=True, slots=True)
class Listed:
    ref: ObjectRef
    is_latest: bool


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of a listing, delete markers left out; the markers continue it where `more` is true."""

    refs: list[Listed]
    next_key_marker: str = ""
    next_version_marker: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that `doctor` proved or found missing, with what that means."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """An open object, its bytes in chunks; iterate once.

    Iterating raises StorageError when fewer or more bytes come than the store announced.
    """

    size: int
    content_type: str
    chunks: Iterator[bytes]

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for chunk in self.chunks:
            count += len(chunk)
            yield chunk
        if count != self.size:
            raise StorageError(
                f"The object store sent {count} of {self.size} bytes.", next_step="It is tried again."
            )


class ObjectStore(Protocol):
    """The seam. One caller at a time may change one object's access: callers hold the upload row's lock."""

    def complete(self, ref: ObjectRef) -> ObjectRef:
        """The version that `ref` names, or else the current object at the key, named exactly, by one HEAD.

        Raises ObjectSuperseded when `ref.etag` is set and another etag is found, ObjectGone when none is.
        """

    def open(self, ref: ObjectRef, receipt: Receipt | None = None) -> AbstractContextManager[Body]:
        """Exactly that version, or its quarantine copy when `receipt` says that it lies there."""

    def deny(
        self,
        ref: ObjectRef,
        receipt: Receipt | None,
        *,
        intent_at: datetime | None,
        quarantine_key: str,
        sha256: bytes | None,
    ) -> Receipt:
        """Makes that a plain GET of the key does not serve this version; checks and repairs when called again.

        `intent_at` is the time that the caller committed before an earlier call whose receipt it does not have, and
        None without one: a delete marker newer than that is recognised as ours.
        """

    def serve(
        self,
        ref: ObjectRef,
        receipt: Receipt | None,
        *,
        intent_at: datetime | None = None,
        quarantine_key: str = "",
    ) -> Served:
        """Undoes exactly what `deny` did; `intent_at` and `quarantine_key` as given to a `deny` that crashed."""

    def purge(self, ref: ObjectRef, receipt: Receipt | None) -> None:
        """Deletes that version, or its quarantine copy, for good; no older version surfaces."""

    def is_served(self, ref: ObjectRef) -> bool:
        """Whether a plain GET of the key serves this very version now."""

    def tag(self, ref: ObjectRef, name_values: dict[str, str]) -> bool:
        """Merges tags into that version's own; False when that would be more than ten, nothing written then."""

    def list_versions(
        self, bucket: str, key_marker: str = "", version_marker: str = "", limit: int = 1000
    ) -> VersionPage:
        """The bucket's object versions in key order, noncurrent ones too."""

    def versioning(self, bucket: str) -> Versioning: ...

    def probe(self, bucket: str) -> list[Probe]:
        """Proves on a scratch key what the store really does, and cleans up after itself."""
