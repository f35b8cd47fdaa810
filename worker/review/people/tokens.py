"""Tokens of the API: each belongs to one person, carries some of their roles, and ends by itself.

A token is `hw_` and 256 random bits. It is shown once; the table has its SHA-256. The prefix is for those who search
code and logs for tokens that leaked.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from config.words import _
from worker.review import audit
from worker.review.faults import PeopleError
from worker.review.people.sign_ins import token_hash
from worker.store.people import ApiToken, Person, Role

PREFIX = "hw_"
DAYS, MOST_DAYS = 90, 366
"""How long a token lasts, if nothing else is said, and at most."""

_SHAPE = re.compile(r"hw_[A-Za-z0-9_-]{43}")
_USED_EVERY = timedelta(minutes=1)
"""How exactly it is known when a token was last used: not every call writes."""


@dataclass(frozen=True, slots=True)
class TokenLine:
    """One token that is not over, as an admin sees it."""

    id: int
    pseudonym: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token stands for, with those of its roles that the person still has."""

    person_id: int
    pseudonym: str
    roles: tuple[Role, ...]


def add(
    session: Session, person: Person, roles: Collection[Role], days: int, *, actor: str
) -> tuple[str, ApiToken]:
    """A new token of a person, locked by the caller, and its row. The token is nowhere else.

    Raises PeopleError for a disabled person, for roles that they have not, and for days out of 1 to MOST_DAYS.
    """
    if person.disabled:
        raise PeopleError(
            _("%(person)s is disabled.", person=person.pseudonym),
            next_step=_("`hashwarden people enable` lets them in again."),
        )
    missing = sorted(set(roles) - set(person.roles))
    if missing or not roles:
        raise PeopleError(
            _("%(person)s has not the role %(role)s.", person=person.pseudonym, role=missing[0])
            if missing
            else _("A token needs a role."),
            next_step=_("Give one or more of: %(roles)s.", roles=", ".join(person.roles)),
        )
    if not 1 <= days <= MOST_DAYS:
        raise PeopleError(
            _("A token lasts 1 to %(most)s days.", most=MOST_DAYS), next_step=_("Give fewer and renew it.")
        )
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        person_id=person.id,
        token_hash=token_hash(token),
        roles=sorted(set(roles)),
        expires_at=func.clock_timestamp() + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=actor,
        action="token_added",
        subject=("token", row.id),
        details={"person": person.pseudonym, "roles": list(row.roles), "days": days},
    )
    return token, row


def well_formed(token: str) -> bool:
    """Whether it could be a token at all."""
    return _SHAPE.fullmatch(token) is not None


def bearer_of(session: Session, token: str) -> Bearer | None:
    """Whom a token stands for; None when it is none, or is over. Writes down that it was used."""
    now = func.clock_timestamp()
    found = session.execute(
        select(
            ApiToken.id,
            ApiToken.roles,
            Person.id.label("person_id"),
            Person.pseudonym,
            Person.roles.label("person_roles"),
            or_(ApiToken.used_at.is_(None), ApiToken.used_at < now - _USED_EVERY).label("stale"),
        )
        .join(Person, Person.id == ApiToken.person_id)
        .where(
            ApiToken.token_hash == token_hash(token),
            ApiToken.revoked_at.is_(None),
            ApiToken.expires_at > now,
            Person.disabled.is_(False),
        )
    ).one_or_none()
    if found is None:
        return None
    if found.stale:
        session.execute(
            update(ApiToken).where(ApiToken.id == found.id).values(used_at=func.date_trunc("minute", now))
        )
    roles = tuple(Role(role) for role in found.roles if role in found.person_roles)
    return Bearer(found.person_id, found.pseudonym, roles)


def listed(session: Session) -> list[TokenLine]:
    """The tokens of all that are not over, the newest first."""
    rows = session.execute(
        select(ApiToken, Person.pseudonym)
        .join(Person, Person.id == ApiToken.person_id)
        .where(ApiToken.revoked_at.is_(None), ApiToken.expires_at > func.clock_timestamp())
        .order_by(ApiToken.id.desc())
    )
    return [
        TokenLine(row.id, pseudonym, tuple(row.roles), row.created_at, row.expires_at, row.used_at)
        for row, pseudonym in rows
    ]


def revoke(session: Session, token_id: int, *, actor: str) -> None:
    """Ends one token. Raises PeopleError when there is no such one that is not over."""
    ended = session.scalar(
        update(ApiToken)
        .where(
            ApiToken.id == token_id,
            ApiToken.revoked_at.is_(None),
            ApiToken.expires_at > func.clock_timestamp(),
        )
        .values(revoked_at=func.clock_timestamp())
        .returning(ApiToken.id)
    )
    if ended is None:
        raise PeopleError(
            _("There is no token %(token)s that works.", token=token_id),
            next_step=_("`hashwarden people token list` lists them."),
        )
    audit.record(session, actor=actor, action="token_revoked", subject=("token", token_id))


def end_all(session: Session, person_id: int) -> int:
    """Ends all tokens of a person; how many there were."""
    ended = session.scalars(
        update(ApiToken)
        .where(ApiToken.person_id == person_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(ApiToken.id)
    ).all()
    return len(ended)
