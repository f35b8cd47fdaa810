"""Appeals against removals: opened by the platform or by hand, and what became of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field, StringConstraints

from worker.review.api.bearer import Caller, Needs
from worker.review.api.values import Id, Number, Stored, Strict
from worker.review.desk.appeals import MAX_REASON
from worker.review.desk.desk import Desk
from worker.review.people.permissions import May

_Words = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON, pattern=r"\S"), Stored]
_Part = Annotated[str, StringConstraints(min_length=1, max_length=1024), Stored]
"""S3 keys have 1,024 bytes at most."""


class AppealOfUpload(Strict):
    """Against the removal of an upload by its id, as webhooks tell it."""

    upload_id: Id
    reason: _Words = Field(description="What the person who appeals says; reviewers read it.")


class AppealOfKey(Strict):
    """Against the last removal under a key."""

    bucket: _Part
    key: _Part
    version_id: Annotated[str, StringConstraints(max_length=1024), Stored] | None = Field(
        None, description="Of one version; absent: whichever was removed last."
    )
    reason: _Words = Field(description="What the person who appeals says; reviewers read it.")


class AppealState(StrEnum):
    OPEN = "open"
    UPHELD = "upheld"
    """The removal stands."""
    OVERTURNED = "overturned"
    """The upload is released."""


class AppealAnswer(Strict):
    id: int
    upload_id: int
    state: AppealState
    opened_at: datetime
    decided_at: datetime | None = Field(description="null while it is open.")


class AppealOperations:
    """The operations on appeals."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def router(self) -> APIRouter:
        appeals = [Depends(Needs(May.APPEAL))]
        made = APIRouter(tags=["appeals"])
        made.post(
            "/appeals",
            dependencies=appeals,
            responses={409: {"description": "There is no removal by a decision to appeal."}},
        )(self.open)
        made.get(
            "/appeals/{appeal_id}",
            dependencies=appeals,
            responses={404: {"description": "There is no such appeal."}},
        )(self.state)
        return made

    def open(self, caller: Caller, request: AppealOfUpload | AppealOfKey) -> AppealAnswer:
        """Open an appeal. Somebody who took no part in the removal decides; until then nothing is deleted.

        Of a removal whose appeal is open already the first one counts, and is answered.
        """
        if isinstance(request, AppealOfUpload):
            upload_id = request.upload_id
        else:
            upload_id = self._desk.removed_upload(request.bucket, request.key, request.version_id)
        opened = self._desk.appeal(caller, upload_id, reason=request.reason, source="api")
        return AppealAnswer.model_validate(self._desk.appeal_state(opened.appeal_id))

    def state(self, appeal_id: Number) -> AppealAnswer:
        """What became of an appeal."""
        return AppealAnswer.model_validate(self._desk.appeal_state(appeal_id))
