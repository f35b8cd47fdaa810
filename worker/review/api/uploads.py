"""Uploads, their history, and how much of what was uploaded was scanned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from bank_sync.epoch import Pointer
from config.database import Sessions
from config.settings import Settings
from worker.domain import State
from worker.operate.health import alarms, coverage
from worker.operate.uploads import history_of, list_uploads, one_upload
from worker.review.api.bearer import Caller, Needs
from worker.review.api.upload_answers import (
    AlarmAnswer,
    CoverageAnswer,
    Step,
    UploadAnswer,
    UploadDetail,
    UploadList,
)
from worker.review.api.values import Cursor, Limit, Number
from worker.review.faults import NotThereError
from worker.review.people.permissions import May


class UploadOperations:
    """The operations on uploads; they change nothing."""

    def __init__(self, settings: Settings, sessions: Sessions, pointer: Callable[[], Pointer]) -> None:
        self._settings = settings
        self._sessions = sessions
        self._pointer = pointer

    def router(self) -> APIRouter:
        sees = [Depends(Needs(May.SEE_UPLOADS))]
        made = APIRouter(tags=["uploads"])
        made.get("/uploads", dependencies=sees)(self.uploads)
        made.get(
            "/uploads/{upload_id}",
            dependencies=sees,
            responses={404: {"description": "There is no such upload, or the caller may not see it."}},
        )(self.upload)
        made.get("/coverage", dependencies=sees)(self.coverage)
        return made

    def uploads(
        self,
        caller: Caller,
        state: Annotated[State | None, Query(description="Only what is in this state.")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> UploadList:
        """Uploads, the newest first."""
        with self._sessions() as session:
            found = list_uploads(
                session, state=state, limit=limit, minors=caller.may(May.SEE_MINORS), before=cursor
            )
        return UploadList(
            uploads=[UploadAnswer.model_validate(line) for line in found],
            next_cursor=found[-1].id if len(found) == limit else None,
        )

    def upload(self, caller: Caller, upload_id: Number) -> UploadDetail:
        """One upload and what became of it."""
        with self._sessions() as session:
            line = one_upload(session, upload_id, minors=caller.may(May.SEE_MINORS))
            if line is None:
                raise NotThereError(
                    f"There is no upload {upload_id}.", next_step="GET /uploads lists the newest."
                )
            steps = history_of(session, [upload_id])
        return UploadDetail(
            upload=UploadAnswer.model_validate(line), history=[Step.model_validate(step) for step in steps]
        )

    def coverage(self) -> CoverageAnswer:
        """What was seen and scanned, and what a person must look at."""
        with self._sessions() as session:
            numbers = coverage(session)
            raised = alarms(session, self._settings, self._pointer)
        return CoverageAnswer(
            **asdict(numbers), alarms=[AlarmAnswer.model_validate(alarm) for alarm in raised]
        )
