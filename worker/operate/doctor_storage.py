"""The doctor's checks of buckets, quarantine and event queue; scratch keys are written and deleted, nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from config.settings import Settings
from worker.operate.check import Check, Status
from worker.storage.protocol import Versioning
from worker.storage.s3 import S3Store

_EVERYBODY = ("AllUsers", "AuthenticatedUsers")
"""Groups of S3's access control lists that stand for anybody (S3 user guide, "ACL overview")."""


def bucket_checks(store: S3Store, settings: Settings, bucket: str) -> Iterator[Check]:
    part = f"bucket {bucket}"
    if bucket == settings.storage.quarantine_bucket:
        yield Check(
            part,
            "quarantine",
            Status.FAIL,
            "It is scanned and the quarantine at once.",
            "Name another bucket in storage.quarantine_bucket.",
        )
        return
    versioning = store.versioning(bucket)
    if versioning is Versioning.ENABLED:
        yield Check(part, "versions", Status.OK, "on")
    else:
        yield Check(
            part,
            "versions",
            Status.WARN,
            f"{versioning.value}: a held object is copied to quarantine and its key deleted.",
            "Turn versions on: then a delete marker withholds, and its removal restores exactly.",
        )
    for probe in store.probe(bucket):
        if probe.ok:
            yield Check(part, probe.name, Status.OK, probe.detail)
        else:
            yield Check(
                part,
                probe.name,
                Status.FAIL,
                probe.detail,
                "Until this holds, uploads of this bucket can't be withheld safely: correct permissions or store.",
            )


def quarantine_checks(store: S3Store, settings: Settings) -> Iterator[Check]:
    bucket = settings.storage.quarantine_bucket
    if not bucket:
        unversioned = [
            name for name in settings.storage.buckets if store.versioning(name) is not Versioning.ENABLED
        ]
        if unversioned:
            yield Check(
                "quarantine",
                "present",
                Status.FAIL,
                f"None is set, and {', '.join(unversioned)} keeps no versions.",
                "Set storage.quarantine_bucket to a private bucket, or turn versions on.",
            )
        return
    store.versioning(bucket, fresh=True)
    yield Check("quarantine", "present", Status.OK, bucket)
    public = _public_by(store, bucket)
    if public is None:
        yield Check(
            "quarantine",
            "private",
            Status.WARN,
            "The store doesn't tell who may read it.",
            "Make sure that nobody but this system may read that bucket.",
        )
    elif public:
        yield Check(
            "quarantine",
            "private",
            Status.FAIL,
            f"Anybody may read it, by its {public}.",
            "Block public access to that bucket: it holds what was withheld.",
        )
    else:
        yield Check("quarantine", "private", Status.OK)


def _public_by(store: S3Store, bucket: str) -> str | None:
    """What opens the bucket to anybody: 'policy', 'access list', '' for nothing, None when the store won't say."""
    told = False
    try:
        status = store.client.get_bucket_policy_status(Bucket=bucket)
        if status["PolicyStatus"]["IsPublic"]:
            return "policy"
        told = True
    except ClientError as error:
        told = error.response["Error"]["Code"] == "NoSuchBucketPolicy"
    try:
        grants = store.client.get_bucket_acl(Bucket=bucket)["Grants"]
    except ClientError:
        return "" if told else None
    anybody = any(str(grant.get("Grantee", {}).get("URI", "")).endswith(_EVERYBODY) for grant in grants)
    return "access list" if anybody else ""
