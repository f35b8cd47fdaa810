"""Keeps the cases of suspected minors complete: notes each upload of their bytes, and copies it where that is asked.

Deletes nothing. It is safe to run twice at once: a file that is being copied is not taken by another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import func, insert, literal, select, update

from config.database import Sessions
from config.minors import MinorSettings
from worker.domain import ObjectRef
from worker.errors import ObjectGone, ObjectSuperseded, StorageError, StorageRefused
from worker.storage.access import AccessControl
from worker.storage.preserve import preserve
from worker.storage.protocol import Receipt
from worker.store.minor_cases import CaseState, MinorCase, MinorFile, in_force
from worker.store.models import Content, Upload

log = structlog.get_logger()

LEASE = timedelta(minutes=10)
"""How long a file that is being copied is left to who does it."""

LONGEST_WAIT = timedelta(minutes=10)
"""Between two tries."""


@dataclass(frozen=True, slots=True)
class _Due:
    """One file to copy, as read under the lock."""

    id: int
    case_id: int
    upload_id: int
    ref: ObjectRef
    receipt: Receipt | None
    sha256: bytes | None
    attempts: int


def note_files(sessions: Sessions) -> int:
    """Adds the uploads that came to the content of a case since; how many."""
    known = select(MinorFile.id).where(MinorFile.case_id == MinorCase.id, MinorFile.upload_id == Upload.id)
    missing = (
        select(
            MinorCase.id,
            Upload.id,
            Upload.bucket,
            Upload.key,
            Upload.version_id,
            Upload.size,
            func.coalesce(Upload.last_modified, Upload.first_seen_at),
        )
        .join(Upload, Upload.content_id == MinorCase.content_id)
        .where(MinorCase.state != CaseState.CLOSED, ~known.exists())
    )
    columns = ["case_id", "upload_id", "bucket", "key", "version_id", "size", "uploaded_at"]
    with sessions.begin() as session:
        added = session.execute(insert(MinorFile).from_select(columns, missing).returning(MinorFile.id))
        return len(added.all())


class Preserver:
    """Makes the copies. `store` reads and writes with the settings of the platform's storage."""

    def __init__(self, sessions: Sessions, store: AccessControl, settings: MinorSettings) -> None:
        self._sessions = sessions
        self._store = store
        self._settings = settings

    def round(self) -> int:
        """Notes new files and copies all that are due; how many copies were made."""
        note_files(self._sessions)
        made = 0
        while self._settings.bucket and (due := self._take()) is not None:
            made += self._copy(due)
        return made

    def _take(self) -> _Due | None:
        now = func.clock_timestamp()
        with self._sessions.begin() as session:
            row = session.execute(
                select(MinorFile, Upload, Content.sha256)
                .join(MinorCase, MinorCase.id == MinorFile.case_id)
                .join(Upload, Upload.id == MinorFile.upload_id)
                .join(Content, Content.id == MinorCase.content_id)
                .where(MinorFile.copied_at.is_(None), MinorFile.next_attempt_at <= now, in_force())
                .order_by(MinorFile.next_attempt_at)
                .limit(1)
                .with_for_update(skip_locked=True, of=MinorFile)
            ).one_or_none()
            if row is None:
                return None
            file, upload, sha256 = row
            file.next_attempt_at = now + LEASE
            receipt = Receipt.from_json(upload.receipt) if upload.receipt else None
            return _Due(file.id, file.case_id, file.upload_id, upload.ref, receipt, sha256, file.attempts)

    def _copy(self, due: _Due) -> bool:
        try:
            copy = preserve(
                self._store,
                due.ref,
                due.receipt,
                bucket=self._settings.bucket,
                # Opaque: a listing tells nothing of the original's name.
                key=f"case-{due.case_id}/file-{due.id}",
                sha256=due.sha256,
                kms_key=self._settings.kms_key,
            )
        except (ObjectGone, ObjectSuperseded, StorageError, StorageRefused) as error:
            log.error("not_preserved", file=due.id, error=error.code, tries=due.attempts + 1)
            self._put_off(due, error.code)
            return False
        with self._sessions.begin() as session:
            session.execute(
                update(MinorFile)
                .where(MinorFile.id == due.id, MinorFile.copied_at.is_(None))
                .values(
                    copy_bucket=copy.bucket,
                    copy_key=copy.key,
                    copy_version_id=copy.version_id,
                    copied_at=func.clock_timestamp(),
                    error="",
                )
            )
        return True

    def _put_off(self, due: _Due, code: str) -> None:
        wait = min(timedelta(seconds=2.0 ** min(due.attempts, 20)), LONGEST_WAIT)
        later = func.clock_timestamp() + literal(wait)
        with self._sessions.begin() as session:
            session.execute(
                update(MinorFile)
                .where(MinorFile.id == due.id, MinorFile.copied_at.is_(None))
                .values(error=code, attempts=min(due.attempts + 1, 1000), next_attempt_at=later)
            )
