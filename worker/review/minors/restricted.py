"""Which entries of the audit log a reader may not see, and are shown as restricted: those that tell of a suspected
minor, and the verdicts on a review that waits for a blind second one.

The log itself holds them like any other, so its chain stays verifiable; so do the exports of the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from worker.domain import Verdict
from worker.review.audit import Hides
from worker.review.people.permissions import May
from worker.store.audit_log import AuditEntry
from worker.store.desk import Stage
from worker.store.minor_cases import MinorCase
from worker.store.models import Review
from worker.store.proposals import ProposalKind

_OPINIONS = frozenset({"opinion", "opinion_taken_back"})


def restricted(session: Session, may: Callable[[May], bool]) -> Hides:
    """Tells as of now the entries that somebody who `may` do this and no more does not see.

    Of a suspected minor: what is about a case, or about a review that has or had one; May.SEE_MINORS sees them. Of a
    second review: what was said on it while it waits; hidden from who may decide, for one of them will.
    """
    cases: set[str] = set()
    blind: set[str] = set()
    minors = not may(May.SEE_MINORS)
    if minors:
        cases = _texts(session.scalars(select(MinorCase.review_id)).all())
    if may(May.DECIDE):
        waiting = select(Review.id).where(Review.state == "open", Review.stage == Stage.SECOND)
        blind = _texts(session.scalars(waiting).all())

    def hides(entry: AuditEntry) -> bool:
        if entry.action in _OPINIONS and entry.subject_id in blind:
            return True
        return minors and _tells(entry, cases)

    return hides


def _texts(ids: Sequence[int]) -> set[str]:
    return {str(each) for each in ids}


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
