"""Uploads as a person at the terminal or the pages sees them: state, address, effect and history, never a hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Float, Select, cast, func, select
from sqlalchemy.orm import Session

from worker.domain import State, Verdict
from worker.store.models import Content, History, Review, Upload


@dataclass(frozen=True, slots=True)
class UploadLine:
    """One upload. `age` is seconds in its present state by the database's clock; `kind` is '' until it was read."""

    id: int
    state: str
    reason: str
    kind: str
    bucket: str
    key: str
    version_id: str
    size: int
    lane: str
    source: str
    attempts: int
    faults: int
    first_seen_at: datetime
    state_since: datetime
    age: float
    access_wanted: str
    access_applied: str
    access_error: str
    index_epoch: int | None
    policy_revision: str
    review_id: int | None


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One transition of one upload."""

    upload_id: int
    at: datetime
    from_state: str
    to_state: str
    actor: str
    reason: str
    attempts: int
    index_epoch: int | None
    policy_revision: str


def list_uploads(
    session: Session,
    *,
    state: State | None = None,
    limit: int = 50,
    minors: bool = True,
    before: int | None = None,
) -> list[UploadLine]:
    """The newest uploads first, at most `limit`; of one state if given. Without `minors` no suspected minor's.

    `before` is the id under which the list begins.
    """
    query = _lines(minors).order_by(Upload.id.desc()).limit(limit)
    if state is not None:
        query = query.where(Upload.state == state)
    if before is not None:
        query = query.where(Upload.id < before)
    return [UploadLine(**row) for row in session.execute(query).mappings()]


def uploads_of_content(session: Session, content_id: int, *, limit: int = 200) -> list[UploadLine]:
    """The uploads of the same bytes, newest first."""
    query = _lines().where(Upload.content_id == content_id).order_by(Upload.id.desc()).limit(limit)
    return [UploadLine(**row) for row in session.execute(query).mappings()]


def one_upload(session: Session, upload_id: int, *, minors: bool = True) -> UploadLine | None:
    row = session.execute(_lines(minors).where(Upload.id == upload_id)).mappings().one_or_none()
    return UploadLine(**row) if row else None


def history_of(session: Session, upload_ids: list[int]) -> list[HistoryLine]:
    """All transitions of these uploads, oldest first."""
    rows = session.scalars(select(History).where(History.upload_id.in_(upload_ids)).order_by(History.id))
    return [
        HistoryLine(
            row.upload_id,
            row.at,
            row.from_state,
            row.to_state,
            row.actor,
            row.reason,
            row.attempts,
            row.index_epoch,
            row.policy_revision,
        )
        for row in rows
    ]


def _lines(minors: bool = True) -> Select[*tuple[object, ...]]:
    lines = (
        select(
            Upload.id,
            Upload.state,
            Upload.reason,
            func.coalesce(Content.kind, "").label("kind"),
            Upload.bucket,
            Upload.key,
            Upload.version_id,
            Upload.size,
            Upload.lane,
            Upload.source,
            Upload.attempts,
            Upload.faults,
            Upload.first_seen_at,
            Upload.state_since,
            cast(func.extract("epoch", func.clock_timestamp() - Upload.state_since), Float).label("age"),
            Upload.access_wanted,
            Upload.access_applied,
            Upload.access_error,
            Upload.index_epoch,
            Upload.policy_revision,
            Review.id.label("review_id"),
        )
        .outerjoin(Content, Content.id == Upload.content_id)
        .outerjoin(Review, Review.content_id == Upload.content_id)
    )
    return lines if minors else lines.where(func.coalesce(Review.verdict, "") != Verdict.SUSPECTED_MINOR)
