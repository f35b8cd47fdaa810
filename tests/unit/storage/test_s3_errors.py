"""What each fault of boto3 becomes, and that none of their texts gets through."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from config.errors import HashwardenError
from worker.errors import ObjectGone, ObjectSuperseded, StorageError, StorageRefused
from worker.storage.s3_errors import storage_errors

PRIVATE = "in/private-key.jpg"


def answer(code: str, status: int) -> ClientError:
    told: Any = {"Error": {"Code": code, "Message": PRIVATE}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(told, "GetObject")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchKey", 404, ObjectGone),
        ("NoSuchVersion", 404, ObjectGone),
        ("404", 404, ObjectGone),
        ("PreconditionFailed", 412, ObjectSuperseded),
        ("412", 412, ObjectSuperseded),
        ("NoSuchBucket", 404, StorageRefused),
        ("AccessDenied", 403, StorageRefused),
        ("403", 403, StorageRefused),
        ("InvalidAccessKeyId", 403, StorageRefused),
        ("RequestTimeTooSkewed", 403, StorageRefused),
        ("InvalidObjectState", 403, StorageRefused),
        ("NotImplemented", 501, StorageRefused),
        ("MethodNotAllowed", 405, StorageRefused),
        ("KeyTooLongError", 400, StorageRefused),
        ("SlowDown", 503, StorageError),
        ("InternalError", 500, StorageError),
        ("RequestTimeout", 400, StorageError),
        ("ExpiredToken", 400, StorageError),
        ("400", 400, StorageError),
        ("ConditionalRequestConflict", 409, StorageError),
        ("TooManyRequests", 429, StorageError),
    ],
)
def test_answers(code: str, status: int, expected: type[HashwardenError]) -> None:
    with pytest.raises(expected) as caught, storage_errors("uploads", "s3:GetObject"):
        raise answer(code, status)
    assert "uploads" in caught.value.message
    assert PRIVATE not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EndpointConnectionError(endpoint_url=f"http://s3/uploads/{PRIVATE}"), StorageError),
        (ReadTimeoutError(endpoint_url=f"http://s3/uploads/{PRIVATE}"), StorageError),
        (ConnectionResetError(PRIVATE), StorageError),
        (NoCredentialsError(), StorageRefused),
        (ParamValidationError(report=PRIVATE), StorageRefused),
    ],
)
def test_faults_before_an_answer(error: BotoCoreError, expected: type[HashwardenError]) -> None:
    with pytest.raises(expected) as caught, storage_errors("uploads", "s3:GetObject"):
        raise error
    assert PRIVATE not in str(caught.value)


def test_a_malformed_version_id_is_a_version_that_does_not_exist() -> None:
    with pytest.raises(ObjectGone), storage_errors("uploads", "s3:GetObjectVersion"):
        raise answer("InvalidArgument", 400)


def test_a_refusal_names_the_permission() -> None:
    with (
        pytest.raises(StorageRefused, match="s3:PutObjectTagging"),
        storage_errors("up", "s3:PutObjectTagging"),
    ):
        raise answer("AccessDenied", 403)
