"""Settings of suspected minors: where their objects are kept, beside where they lie."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MinorSettings(BaseModel):
    """One private bucket, or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: str = Field(
        "",
        description="Private bucket for an encrypted copy of each object; empty: they stay where they are, denied.",
    )
    kms_key: str = Field("", description="KMS key of the copies; empty: the store's own key (SSE-S3).")
