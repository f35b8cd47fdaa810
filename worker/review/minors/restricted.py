"""Which entries of the audit log tell of a suspected minor: shown as restricted to all who may not see them.

The log itself holds them like any other, so its chain stays verifiable; an export holds them too.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from worker.domain import Verdict
from worker.store.audit_log import AuditEntry
from worker.store.minor_cases import MinorCase
from worker.store.proposals import ProposalKind


def restricted(session: Session, entries: Sequence[AuditEntry]) -> set[int]:
    """The `seq` of those entries that are about a case, or about a review that has or had one."""
    reviews = {str(review_id) for review_id in session.scalars(select(MinorCase.review_id))}
    return {entry.seq for entry in entries if _tells(entry, reviews)}


def _tells(entry: AuditEntry, reviews: set[str]) -> bool:
    details = entry.details
    if entry.subject_kind == "minor_case" or details.get("kind") == ProposalKind.OVERTURN_MINOR:
        return True
    if Verdict.SUSPECTED_MINOR in {details.get("verdict"), details.get("replaces"), details.get("counts")}:
        return True
    named = {str(details.get("review")), *details.get("with", ())}
    if entry.subject_kind == "review":
        named.add(entry.subject_id)
    return not named.isdisjoint(reviews)
