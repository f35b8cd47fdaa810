"""Who decides where two persons disagree: somebody active with the role, who took no part in it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, any_, exists, func, literal, or_, select
from sqlalchemy.orm import Session

from worker.store.desk import Opinion, PassKind, PassRow, Stage
from worker.store.models import Review
from worker.store.people import Person, Role

ADJUDICATORS = (Role.ADJUDICATOR, Role.LEAD)


def active() -> ColumnElement[bool]:
    """A person has the role and may sign in."""
    able = or_(*(any_(Person.roles) == role.value for role in ADJUDICATORS))
    return and_(Person.disabled.is_(False), able)


def adjudicates(pseudonym: str) -> ColumnElement[bool]:
    """SQL: this person has the role."""
    return exists().where(Person.pseudonym == pseudonym, active())


def number_stuck(session: Session) -> int:
    """How many disagreements wait for which there is nobody: no person of the role, or all of them took part."""
    names = (Person.pseudonym, literal("operator:") + Person.pseudonym)
    said = exists().where(
        Opinion.review_id == Review.id,
        Opinion.stands.is_(True),
        Opinion.decision_id.is_(None),
        Opinion.at >= Review.opened_at,
        Opinion.actor.in_(names),
    )
    left = exists().where(
        PassRow.review_id == Review.id, PassRow.actor.in_(names), PassRow.kind != PassKind.SKIPPED
    )
    somebody = exists().where(active(), ~said, ~left)
    return session.scalars(
        select(func.count())
        .select_from(Review)
        .where(Review.state == "open", Review.stage == Stage.ADJUDICATION, ~somebody)
    ).one()
