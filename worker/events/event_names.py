"""What the names of events say of an object: that a version came, went, was hidden by a marker, or none of these.

Names are those of AWS, MinIO (internal/event/name.go) and Ceph (rgw_notify_event_type.cc), without their `s3:`.
"""

from __future__ import annotations

from enum import Enum, auto


class Meaning(Enum):
    CREATED = auto()
    REMOVED = auto()
    MARKED = auto()
    """A delete marker was laid on the key; the versions below it still exist."""
    NOTHING = auto()
    """It tells of no object version's coming or going."""


_RECORDS = {
    "ObjectSynced:Create": Meaning.CREATED,
    "ObjectRemoved:Delete": Meaning.REMOVED,
    "ObjectRemoved:DeleteAllVersions": Meaning.REMOVED,
    "LifecycleExpiration:Delete": Meaning.REMOVED,
    "ObjectLifecycle:Expiration:Noncurrent": Meaning.REMOVED,
    "ObjectLifecycle:Expiration:NonCurrent": Meaning.REMOVED,
    "ObjectSynced:Delete": Meaning.REMOVED,
    "ObjectRemoved:DeleteMarkerCreated": Meaning.MARKED,
    "LifecycleExpiration:DeleteMarkerCreated": Meaning.MARKED,
    # With versions the current one stays beneath a marker, and Ceph does not tell the two cases apart.
    "ObjectLifecycle:Expiration:Current": Meaning.MARKED,
    "ObjectSynced:DeletionMarkerCreated": Meaning.MARKED,
}
_NOTHING = (
    "BucketCreated:",
    "BucketRemoved:",
    "IntelligentTiering",
    "LifecycleDelMarkerExpiration:",
    "LifecycleTransition",
    "ObjectAccessed:",
    "ObjectAcl:",
    "ObjectAnnotation:",
    "ObjectLifecycle:Expiration:AbortMPU",
    "ObjectLifecycle:Expiration:DeleteMarker",
    "ObjectLifecycle:Transition:",
    "ObjectRemoved:NoOP",
    "ObjectReplication:",
    "ObjectRestore:",
    "ObjectTagging:",
    "ObjectTransition:",
    "ReducedRedundancyLostObject",
    "Replication:",
    "Scanner:",
)
_BRIDGE = {
    "Object Created": Meaning.CREATED,
    "Object Deleted": Meaning.REMOVED,
} | dict.fromkeys(
    (
        "Object ACL Updated",
        "Object Access Tier Changed",
        "Object Restore Completed",
        "Object Restore Expired",
        "Object Restore Initiated",
        "Object Storage Class Changed",
        "Object Tags Added",
        "Object Tags Deleted",
    ),
    Meaning.NOTHING,
)


def of_record(name: str) -> Meaning | None:
    """What the `eventName` of a record says; None for one that is not known.

    MinIO's ObjectCreated:PutTagging and its like count as CREATED: they prove that the version is there.
    """
    name = name.removeprefix("s3:")
    if name.startswith("ObjectCreated:"):
        return Meaning.CREATED
    if name in _RECORDS:
        return _RECORDS[name]
    return Meaning.NOTHING if name.startswith(_NOTHING) else None


def of_bridge(name: str, deletion: object) -> Meaning | None:
    """What EventBridge's `detail-type` says, with the `deletion-type` of its detail; None for one not known."""
    meaning = _BRIDGE.get(name)
    if meaning is Meaning.REMOVED and deletion == "Delete Marker Created":
        return Meaning.MARKED
    return meaning
