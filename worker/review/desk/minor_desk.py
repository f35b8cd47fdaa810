"""What people of the role minor_safety do with cases of suspected minors; pages and API both come through here.

Who may is the caller's to check. That somebody looked at a case, or took its report, is an entry of the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from config.database import Sessions
from config.settings import Settings
from worker.review import audit
from worker.review.desk import proposals
from worker.review.desk.desk import Wake
from worker.review.desk.proposals import ProposalLine
from worker.review.minors import cases
from worker.review.minors.report import Report, report_of


@dataclass(frozen=True, slots=True)
class CaseLook:
    """One case: what is known of it, who has looked, and the overturn that waits for a second person."""

    detail: cases.CaseDetail
    looks: tuple[dict[str, Any], ...]
    """As the prepared report tells them."""
    viewed: bool
    """Somebody has viewed an entire file."""
    waiting: tuple[ProposalLine, ...]


class MinorDesk:
    """Every method is a transaction of its own; what changes something takes a pseudonym. Thread-safe."""

    def __init__(self, settings: Settings, sessions: Sessions, wake: Wake) -> None:
        self._settings = settings
        self._sessions = sessions
        self._wake = wake

    def listed(self, *, limit: int, behind: int | None = None) -> list[cases.CaseLine]:
        """At most `limit` cases; `behind` names the case behind which the list begins."""
        with self._sessions() as session:
            return cases.listed(session, limit=limit, behind=behind)

    def look(self, case_id: int, *, actor: str) -> CaseLook:
        """One case. Raises NotThereError."""
        with self._sessions.begin() as session:
            detail = cases.detail(session, case_id)
            report = report_of(session, self._settings.policy, detail.row)
            waiting = proposals.waiting(session, case=case_id)
            _record(session, case_id, "minor_case_look", actor)
        return CaseLook(
            detail,
            tuple(report["looks"]),
            any(file["fileViewedByEsp"] for file in report["fileDetails"]),
            tuple(waiting),
        )

    def report(self, case_id: int, *, actor: str) -> Report:
        """The prepared report. Raises NotThereError."""
        with self._sessions.begin() as session:
            detail = cases.detail(session, case_id)
            report = report_of(session, self._settings.policy, detail.row)
            _record(session, case_id, "minor_report", actor)
        return report

    def mark_reported(self, case_id: int, reference: str, *, actor: str) -> datetime:
        """As `cases.mark_reported`. Raises NotThereError or CaseError."""
        with self._sessions.begin() as session:
            return cases.mark_reported(session, self._settings.policy, case_id, reference, actor=actor)

    def prolong(self, case_id: int, days: int, *, actor: str) -> datetime:
        """As `cases.prolong`. Raises NotThereError or CaseError."""
        with self._sessions.begin() as session:
            return cases.prolong(session, case_id, days, actor=actor)

    def propose_overturn(self, case_id: int, reason: str, *, actor: str) -> int:
        """Asks another person of the role to agree; the proposal. Raises NotThereError or ProposalError."""
        with self._sessions.begin() as session:
            cases.detail(session, case_id)
            return proposals.propose_overturn(session, case_id, actor=actor, reason=reason).id

    def approve_overturn(self, case_id: int, proposal_id: int, *, actor: str) -> int:
        """Overturns the case; how many uploads changed state. Raises ProposalError or ReviewError."""
        with self._sessions.begin() as session:
            moved = proposals.approve(session, self._settings.policy, proposal_id, actor=actor, case=case_id)
        self._wake(moved)
        return len(moved)

    def reject_overturn(self, case_id: int, proposal_id: int, *, actor: str) -> None:
        """Ends a proposal to overturn the case, one's own or another's. Raises ProposalError."""
        with self._sessions.begin() as session:
            proposals.reject(session, proposal_id, actor=actor, only_own=False, case=case_id)


def _record(session: Session, case_id: int, action: str, actor: str) -> None:
    audit.record(session, actor=actor, action=action, subject=("minor_case", case_id))
