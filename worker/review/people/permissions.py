"""Which role may do what: one table, asked by every page and action."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from worker.store.people import Role


class May(StrEnum):
    """What a page or an action asks for."""

    SEE_REVIEWS = "see_reviews"
    REVEAL = "reveal"
    """Ask for pictures."""
    SEE_MINORS = "see_minors"
    """What was decided as a suspected minor."""
    DECIDE = "decide"
    APPEAL = "appeal"
    """Open appeals against removals, and read what became of them."""
    ADJUDICATE = "adjudicate"
    """Where two persons disagree, and they took no part."""
    UNDO_OTHERS = "undo_others"
    """What another person decided, as long as the bytes are there."""
    SEE_UPLOADS = "see_uploads"
    SEE_PROPOSALS = "see_proposals"
    PROPOSE = "propose"
    APPROVE = "approve"
    SEE_AUDIT = "see_audit"
    SEE_FIGURES = "see_figures"
    """How fast and how well is decided, in counts."""
    SEE_EACH_PERSON = "see_each_person"
    """Of the figures, those of each person by pseudonym."""
    MANAGE_PEOPLE = "manage_people"
    """Also: see which pseudonym is whose."""


_REVIEWS = {
    May.SEE_REVIEWS,
    May.REVEAL,
    May.DECIDE,
    May.APPEAL,
    May.SEE_UPLOADS,
    May.SEE_PROPOSALS,
    May.PROPOSE,
}

ALLOWED: dict[Role, frozenset[May]] = {
    Role.REVIEWER: frozenset(_REVIEWS),
    Role.ADJUDICATOR: frozenset(_REVIEWS | {May.ADJUDICATE}),
    Role.MINOR_SAFETY: frozenset(_REVIEWS | {May.SEE_MINORS}),
    Role.LEAD: frozenset(
        _REVIEWS
        | {May.ADJUDICATE, May.UNDO_OTHERS, May.APPROVE, May.SEE_AUDIT, May.SEE_FIGURES, May.SEE_EACH_PERSON}
    ),
    # Sees what was done, and none of what it was done to.
    Role.AUDITOR: frozenset({May.SEE_PROPOSALS, May.SEE_AUDIT, May.SEE_FIGURES}),
    Role.ADMIN: frozenset(
        {May.MANAGE_PEOPLE, May.SEE_PROPOSALS, May.PROPOSE, May.APPROVE, May.SEE_AUDIT, May.SEE_FIGURES}
    ),
    # The platform knows its uploads; of what reviewers see and do it is told by webhooks.
    Role.PLATFORM: frozenset({May.APPEAL}),
}


def allowed(roles: Iterable[Role]) -> frozenset[May]:
    """All that somebody with these roles may do."""
    return frozenset().union(*(ALLOWED[role] for role in roles))
