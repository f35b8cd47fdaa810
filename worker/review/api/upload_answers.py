"""What the API tells of uploads and of what became of them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from worker.domain import State
from worker.operate.alarms.alarm import AlarmCode
from worker.review.api.values import NextCursor, Strict


class UploadAnswer(Strict):
    """One object version."""

    id: int
    state: State
    reason: str
    kind: str = Field(description="image, video, unsupported or unscannable; empty until it was read.")
    bucket: str
    key: str
    version_id: str = Field(description="Empty where the bucket keeps no versions.")
    size: int = Field(description="Bytes.")
    attempts: int = Field(description="Scans that were begun and brought no result.")
    first_seen_at: datetime
    state_since: datetime
    access_wanted: str = Field(description="served, denied or removed: what must hold in the storage.")
    access_applied: str = Field(
        description="What holds there; empty: not touched yet; refused, purging, purged."
    )
    access_error: str = Field(description="Why the storage could not be brought there.")
    index_epoch: int | None = Field(description="The index that it was compared with.")
    policy_revision: str
    review_id: int | None


class Step(Strict):
    """One change of one upload's state."""

    upload_id: int
    at: datetime
    from_state: str = Field(description="Empty for the first.")
    to_state: str
    actor: str
    reason: str


class UploadDetail(Strict):
    upload: UploadAnswer
    history: list[Step] = Field(description="The oldest first.")


class UploadList(Strict):
    uploads: list[UploadAnswer] = Field(description="The newest first.")
    next_cursor: NextCursor


class AlarmAnswer(Strict):
    """One thing that a person must look at."""

    code: AlarmCode
    message: str
    next_step: str
    subject: str = Field(description="A bank, or empty.")


class CoverageAnswer(Strict):
    """What was seen, and what became of it."""

    seen: int
    states: dict[State, int]
    scanned: int
    unsupported: int
    unscannable: int
    pending: int = Field(description="Not scanned yet.")
    backfill: int = Field(description="Those of them that are old stock.")
    oldest_pending: float | None = Field(description="Seconds that the oldest new one has waited.")
    lag: float | None = Field(
        description="Seconds from first sight to outcome, of 19 in 20 of the newest scans."
    )
    alarms: list[AlarmAnswer]
