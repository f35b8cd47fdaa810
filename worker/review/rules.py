"""Which rules a service starts with, and how others come into force: see config/rules.py for why there are two sides.

Rules are written down when two persons agreed on them, and when the files alone stand for them: at the very first
start, and while fewer than two persons may approve.
"""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.rules import Change, Ruleset
from config.settings import Settings
from config.words import _
from worker.review import audit
from worker.review.faults import ProposalError
from worker.store.proposals import Proposal
from worker.store.rulesets import RulesetRow, in_force, newest, two_may_approve

log = structlog.get_logger()

_LOCK = 0x4857_0013
"""Of who writes rules down: services of one host start at once."""


def begin(session: Session, files: Settings, *, service: str) -> Settings:
    """The settings with which this service runs, and a line of the log on what they rest on.

    Raises SettingsError when this version can't read or use the approved rules.
    """
    _lock(session)
    settings = in_force(session, files)
    last = newest(session)
    if last is None or (not two_may_approve(session) and last.revision != files.rules.revision):
        _write_down(session, files.rules, actor=f"service:{service}")
    if settings.unapproved is None:
        if last is not None and last.approved_by is not None and two_may_approve(session):
            log.info("rules_approved", revision=settings.rules.revision)
    else:
        log.warning(
            "rules_unapproved",
            revision=settings.rules.revision,
            files=settings.unapproved.revision,
            next_step="`hashwarden rules propose` asks for a second person",
        )
    return settings


def changes(session: Session, files: Ruleset) -> list[Change]:
    """What these rules would change of those that were approved last. Raises SettingsError."""
    return Ruleset.read(_last(session).content).changes_to(files)


def proposed(session: Session, files: Ruleset) -> dict[str, int | dict[str, Any]]:
    """What a proposal of these rules holds. Raises ProposalError when there is nothing to approve, or nobody to."""
    last = _last(session)
    if not two_may_approve(session):
        raise ProposalError(
            _("Fewer than two persons may approve, so the rules of the files count."),
            next_step=_("Start the services again: they take them."),
        )
    if not changes(session, files):
        raise ProposalError(
            _("The files say what is approved already."), next_step=_("Change them, then propose it.")
        )
    return {"replaces": last.id, "rules": files.model_dump(mode="json")}


def proposed_changes(session: Session, proposal: Proposal) -> list[Change]:
    """What a proposal would change, setting by setting. Raises SettingsError."""
    return changes(session, Ruleset.read(proposal.payload["rules"]))


def approve(session: Session, proposal: Proposal, *, actor: str) -> None:
    """Writes the proposed rules down; services take them when they start. Raises ProposalError, SettingsError."""
    _lock(session)
    if _last(session).id != proposal.payload["replaces"]:
        raise ProposalError(
            _("Other rules were approved since this was proposed."),
            next_step=_("Reject it and propose again."),
        )
    rules = Ruleset.read(proposal.payload["rules"])
    _write_down(session, rules, actor=actor, proposed_by=proposal.proposed_by)


def _last(session: Session) -> RulesetRow:
    last = newest(session)
    if last is None:
        raise ProposalError(
            _("No rules are in force yet."),
            next_step=_("Start the services once: they take those of the files."),
        )
    return last


def _write_down(session: Session, rules: Ruleset, *, actor: str, proposed_by: str | None = None) -> None:
    row = RulesetRow(
        revision=rules.revision,
        content=rules.model_dump(mode="json"),
        proposed_by=proposed_by,
        approved_by=actor if proposed_by else None,
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=actor,
        action="rules_approved",
        subject=("ruleset", row.id),
        details={"rules": row.revision, "policy": rules.policy.revision, "proposed_by": proposed_by},
    )


def _lock(session: Session) -> None:
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
