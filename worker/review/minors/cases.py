"""Cases of suspected minors: opened by the verdict, marked reported by hand, closed by two persons' overturn.

Who may see them is the caller's to check. Nothing here names a hash, a bank or a case number of a bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import case, func, select, tuple_
from sqlalchemy.orm import Session

from config.errors import HashwardenError
from config.policy import PolicySettings
from config.words import _, ngettext
from worker.domain import Effect
from worker.review import audit
from worker.review.faults import NotThereError
from worker.review.names import name_of
from worker.store.minor_cases import CaseState, MinorCase, MinorFile
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload

MAX_REFERENCE = 200
MOST_DAYS = 3650
"""Days from now to which one person may prolong a case."""


class CaseError(HashwardenError):
    """A case that can't be moved on as asked."""

    code: ClassVar[str] = "minor_case"


@dataclass(frozen=True, slots=True)
class CaseLine:
    """One case in the list. `left` is seconds until the date; `copied` of `files` lie in the bucket of minors."""

    id: int
    review_id: int
    state: str
    kind: str
    opened_at: datetime
    preserve_until: datetime
    left: float
    reference: str
    files: int
    copied: int


@dataclass(frozen=True, slots=True)
class FileLine:
    """One upload of a case. `access` is how it is denied now; `deleted` once the platform deleted that version."""

    upload_id: int
    state: str
    access: str
    uploaded_at: datetime
    size: int
    copied_at: datetime | None
    copy_error: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class CaseDetail:
    line: CaseLine
    row: MinorCase
    files: tuple[FileLine, ...]


def open_case(
    session: Session, policy: PolicySettings, review: Review, content: Content, decision: DecisionRow
) -> MinorCase:
    """Opens the case of a review that was just decided; one that stands already stays."""
    standing = _standing(session, review.id)
    if standing is not None:
        return standing
    row = MinorCase(
        review_id=review.id,
        content_id=content.id,
        decision_id=decision.id,
        opened_by=decision.actor,
        facts=_facts(session, review, content),
        preserve_until=func.clock_timestamp() + timedelta(days=policy.preserve_days),
    )
    session.add(row)
    session.flush()
    uploads = session.scalars(select(Upload).where(Upload.content_id == content.id).order_by(Upload.id)).all()
    session.add_all(
        MinorFile(
            case_id=row.id,
            upload_id=upload.id,
            bucket=upload.bucket,
            key=upload.key,
            version_id=upload.version_id,
            size=upload.size,
            uploaded_at=upload.last_modified or upload.first_seen_at,
        )
        for upload in uploads
    )
    session.flush()
    return row


def close_case(session: Session, review_id: int, *, proposed_by: str, approved_by: str) -> None:
    """Closes the standing case of a review whose verdict two persons have overturned; none is fine.

    What was reported stays preserved until its date.
    """
    row = _standing(session, review_id)
    if row is None:
        return
    row.state = CaseState.CLOSED
    row.closed_by, row.closed_with = proposed_by, approved_by
    row.closed_at = func.clock_timestamp()
    session.flush()


def mark_reported(
    session: Session, policy: PolicySettings, case_id: int, reference: str, *, actor: str
) -> datetime:
    """Writes down under which number an authority has it; from then on it is preserved anew for the whole time.

    Until when it is preserved now. Raises NotThereError; CaseError for a case that is no longer open, and for a
    reference that is empty, too long or no line.
    """
    reference = " ".join(reference.split())
    if not reference or len(reference) > MAX_REFERENCE or not reference.isprintable():
        raise CaseError(
            _("The reference of a report has 1 to %(most)s characters.", most=MAX_REFERENCE),
            next_step=_("Copy it from the authority's receipt."),
        )
    row = _locked(session, case_id)
    if row.state != CaseState.OPEN:
        raise CaseError(
            _("Case %(case)s is %(state)s already.", case=case_id, state=name_of(row.state)),
            next_step=_("Load the page again."),
        )
    row.state = CaseState.REPORTED
    row.reference = reference
    row.reported_by = actor
    row.reported_at = func.clock_timestamp()
    row.preserve_until = func.greatest(
        MinorCase.preserve_until, func.clock_timestamp() + timedelta(days=policy.preserve_days)
    )
    session.flush()
    # The authority's number belongs to the case, not into a log that others read.
    _record(session, row, "minor_case_reported", actor)
    return row.preserve_until


def prolong(session: Session, case_id: int, days: int, *, actor: str) -> datetime:
    """Preserves a case until so many days from now, as an authority may ask; the date only ever moves later.

    Until when it is preserved now. Raises NotThereError; CaseError when it would not, or is too far away.
    """
    row = _locked(session, case_id)
    later = session.scalar(select(func.clock_timestamp() + timedelta(days=min(max(days, 0), MOST_DAYS))))
    if row.state == CaseState.CLOSED or later is None or days > MOST_DAYS or later <= row.preserve_until:
        raise CaseError(
            ngettext(
                "Case %(case)s can't be preserved for %(num)s day from now: the date only moves later.",
                "Case %(case)s can't be preserved for %(num)s days from now: the date only moves later.",
                days,
                case=case_id,
            ),
            next_step=_("Give a number of days after its date, %(most)s at most.", most=MOST_DAYS),
        )
    row.preserve_until = later
    session.flush()
    _record(session, row, "minor_case_prolonged", actor, days=days)
    return row.preserve_until


def listed(session: Session, *, limit: int, behind: int | None = None) -> list[CaseLine]:
    """Cases that wait for a report first, the oldest first; then the others, the newest first.

    `behind` names the case behind which the list begins.
    """
    place = (
        MinorCase.state != CaseState.OPEN,
        case((MinorCase.state == CaseState.OPEN, MinorCase.id), else_=-MinorCase.id),
    )
    query = select(MinorCase).order_by(*place).limit(limit)
    if behind is not None:
        named = select(*place).where(MinorCase.id == behind).correlate(None).scalar_subquery()
        query = query.where(tuple_(*place) > named)
    return _lines(session, session.scalars(query).all())


def detail(session: Session, case_id: int) -> CaseDetail:
    """Raises NotThereError."""
    row = session.get(MinorCase, case_id)
    if row is None:
        raise _not_there(case_id)
    files = session.execute(
        select(MinorFile, Upload)
        .join(Upload, Upload.id == MinorFile.upload_id)
        .where(MinorFile.case_id == case_id)
        .order_by(MinorFile.id)
    )
    return CaseDetail(
        line=_lines(session, [row])[0],
        row=row,
        files=tuple(
            FileLine(
                upload.id,
                upload.state,
                upload.access_applied,
                file.uploaded_at,
                file.size,
                file.copied_at,
                file.error,
                upload.deleted_at is not None,
            )
            for file, upload in files
        ),
    )


def case_of(session: Session, review_id: int) -> int | None:
    """The standing case of a review."""
    return session.scalar(
        select(MinorCase.id).where(MinorCase.review_id == review_id, MinorCase.state != CaseState.CLOSED)
    )


def _lines(session: Session, rows: Sequence[MinorCase]) -> list[CaseLine]:
    now = session.scalar(select(func.clock_timestamp()))
    assert now is not None  # noqa: S101 (a SELECT without FROM always answers one row)
    counted = session.execute(
        select(MinorFile.case_id, func.count(), func.count(MinorFile.copied_at))
        .where(MinorFile.case_id.in_([row.id for row in rows]))
        .group_by(MinorFile.case_id)
    )
    numbers = {case_id: (files, copied) for case_id, files, copied in counted}
    return [
        CaseLine(
            row.id,
            row.review_id,
            row.state,
            row.facts["kind"],
            row.opened_at,
            row.preserve_until,
            (row.preserve_until - now).total_seconds(),
            row.reference,
            *numbers.get(row.id, (0, 0)),
        )
        for row in rows
    ]


def _facts(session: Session, review: Review, content: Content) -> dict[str, Any]:
    found = session.execute(
        select(MatchRow.signal_type, MatchRow.distance, MatchRow.view)
        .where(MatchRow.content_id == content.id, MatchRow.effect != Effect.SHADOW)
        .order_by(MatchRow.distance, MatchRow.id)
    )
    return {
        "kind": str(content.kind),
        "size": content.size,
        "cause": review.cause,
        "found": [
            {"signal_type": row.signal_type, "distance": row.distance, "view": row.view} for row in found
        ],
    }


def _standing(session: Session, review_id: int) -> MinorCase | None:
    return session.scalar(
        select(MinorCase)
        .where(MinorCase.review_id == review_id, MinorCase.state != CaseState.CLOSED)
        .with_for_update()
    )


def _locked(session: Session, case_id: int) -> MinorCase:
    row = session.get(MinorCase, case_id, with_for_update=True)
    if row is None:
        raise _not_there(case_id)
    return row


def _not_there(case_id: int) -> NotThereError:
    return NotThereError(
        _("There is no case %(case)s.", case=case_id), next_step=_("The page /minors lists them.")
    )


def _record(session: Session, row: MinorCase, action: str, actor: str, **details: audit.Detail) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        subject=("minor_case", row.id),
        details={"review": row.review_id, **details},
    )
