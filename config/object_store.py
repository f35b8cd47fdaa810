"""The client of the object store: any service that speaks S3."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from config.settings import StorageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_AGENT = f"hashwarden/{version('hashwarden')}"


def make_client(settings: StorageSettings) -> S3Client:
    """A boto3 client by the settings: SigV4, at most three tries of a call, path-style on an own endpoint.

    Checksums only where S3 demands them: many services that speak S3 refuse boto3's newer default.
    """
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url or None,
        region_name=settings.region,
        aws_access_key_id=settings.access_key.get_secret_value() if settings.access_key else None,
        aws_secret_access_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
        config=Config(
            signature_version="s3v4",
            # Short, and what the access log of the store tells its readers.
            user_agent=_AGENT,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"mode": "standard", "total_max_attempts": 3},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
        ),
    )
