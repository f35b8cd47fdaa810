"""The object store on boto3: any service that speaks S3."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from config.object_store import make_client
from config.settings import StorageSettings
from worker.domain import ObjectRef
from worker.errors import StorageRefused
from worker.storage import probe
from worker.storage.access import AccessControl, Version
from worker.storage.protocol import Body, Listed, Probe, Versioning, VersionPage
from worker.storage.s3_errors import error_code, is_unable, storage_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 2**20
STACK_DEPTH = 50
"""Entries of one key that are looked at: enough to see what is current and what lies directly beneath."""

VERSIONING_FOR = 60.0
"""Seconds that a bucket's versioning is remembered for reading; changing an object always asks again."""


class S3Store(AccessControl):
    """Thread-safe; one boto3 client a process, made anew after a fork."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self.quarantine_bucket = settings.quarantine_bucket
        self._made = threading.Lock()
        self._client: S3Client | None = None
        self._pid = 0
        self._versioning: dict[str, tuple[float, Versioning]] = {}

    @property
    def client(self) -> S3Client:
        """This process's boto3 client."""
        if self._client is None or self._pid != os.getpid():
            with self._made:
                if self._client is None or self._pid != os.getpid():
                    self._client = make_client(self._settings)
                    self._pid = os.getpid()
        return self._client

    def versioning(self, bucket: str, *, fresh: bool = False) -> Versioning:
        known = self._versioning.get(bucket)
        if known is not None and not fresh and time.monotonic() - known[0] < VERSIONING_FOR:
            return known[1]
        with storage_errors(bucket, "s3:GetBucketVersioning"):
            try:
                status: str = self.client.get_bucket_versioning(Bucket=bucket).get("Status", "")
            except ClientError as error:
                if not is_unable(error):
                    raise
                status = ""
        found = {"Enabled": Versioning.ENABLED, "Suspended": Versioning.SUSPENDED}.get(status, Versioning.OFF)
        self._versioning[bucket] = (time.monotonic(), found)
        return found

    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectRef | None:
        with storage_errors(bucket, "s3:GetObject"):
            try:
                answer = self.client.head_object(Bucket=bucket, Key=key, **_version(version_id))
            except ClientError as error:
                if error_code(error)[1] not in (404, 405):
                    raise
                answer = None
        if answer is None:
            self.versioning(
                bucket
            )  # A HEAD can't tell a missing key from a missing bucket; this refuses the latter.
            return None
        return ObjectRef(
            bucket,
            key,
            _version_id(answer.get("VersionId")),
            answer["ETag"].strip('"'),
            answer["ContentLength"],
            _seconds(answer["LastModified"]),
        )

    @contextmanager
    def read(self, bucket: str, key: str, version_id: str | None, etag: str) -> Iterator[Body]:
        action = "s3:GetObjectVersion" if version_id else "s3:GetObject"
        condition: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        with storage_errors(bucket, action):
            answer = self.client.get_object(Bucket=bucket, Key=key, **_version(version_id), **condition)
        stream = answer["Body"]

        def chunks() -> Iterator[bytes]:
            with storage_errors(bucket, action):
                yield from stream.iter_chunks(CHUNK_BYTES)

        try:
            yield Body(answer["ContentLength"], answer.get("ContentType", ""), chunks())
        finally:
            stream.close()

    def stack(self, bucket: str, key: str) -> list[Version]:
        with storage_errors(bucket, "s3:ListBucketVersions"):
            answer = self.client.list_object_versions(Bucket=bucket, Prefix=key, MaxKeys=STACK_DEPTH)
        found = [
            Version(
                _version_id(version.get("VersionId")),
                is_marker=False,
                is_latest=version["IsLatest"],
                etag=version["ETag"].strip('"'),
                last_modified=_seconds(version["LastModified"]),
            )
            for version in answer.get("Versions", [])
            if version["Key"] == key
        ]
        found += [
            Version(
                _version_id(marker.get("VersionId")),
                is_marker=True,
                is_latest=marker["IsLatest"],
                etag="",
                last_modified=_seconds(marker["LastModified"]),
            )
            for marker in answer.get("DeleteMarkers", [])
            if marker["Key"] == key
        ]
        return sorted(found, key=lambda version: not version.is_latest)

    def lay_marker(self, bucket: str, key: str) -> str:
        with storage_errors(bucket, "s3:DeleteObject"):
            answer = self.client.delete_object(Bucket=bucket, Key=key)
        marker = answer.get("VersionId", "")
        if not marker:
            raise StorageRefused(
                f"The object store deleted an object of bucket {bucket} without a delete marker.",
                next_step="Run `hashwarden doctor`; until then this bucket's uploads can't be withheld safely.",
            )
        return marker

    def delete(self, bucket: str, key: str, version_id: str | None, etag: str = "") -> None:
        action = "s3:DeleteObject" if version_id is None else "s3:DeleteObjectVersion"
        with storage_errors(bucket, action):
            try:
                if etag:
                    self.client.delete_object(
                        Bucket=bucket, Key=key, IfMatch=f'"{etag}"', **_version(version_id)
                    )
                    return
            except ClientError as error:
                if error_code(error)[1] == 404:
                    return
                if not is_unable(error):
                    raise
            try:
                self.client.delete_object(Bucket=bucket, Key=key, **_version(version_id))
            except ClientError as error:
                if error_code(error)[1] != 404 or error_code(error)[0] == "NoSuchBucket":
                    raise

    def copy(
        self, source: ObjectRef, bucket: str, key: str, *, only_if_free: bool, kms_key: str | None = None
    ) -> None:
        origin: dict[str, Any] = {"Bucket": source.bucket, "Key": source.key}
        if source.version_id:
            origin["VersionId"] = source.version_id
        request: dict[str, Any] = {
            "Bucket": bucket,
            "Key": key,
            "CopySource": origin,
            "CopySourceIfMatch": f'"{source.etag}"',
            "MetadataDirective": "COPY",
            "TaggingDirective": "COPY",
        }
        if kms_key is not None:
            request["ServerSideEncryption"] = "aws:kms" if kms_key else "AES256"
        if kms_key:
            request["SSEKMSKeyId"] = kms_key
        with storage_errors(bucket, "s3:PutObject"):
            if only_if_free:
                try:
                    self.client.copy_object(**request, IfNoneMatch="*")
                except ClientError as error:
                    if not is_unable(error):
                        raise
                else:
                    return
            answer = self.client.copy_object(**request)
        if kms_key is not None and not answer.get("ServerSideEncryption"):
            self.erase(bucket, key)
            raise StorageRefused(
                f"The object store did not encrypt what was copied to bucket {bucket}; the copy was deleted again.",
                next_step="Turn on server-side encryption at the store, or leave minors.bucket empty.",
            )

    def put(self, bucket: str, key: str, data: bytes, content_type: str) -> ObjectRef:
        with storage_errors(bucket, "s3:PutObject"):
            answer = self.client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)
        version_id = _version_id(answer.get("VersionId"))
        return ObjectRef(bucket, key, version_id, answer["ETag"].strip('"'), len(data))

    def get_tags(self, bucket: str, key: str, version_id: str | None) -> dict[str, str]:
        with storage_errors(bucket, "s3:GetObjectTagging"):
            answer = self.client.get_object_tagging(Bucket=bucket, Key=key, **_version(version_id))
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put_tags(self, bucket: str, key: str, version_id: str | None, tags: dict[str, str]) -> None:
        with storage_errors(bucket, "s3:PutObjectTagging"):
            self.client.put_object_tagging(
                Bucket=bucket,
                Key=key,
                Tagging={"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]},
                **_version(version_id),
            )

    def list_versions(
        self, bucket: str, key_marker: str = "", version_marker: str = "", limit: int = 1000
    ) -> VersionPage:
        markers: dict[str, Any] = {}
        if key_marker:
            markers["KeyMarker"] = key_marker
        if version_marker:
            markers["VersionIdMarker"] = version_marker
        with storage_errors(bucket, "s3:ListBucketVersions"):
            try:
                answer = self.client.list_object_versions(Bucket=bucket, MaxKeys=limit, **markers)
            except ClientError as error:
                if not is_unable(error):
                    raise
                return self._list_objects(bucket, key_marker, limit)
        listed = [
            Listed(
                ObjectRef(
                    bucket,
                    version["Key"],
                    _version_id(version.get("VersionId")),
                    version["ETag"].strip('"'),
                    version["Size"],
                    _seconds(version["LastModified"]),
                ),
                version["IsLatest"],
            )
            for version in answer.get("Versions", [])
        ]
        return VersionPage(
            listed,
            answer.get("NextKeyMarker", ""),
            answer.get("NextVersionIdMarker", ""),
            answer["IsTruncated"],
        )

    def _list_objects(self, bucket: str, after: str, limit: int) -> VersionPage:
        """For stores that know no versions at all."""
        with storage_errors(bucket, "s3:ListBucket"):
            answer = self.client.list_objects_v2(Bucket=bucket, StartAfter=after, MaxKeys=limit)
        listed = [
            Listed(
                ObjectRef(
                    bucket,
                    found["Key"],
                    "",
                    found["ETag"].strip('"'),
                    found["Size"],
                    _seconds(found["LastModified"]),
                ),
                is_latest=True,
            )
            for found in answer.get("Contents", [])
        ]
        last = listed[-1].ref.key if listed else after
        return VersionPage(listed, last, "", answer["IsTruncated"])

    def probe(self, bucket: str) -> list[Probe]:
        return probe.probe(self, bucket)


def _version(version_id: str | None) -> dict[str, Any]:
    return {} if version_id is None else {"VersionId": version_id or "null"}


def _version_id(told: str | None) -> str:
    return "" if told in (None, "null") else told


def _seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
