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
from worker.domain import Access, ObjectRef, State
from worker.errors import ObjectGone, ObjectSuperseded, StorageError, StorageRefused
from worker.storage.protocol import ObjectStore, Receipt, ServedOutcome
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
PURGED = "purged"

_RETRY_BASE, _RETRY_MAX = 2.0, 300.0


@dataclass(frozen=True, slots=True)
class _Work:
    """What one run has to make hold, as read under the lock."""

    upload_id: int
    ref: ObjectRef
    state: State
    wanted: Access
    applied: str
    receipt: Receipt | None
    intent_at: datetime | None
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
    if policy.mode == "shadow":
        _mark_untouched(sessions, upload_id)
        return True
    with sessions() as guard, _sole_run(guard, upload_id) as alone:
        if not alone:
            return False
        work = _begin(sessions, policy, upload_id)
        if work is None:
            return True
        try:
            done = _apply(store, work)
            if work.tag and not done.purged and done.restored is None:
                _tag(store, work)
        except StorageRefused as error:
            log.error("effect_refused", upload=upload_id, wanted=work.wanted, error=error.code)
            _failed(sessions, work, error.code, wait=_RETRY_MAX, applied=REFUSED)
            return False
        except StorageError as error:
            wait = min(_RETRY_BASE * 2**work.attempts, _RETRY_MAX)
            log.warning(
                "effect_failed",
                upload=upload_id,
                wanted=work.wanted,
                error=error.code,
                tries=work.attempts + 1,
            )
            _failed(sessions, work, error.code, wait=wait)
            return False
        return _finish(sessions, work, done)


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
        purge = upload.purge_at is not None and upload.purge_at <= now and state is State.REMOVED
        due = upload.access_due_at is not None and upload.access_due_at <= now
        if not due and not purge:
            return None
        wanted = Access(upload.access_wanted)
        tag = _wanted_tag(state, policy)
        if nothing_to_do(upload, policy):
            upload.access_applied = Access.SERVED
            upload.access_due_at = None
            return None
        if upload.access_applied == PURGED:
            upload.access_due_at = None
            return None
        if wanted is not Access.SERVED and upload.access_intent_at is None:
            upload.access_intent_at = now
        sha256 = session.scalar(select(Content.sha256).where(Content.id == upload.content_id))
        return _Work(
            upload_id=upload.id,
            ref=upload.ref,
            state=state,
            wanted=wanted,
            applied=upload.access_applied,
            receipt=Receipt.from_json(upload.receipt) if upload.receipt else None,
            intent_at=upload.access_intent_at,
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


def _tag(store: ObjectStore, work: _Work) -> None:
    """The tag is a courtesy to readers of the storage; database and webhook carry the state without it."""
    values = {TAG: work.tag, "content-scan-at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    try:
        if not store.tag(work.ref, values):
            log.warning("tag_not_written", upload=work.upload_id, reason="ten_tags")
    except (ObjectGone, ObjectSuperseded):
        return
    except StorageRefused as error:
        log.warning("tag_not_written", upload=work.upload_id, reason=error.code)


def _finish(sessions: Sessions, work: _Work, done: _Done) -> bool:
    """Writes what now holds; when the wanted effect changed meanwhile, the row stays due."""
    with sessions.begin() as session:
        upload = session.get_one(Upload, work.upload_id, with_for_update=True)
        unchanged = upload.access_wanted == work.wanted and upload.state == work.state
        upload.access_applied = done.applied
        upload.receipt = done.receipt.to_json() if done.receipt else None
        upload.access_error = done.error
        upload.access_attempts = 0
        # Answered: a later denial sets a fresh intent, by which a marker that it leaves behind is known.
        upload.access_intent_at = None
        if done.purged:
            upload.purge_at = None
        if work.tag:
            upload.tagged = work.tag
        if unchanged:
            upload.access_due_at = None
        if done.restored is not None:
            _adopt(session, upload, done.restored)
        return unchanged


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
        upload.access_due_at = None


def _failed(sessions: Sessions, work: _Work, code: str, *, wait: float, applied: str | None = None) -> None:
    values: dict[str, Any] = {
        "access_error": code,
        "access_attempts": work.attempts + 1,
        "access_due_at": func.clock_timestamp() + timedelta(seconds=wait),
    }
    if applied is not None:
        values["access_applied"] = applied
    with sessions.begin() as session:
        session.execute(update(Upload).where(Upload.id == work.upload_id).values(**values))


def _mark_untouched(sessions: Sessions, upload_id: int) -> None:
    """In shadow mode the storage is not touched; the row is no longer due."""
    with sessions.begin() as session:
        session.execute(update(Upload).where(Upload.id == upload_id).values(access_due_at=None))
