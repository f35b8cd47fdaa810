"""Makes the storage agree with the state of an upload: denies, serves again, removes, tags.

The row says what must hold (`access_wanted`); this module makes it hold and writes down how. It can be run any
number of times, by any number of workers, and after a crash at any step: the effect is the same. It decides
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from config.database import Sessions
from config.policy import PolicySettings
from worker.domain import PURGED, Access, ObjectRef, State
from worker.errors import ObjectGone, ObjectSuperseded, StorageError, StorageRefused
from worker.storage.protocol import ObjectStore, Receipt, ServedOutcome
from worker.store import ledger
from worker.store.minor_cases import preserved_until
from worker.store.models import Content, Upload

log = structlog.get_logger()

TAG = "content-scan-status"
"""Readable by anyone who may read tags: the values are neutral words."""

TAG_OF_STATE = {
    State.CLEAR: "CLEAR",
    State.FLAGGED: "CLEAR",
    State.HELD: "HELD",
    State.RELEASED: "RELEASED",
    State.REMOVED: "REMOVED",
    State.UNSUPPORTED: "UNSUPPORTED",
    State.UNSCANNABLE: "ERROR",
}

REFUSED = "refused"
PURGING = "purging"
"""The deletion of the bytes has begun: from here on an undo comes too late."""

_RETRY_BASE, _RETRY_MAX = 2.0, 300.0
_MAX_COUNT = 1000
"""Failures are counted up to here; the waiting time has long ceased to grow."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one run has to make hold, as read under the lock."""

    upload_id: int
    ref: ObjectRef
    state: State
    wanted: Access
    receipt: Receipt | None
    intent_at: datetime | None
    """The intent of an earlier run that left no receipt; what it did is found by it."""
    purge: bool
    tag: str
    attempts: int
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class _Done:
    applied: str
    receipt: Receipt | None
    purged: bool = False
    restored: ObjectRef | None = None
    error: str = ""


def ensure(sessions: Sessions, store: ObjectStore, policy: PolicySettings, upload_id: int) -> bool:
    """Makes the effect of one upload hold now. True when it holds; False when it is to be tried again later.

    One run at a time for one object key: delete markers of two versions of a key would meet. Another run in
    progress is left to finish; the row stays due.
    """
    if policy.mode == "shadow" and _left_alone(sessions, upload_id):
        return True
    with sessions() as guard, _sole_run(guard, upload_id) as alone:
        if not alone:
            return False
        work = _begin(sessions, policy, upload_id)
        if work is None:
            return True
        try:
            done = _apply(store, work)
        except StorageRefused as error:
            log.error("effect_refused", upload=upload_id, wanted=work.wanted, error=error.code)
            _failed(sessions, work, error.code, wait=_RETRY_MAX, applied=REFUSED)
            return False
        except StorageError as error:
            log.warning(
                "effect_failed",
                upload=upload_id,
                wanted=work.wanted,
                error=error.code,
                tries=work.attempts + 1,
            )
            _failed(sessions, work, error.code, wait=_wait(work))
            return False
        untagged = ""
        if work.tag and not done.purged:
            untagged = _tag(store, work, done.restored or work.ref, policy)
        return _finish(sessions, work, done, untagged)


@contextmanager
def _sole_run(session: Session, upload_id: int) -> Iterator[bool]:
    """An advisory lock on the object's key, held over the storage calls without holding the row.

    It ends with the guard's transaction: a lock of the session would outlive it in the connection pool.
    """
    address = session.execute(select(Upload.bucket, Upload.key).where(Upload.id == upload_id)).first()
    if address is None:
        yield False
        return
    lock = {"name": f"{address.bucket}/{address.key}"}
    yield bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 1))"), lock))


def _begin(sessions: Sessions, policy: PolicySettings, upload_id: int) -> _Work | None:
    """Reads what is to be done and, before the storage is changed, commits the intent."""
    with sessions.begin() as session:
        upload = session.get(Upload, upload_id, with_for_update=True)
        now = session.scalar(select(func.clock_timestamp()))
        assert now is not None  # noqa: S101 (a SELECT without FROM always answers one row)
        if upload is None:
            return None
        state = State(upload.state)
        purge = state is State.REMOVED and (
            # Deleted already, and looked at again: without versions the same bytes put there within the second
            # in which the deleted ones were written are the same row.
            upload.access_applied in {PURGING, PURGED}
            or (upload.purge_at is not None and upload.purge_at <= now)
        )
        kept = preserved_until(session, upload.content_id) if purge else None
        if kept is not None and upload.access_applied != PURGED:
            # Also where a deletion had begun and failed: what is left of the bytes is kept.
            purge = False
            upload.purge_at = kept
        due = upload.access_due_at is not None and upload.access_due_at <= now
        if not due and (not purge or upload.access_applied == PURGED):
            return None
        wanted = Access(upload.access_wanted)
        tag = _wanted_tag(state, policy)
        if nothing_to_do(upload, policy):
            upload.access_applied = Access.SERVED
            upload.access_due_at = None
            return None
        if upload.access_applied == PURGED and state is not State.REMOVED:
            upload.access_due_at = None
            return None
        earlier_intent = upload.access_intent_at
        if wanted is not Access.SERVED and earlier_intent is None:
            upload.access_intent_at = now
        if purge:
            upload.access_applied = PURGING
        sha256 = session.scalar(select(Content.sha256).where(Content.id == upload.content_id))
        return _Work(
            upload_id=upload.id,
            ref=upload.ref,
            state=state,
            wanted=wanted,
            receipt=Receipt.from_json(upload.receipt) if upload.receipt else None,
            intent_at=earlier_intent,
            purge=purge,
            tag=tag if tag != upload.tagged else "",
            attempts=upload.access_attempts,
            sha256=sha256,
        )


def nothing_to_do(upload: Upload, policy: PolicySettings) -> bool:
    """Whether an upload is to be served, was never denied, and has the tag it should have."""
    never_denied = upload.receipt is None and upload.access_intent_at is None
    tagged = upload.tagged == _wanted_tag(State(upload.state), policy)
    return upload.access_wanted == Access.SERVED and never_denied and tagged


def _wanted_tag(state: State, policy: PolicySettings) -> str:
    """Every upload is tagged where the platform serves by tag; else only what is not simply clear."""
    if policy.publish == "until_held" and state in {State.CLEAR, State.FLAGGED}:
        return ""
    return TAG_OF_STATE.get(state, "")


def _apply(store: ObjectStore, work: _Work) -> _Done:
    if work.wanted is Access.SERVED:
        return _serve(store, work)
    try:
        receipt = store.deny(
            work.ref,
            work.receipt,
            intent_at=work.intent_at,
            quarantine_key=_quarantine_key(work.upload_id),
            sha256=work.sha256,
        )
        if work.purge:
            store.purge(work.ref, receipt)
            return _Done(applied=PURGED, receipt=None, purged=True)
    except (ObjectGone, ObjectSuperseded):
        # Somebody deleted or overwrote it: nothing of this version is served any more.
        return _Done(applied=PURGED if work.purge else work.wanted, receipt=work.receipt, purged=work.purge)
    return _Done(applied=work.wanted, receipt=receipt)


def _serve(store: ObjectStore, work: _Work) -> _Done:
    """Undoes a denial exactly, also one by a run that died before it wrote its receipt."""
    if work.receipt is None and work.intent_at is None:
        return _Done(applied=Access.SERVED, receipt=None)
    try:
        served = store.serve(
            work.ref, work.receipt, intent_at=work.intent_at, quarantine_key=_quarantine_key(work.upload_id)
        )
    except (ObjectGone, ObjectSuperseded):
        return _Done(applied=Access.SERVED, receipt=None)
    if served.outcome in {ServedOutcome.OCCUPIED, ServedOutcome.LOST}:
        log.warning("not_restored", upload=work.upload_id, outcome=served.outcome)
        keep = work.receipt if served.outcome is ServedOutcome.OCCUPIED else None
        return _Done(applied=Access.SERVED, receipt=keep, error=served.outcome)
    return _Done(applied=Access.SERVED, receipt=None, restored=served.ref if served.restored else None)


def _quarantine_key(upload_id: int) -> str:
    """Opaque: a quarantine bucket's listing tells nothing of the original's name."""
    return f"held/{upload_id}"


def _tag(store: ObjectStore, work: _Work, ref: ObjectRef, policy: PolicySettings) -> str:
    """Writes the state tag; the code of the error when it is to be tried again, else ''.

    The tag is a courtesy to readers of the storage: database and webhook carry the state without it. Only where the
    platform serves by tag a refusal can't be left at that.
    """
    values = {TAG: work.tag, "content-scan-at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    try:
        if not store.tag(ref, values):
            log.warning("tag_not_written", upload=work.upload_id, reason="ten_tags")
    except (ObjectGone, ObjectSuperseded):
        return ""
    except (StorageError, StorageRefused) as error:
        log.warning("tag_not_written", upload=work.upload_id, reason=error.code)
        if isinstance(error, StorageError) or policy.publish == "after_scan":
            return error.code
    return ""


def _wait(work: _Work) -> float:
    """Seconds until the next try after one more failure."""
    return min(_RETRY_BASE * 2.0 ** min(work.attempts, 20), _RETRY_MAX)


def _finish(sessions: Sessions, work: _Work, done: _Done, untagged: str) -> bool:
    """Writes what now holds; when the wanted effect changed meanwhile, or the tag is missing, the row stays due."""
    with sessions.begin() as session:
        upload = session.get_one(Upload, work.upload_id, with_for_update=True)
        unchanged = upload.access_wanted == work.wanted and upload.state == work.state
        upload.access_applied = done.applied
        upload.receipt = done.receipt.to_json() if done.receipt else None
        upload.access_error = done.error or untagged
        upload.access_attempts = min(work.attempts + 1, _MAX_COUNT) if untagged else 0
        # Answered: a later denial sets a fresh intent, by which a marker that it leaves behind is known.
        upload.access_intent_at = None
        if done.purged:
            upload.purge_at = None
            if upload.content_id is not None:
                ledger.forget_deleted(session, upload.content_id)
        if work.tag and not untagged:
            upload.tagged = work.tag
        if unchanged:
            upload.access_due_at = (
                func.clock_timestamp() + timedelta(seconds=_wait(work)) if untagged else None
            )
        if done.restored is not None:
            _adopt(session, upload, done.restored)
        return unchanged and not untagged


def _adopt(session: Session, upload: Upload, restored: ObjectRef) -> None:
    """A copy back is our own write: its new identity becomes this row's, so that its event finds it known."""
    try:
        with session.begin_nested():
            upload.etag = restored.etag
            upload.size = restored.size
            upload.version_id = restored.version_id
            if restored.last_modified is not None:
                upload.last_modified = restored.last_modified
            session.flush()
    except IntegrityError:
        # The event came first and made a row of its own: its scan meets a decided content and ends there.
        session.refresh(upload)


def _failed(sessions: Sessions, work: _Work, code: str, *, wait: float, applied: str | None = None) -> None:
    """Puts the effect off; one that is not wanted any more is left, as the new one is due already."""
    later = func.clock_timestamp() + timedelta(seconds=wait)
    values: dict[str, Any] = {
        "access_error": code,
        "access_attempts": min(work.attempts + 1, _MAX_COUNT),
        "access_due_at": later,
    }
    if work.purge:
        values["purge_at"] = later
    if applied is not None:
        values["access_applied"] = applied
    with sessions.begin() as session:
        session.execute(
            update(Upload)
            .where(Upload.id == work.upload_id, Upload.access_wanted == work.wanted)
            .values(**values)
        )


def _left_alone(sessions: Sessions, upload_id: int) -> bool:
    """Whether shadow mode leaves this upload's storage alone, as it does but for one thing: what was withheld before
    and is to be served goes back. A denial or removal decided before waits until the mode has ended.
    """
    with sessions.begin() as session:
        upload = session.get(Upload, upload_id, with_for_update=True)
        if upload is None:
            return True
        if upload.access_wanted == Access.SERVED:
            if upload.receipt is not None or upload.access_intent_at is not None:
                return False
            upload.access_due_at = None
            return True
        later = func.clock_timestamp() + timedelta(seconds=_RETRY_MAX)
        if upload.access_due_at is not None:
            upload.access_due_at = func.greatest(upload.access_due_at, later)
        if upload.purge_at is not None:
            upload.purge_at = func.greatest(upload.purge_at, later)
        return True
