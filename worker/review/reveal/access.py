"""Who is shown a picture of which review: who has it in hand, and for a stated reason who has a duty beside that."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from worker.review.people.people import Visitor
from worker.review.people.permissions import May
from worker.store.desk import ClaimRow
from worker.store.models import Review


class Purpose(StrEnum):
    """Why somebody looks who has not the review in hand. A short list: what is typed freely may name a person."""

    ADVICE = "advice"
    """A colleague who has it asked for advice."""
    QUALITY = "quality"
    """How it was decided is looked at again."""
    REQUEST = "request"
    """Somebody who is concerned, a court or an authority asks about it."""
    INCIDENT = "incident"
    """A fault or a misuse is looked into."""


class Need(StrEnum):
    """What a person has to have, or to say, before a picture is shown."""

    NOTHING = "nothing"
    """They have the review in hand."""
    PURPOSE = "purpose"
    CLAIM = "claim"


def need_of(session: Session, visitor: Visitor, review: Review) -> Need:
    """An open review is looked at by who has it in hand; by a lead, an adjudicator and the minor-safety role, and once
    it is closed by all who may look at pictures, for a stated reason."""
    if review.state != "open":
        return Need.PURPOSE
    held = session.scalar(
        select(ClaimRow.token).where(
            ClaimRow.review_id == review.id,
            ClaimRow.actor == visitor.pseudonym,
            ClaimRow.lease_until > func.clock_timestamp(),
        )
    )
    if held is not None:
        return Need.NOTHING
    duty = visitor.may(May.ADJUDICATE) or visitor.may(May.SEE_MINORS)
    return Need.PURPOSE if duty else Need.CLAIM
