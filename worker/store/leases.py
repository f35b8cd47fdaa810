"""Leases on uploads: an attempt is counted and committed before the media is touched.

So no poison upload can loop, whatever dies, and a second start of the same upload finds the lease taken.
Time is the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from config.settings import QueueSettings
from worker.domain import Lane, ObjectRef, State
from worker.store.models import Upload
from worker.store.transitions import transition

OUT_OF_ATTEMPTS = "out_of_attempts"
LEASE_EXPIRED = "lease_expired"


# Made once: to put a statement together takes longer than to ask it.
_UNLOCKED = (
    select(Upload, func.clock_timestamp())
    .where(Upload.id == bindparam("upload"))
    .with_for_update(skip_locked=True)
)
_LEASED = (
    select(Upload)
    .where(
        Upload.id == bindparam("upload"),
        Upload.lease == bindparam("token"),
        Upload.state == State.SCANNING,
    )
    .with_for_update()
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to scan one upload until the lease ends."""

    upload_id: int
    token: UUID
    ref: ObjectRef
    lane: Lane
    attempts: int
    faults: int
    receipt: dict[str, Any] | None = None
    """Where access to it is denied already: how, as the row has it."""


def claim(session: Session, upload_id: int, settings: QueueSettings, *, actor: str) -> Lease | None:
    """Takes the lease and counts the attempt; the caller commits before it touches the media.

    None: the row is not due, somebody else has it, or it is final. A row out of attempts is left `pending` with
    reason `out_of_attempts` for `exhausted` to end.
    """
    found = session.execute(_UNLOCKED, {"upload": upload_id}).one_or_none()
    if found is None:
        return None
    upload, now = found
    if not _due(upload, now):
        return None
    if upload.state == State.SCANNING:
        transition(session, upload, State.PENDING, actor=actor, reason=LEASE_EXPIRED)
    if upload.attempts >= settings.max_attempts:
        upload.reason = OUT_OF_ATTEMPTS
        return None
    lane = Lane(upload.lane)
    upload.attempts += 1
    token = uuid4()
    transition(session, upload, State.SCANNING, actor=actor)
    upload.lease = token
    seconds = settings.lease_image if lane is Lane.IMAGE else settings.lease_video
    upload.lease_until = func.clock_timestamp() + timedelta(seconds=seconds)
    return Lease(upload.id, token, upload.ref, lane, upload.attempts, upload.faults, upload.receipt)


def _due(upload: Upload, now: datetime) -> bool:
    if upload.state == State.PENDING:
        return bool(upload.next_attempt_at <= now)
    return bool(upload.state == State.SCANNING and (upload.lease_until is None or upload.lease_until < now))


def locked(session: Session, lease: Lease) -> Upload | None:
    """The leased row, locked until the transaction ends; None when the lease was lost to somebody else."""
    return session.scalar(_LEASED, {"upload": lease.upload_id, "token": lease.token})


def exhausted(session: Session, upload_id: int, settings: QueueSettings) -> Upload | None:
    """The row, locked, when it is due and out of attempts; the caller ends it."""
    return session.scalar(
        select(Upload)
        .where(
            Upload.id == upload_id, Upload.state == State.PENDING, Upload.attempts >= settings.max_attempts
        )
        .with_for_update(skip_locked=True)
    )


def give_back(
    session: Session, lease: Lease, settings: QueueSettings, *, actor: str, reason: str, use_attempt: bool
) -> bool:
    """Returns a leased upload to `pending` with a later due time.

    `use_attempt=False` is for faults that are not the upload's (storage, index, database): the attempt counted at
    the claim is taken back, and only the waiting time grows. False when the lease was lost.
    """
    upload = locked(session, lease)
    if upload is None:
        return False
    if use_attempt:
        tries = upload.attempts
    else:
        upload.attempts -= 1
        upload.faults += 1
        tries = upload.faults
    transition(session, upload, State.PENDING, actor=actor, reason=reason)
    upload.next_attempt_at = func.clock_timestamp() + delay(settings, tries)
    return True


def change_lane(session: Session, lease: Lease, lane: Lane, *, actor: str) -> bool:
    """Hands an upload to the other lane, due at once; the attempt counted at the claim is taken back."""
    upload = locked(session, lease)
    if upload is None:
        return False
    upload.attempts -= 1
    upload.lane = lane
    transition(session, upload, State.PENDING, actor=actor, reason=f"lane_{lane}")
    return True


def delay(settings: QueueSettings, tries: int) -> timedelta:
    """Seconds before try number `tries + 1`: the base, four times longer each time, up to the maximum."""
    return timedelta(seconds=min(settings.retry_base * 4 ** max(0, min(tries, 12) - 1), settings.retry_max))
