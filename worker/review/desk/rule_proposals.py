"""Proposals to let the rules of the files count: see worker/review/rules.py for what an approval does."""

from __future__ import annotations

from sqlalchemy.orm import Session

from config.rules import Ruleset
from config.settings import Settings
from worker.review import rules
from worker.review.desk import proposals
from worker.store.proposals import Proposal, ProposalKind


def propose_rules(session: Session, files: Ruleset, *, actor: str, source: str) -> Proposal:
    """Asks for a second person to let these rules count. Raises ProposalError.

    `source`: page or terminal.
    """
    payload = {**rules.proposed(session, files), "source": source}
    return proposals.propose(session, ProposalKind.CHANGE_RULES, 0, actor=actor, payload=payload)


def propose_rules_of(session: Session, settings: Settings, *, actor: str) -> Proposal:
    """As `propose_rules`, of the files with which this service started."""
    return propose_rules(session, settings.unapproved or settings.rules, actor=actor, source="page")


def proposable_rules(session: Session, settings: Settings) -> tuple[str, ...]:
    """What the files of this service would change, setting by setting, as far as nobody has proposed it yet."""
    waits = any(line.kind == ProposalKind.CHANGE_RULES for line in proposals.waiting(session))
    if settings.unapproved is None or waits:
        return ()
    return tuple(change.words for change in rules.changes(session, settings.unapproved))
