"""Settings of what tells of uploads: an SQS queue or MinIO's Redis list."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class EventSettings(BaseModel):
    """At most one of the two."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sqs_queue_url: str = Field(
        "", description="SQS queue that receives the buckets' notifications; empty: none."
    )
    sqs_endpoint_url: str | None = Field(None, description="Address of the SQS service; empty means AWS.")
    sqs_wait_seconds: int = Field(20, ge=0, le=20, description="Length of one long poll.")
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="Redis or Valkey to whose list MinIO writes notifications (format `access`); instead of SQS.",
    )
    redis_key: str = Field(
        "minio_events", min_length=1, description="Key of that list, as in MinIO's settings."
    )
    uploader_pattern: str = Field(
        r"^(?P<uploader>[^/]+)/",
        description="Regular expression whose group `uploader` says who uploaded a key; other keys count as one.",
    )

    @property
    def has_source(self) -> bool:
        """Whether there is something for `hashwarden ingest` to take events from."""
        return bool(self.sqs_queue_url or self.redis_url.get_secret_value())

    @field_validator("uploader_pattern")
    @classmethod
    def _names_the_uploader(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if "uploader" not in groups:
            raise ValueError("it has no group (?P<uploader>...)")
        return pattern
