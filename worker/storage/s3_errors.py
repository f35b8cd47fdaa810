"""Every fault of boto3 as one of the four storage errors; no message carries an object key or a credential."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import urllib3.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from config.errors import HashwardenError
from worker.errors import ObjectGone, ObjectSuperseded, StorageError, StorageRefused

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})
_SUPERSEDED = frozenset({"PreconditionFailed", "412"})
_UNABLE = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
_PASSING = frozenset(
    {
        "ConditionalRequestConflict",
        "ExpiredToken",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottlingException",
        "TokenRefreshRequired",
    }
)
"""Codes below 500 or unlabelled that a later try can pass (S3 API reference, "Error responses")."""


@contextmanager
def storage_errors(bucket: str, action: str) -> Iterator[None]:
    """Turns what boto3 raises into a storage error that names the bucket and the S3 action (`s3:GetObject`)."""
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, bucket, action) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise StorageRefused(
            f"There are no credentials to reach bucket {bucket}.",
            next_step="Set storage.access_key and storage.secret_key, or give the host a role.",
        ) from None
    except ParamValidationError:
        raise StorageRefused(
            f"The object store's client refused a request for bucket {bucket} ({action}) as malformed.",
            next_step="Check the names in storage.buckets and storage.quarantine_bucket.",
        ) from None
    except (BotoCoreError, HTTPClientError, urllib3.exceptions.HTTPError, OSError) as error:
        # Their texts hold the whole address, and so the key.
        raise StorageError(
            f"The object store of bucket {bucket} can't be reached or broke off ({type(error).__name__}).",
            next_step="It is tried again; check storage.endpoint_url if this stays.",
        ) from None


def error_code(error: ClientError) -> tuple[str, int]:
    """The store's error code and HTTP status; a HEAD has its status for a code."""
    answer = error.response
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(answer.get("Error", {}).get("Code", status)), int(status)


def is_unable(error: ClientError) -> bool:
    """Whether the store says that it does not have this ability at all."""
    code, status = error_code(error)
    return code in _UNABLE or status == 501


def _of_answer(error: ClientError, bucket: str, action: str) -> HashwardenError:
    code, status = error_code(error)
    if code == "NoSuchBucket":
        return StorageRefused(
            f"There is no bucket {bucket}.",
            next_step="Create it, or correct storage.buckets and storage.quarantine_bucket.",
        )
    if code in _GONE or (code == "InvalidArgument" and action == "s3:GetObjectVersion"):
        return ObjectGone(f"Bucket {bucket} no longer holds that object version.")
    if code in _SUPERSEDED:
        return ObjectSuperseded(f"In bucket {bucket} that key holds another content now.")
    if (status >= 500 and not is_unable(error)) or status == 429 or code in _PASSING:
        return StorageError(
            f"The object store answered {status} ({code}) for bucket {bucket}.",
            next_step="It is tried again.",
        )
    if is_unable(error):
        return StorageRefused(
            f"The object store of bucket {bucket} can't do {action}.",
            next_step="`hashwarden doctor` lists what is needed; turn off what relies on it.",
        )
    if code == "InvalidObjectState":
        return StorageRefused(
            f"An object of bucket {bucket} lies in an archive storage class and can't be read.",
            next_step="Restore it from the archive and replay the upload.",
        )
    if code == "RequestTimeTooSkewed":
        return StorageRefused(
            f"The object store of bucket {bucket} says that this host's clock is wrong.",
            next_step="Set the clock.",
        )
    if status in (401, 403):
        return StorageRefused(
            f"The object store refused {action} on bucket {bucket} ({code}).",
            next_step=f"Grant {action} on this bucket (and s3:ListBucket, without which missing keys answer 403),"
            " and check the credentials.",
        )
    if status == 400 and action.startswith("s3:Get") and code in ("400", "Bad Request"):
        # A HEAD has no body: an expired token and a malformed version id look the same.
        return StorageError(
            f"The object store answered 400 without a reason for bucket {bucket}.",
            next_step="It is tried again.",
        )
    return StorageRefused(
        f"The object store answered {status} ({code}) to {action} on bucket {bucket}.",
        next_step="`hashwarden doctor` shows what this store can do.",
    )
