"""People: who may sign in, under which pseudonym, with which roles. Every change is an entry in the audit log."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from config.words import _
from worker.review import audit
from worker.review.faults import PeopleError
from worker.review.people import sign_ins, tokens
from worker.review.people.passwords import hash_password
from worker.review.people.permissions import May, allowed
from worker.store.people import Person, Role, SignedIn

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in, as pages and the API know them."""

    person_id: int
    pseudonym: str
    roles: tuple[Role, ...]
    session_id: int | None
    """None for who came by a token."""
    single_keys: bool = True
    """Whether one key alone does something on the pages."""

    def may(self, what: May) -> bool:
        return what in allowed(self.roles)


def add(session: Session, name: str, roles: Collection[Role], *, actor: str) -> Person:
    """A person with a new pseudonym, and no way in yet. Raises PeopleError for a name that is taken or is none."""
    name = _checked_name(name)
    _check_roles(roles)
    if find(session, name) is not None:
        raise PeopleError(
            _("There is a person %(name)s already.", name=name),
            next_step=_("`hashwarden people list` lists all of them."),
        )
    return _add(session, Person(name=name, pseudonym="", roles=sorted(roles)), actor=actor)


def add_from_provider(
    session: Session, issuer: str, subject: str, name: str, roles: Collection[Role], *, actor: str
) -> Person:
    """Somebody whom the provider sent for the first time; a name that is taken gets a number."""
    name = _checked_name(name[:LONGEST_NAME] if name.isprintable() and name.strip() else "unnamed")
    free, number = name, 1
    while find(session, free) is not None:
        number += 1
        free = f"{name[: LONGEST_NAME - 8]} ({number})"
    person = Person(name=free, pseudonym="", roles=sorted(roles), issuer=issuer, subject=subject)
    return _add(session, person, actor=actor)


def _add(session: Session, person: Person, *, actor: str) -> Person:
    taken = set(session.scalars(select(Person.pseudonym)))
    while (pseudonym := f"reviewer-{secrets.token_hex(2)}") in taken:
        continue
    person.pseudonym = pseudonym
    session.add(person)
    session.flush()
    _record(session, person, "person_added", actor, roles=list(person.roles))
    return person


def find(session: Session, name: str) -> Person | None:
    """By name, in any case, or by pseudonym."""
    return session.scalars(
        select(Person)
        .where(or_(func.lower(Person.name) == func.lower(name.strip()), Person.pseudonym == name.strip()))
        .order_by(Person.id)
        .limit(1)
    ).first()


def get(session: Session, name: str) -> Person:
    """As `find`, locked for a change; raises PeopleError when there is no such person."""
    person = find(session, name)
    if person is None:
        raise PeopleError(
            _("There is no person %(name)s.", name=name),
            next_step=_("`hashwarden people list` lists all of them."),
        )
    session.refresh(person, with_for_update=True)
    return person


def listed(session: Session) -> list[Person]:
    return list(session.scalars(select(Person).order_by(func.lower(Person.name))))


def set_roles(session: Session, person: Person, roles: Collection[Role], *, actor: str) -> None:
    """What a signed-in person may do changes with their next page."""
    _check_roles(roles)
    if sorted(roles) == sorted(person.roles):
        return
    before, person.roles = person.roles, sorted(roles)
    _record(session, person, "person_roles", actor, roles=list(person.roles), before=list(before))


def lose_roles(session: Session, person: Person, *, actor: str) -> None:
    """Takes all roles, and ends all sessions, links and tokens; nothing where there are none."""
    before, person.roles = person.roles, []
    ended = {
        "sessions": sign_ins.end_all(session, person.id),
        "tokens": tokens.end_all(session, person.id),
    }
    if before or any(ended.values()):
        _record(session, person, "person_roles", actor, roles=[], before=list(before), **ended)


def set_password(session: Session, person: Person, password: str, *, actor: str) -> None:
    """Ends the person's sessions and links too. Raises PeopleError for a password that is too short."""
    if person.subject is not None:
        raise PeopleError(
            _("%(person)s signs in at the provider and has no password here.", person=person.pseudonym),
            next_step=_("Change it at the provider."),
        )
    person.password_hash = hash_password(password)
    sign_ins.end_all(session, person.id)
    _record(session, person, "person_password", actor)


def set_single_keys(session: Session, person_id: int, *, on: bool, actor: str) -> None:
    """Turns the shortcuts of one key on or off for a person; counts with their next page."""
    person = session.get_one(Person, person_id, with_for_update=True)
    if person.single_keys is on:
        return
    person.single_keys = on
    _record(session, person, "person_keys", actor, single_keys=on)


def disable(session: Session, person: Person, *, actor: str) -> None:
    """Ends all sessions, links and tokens; nobody signs in as this person until `enable`."""
    person.disabled = True
    sign_ins.end_all(session, person.id)
    _record(session, person, "person_disabled", actor, tokens=tokens.end_all(session, person.id))


def enable(session: Session, person: Person, *, actor: str) -> None:
    person.disabled = False
    _record(session, person, "person_enabled", actor)


def revoke(session: Session, session_id: int, *, actor: str) -> None:
    """Ends one session. Raises PeopleError when there is no such open one."""
    if sign_ins.end(session, session_id) is None:
        raise PeopleError(
            _("There is no open session %(session)s.", session=session_id),
            next_step=_("`hashwarden people sessions` lists them."),
        )
    audit.record(session, actor=actor, action="session_revoked", subject=("session", session_id))


def revoke_own(session: Session, person_id: int, session_id: int, *, actor: str) -> None:
    """Ends one session of this person; raises PeopleError for somebody else's as for one that is none."""
    own = session.scalar(
        select(SignedIn.id).where(SignedIn.id == session_id, SignedIn.person_id == person_id)
    )
    revoke(session, own or 0, actor=actor)


def revoke_all(session: Session, person: Person, *, actor: str) -> int:
    """Ends all sessions and links of a person; how many sessions were open."""
    ended = sign_ins.end_all(session, person.id)
    _record(session, person, "sessions_revoked", actor, sessions=ended)
    return ended


def operator(session: Session, name: str) -> str:
    """The actor for a command of somebody who has the database: by pseudonym, where the name is a person's."""
    person = find(session, name)
    return f"operator:{person.pseudonym if person is not None else name}"


def proposer(session: Session, name: str) -> str:
    """The pseudonym of a person who proposes at the terminal. Raises PeopleError for who is none, or may not.

    No `operator:` stands before it: the same person on the pages must be known as the one who can't approve.
    """
    person = get(session, name)
    if person.disabled or May.PROPOSE not in allowed(Role(role) for role in person.roles):
        raise PeopleError(
            _("%(person)s may not propose.", person=person.pseudonym),
            next_step=_("`hashwarden people roles` gives a role that may."),
        )
    return person.pseudonym


def _record(session: Session, person: Person, action: str, actor: str, **details: audit.Detail) -> None:
    audit.record(session, actor=actor, action=action, subject=("person", person.pseudonym), details=details)


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise PeopleError(
            _(
                "A person's name has 1 to %(most)s characters and none that controls a terminal.",
                most=LONGEST_NAME,
            ),
            next_step=_("Give another one."),
        )
    return name


def _check_roles(roles: Collection[Role]) -> None:
    if not roles:
        raise PeopleError(
            _("A person needs a role."),
            next_step=_("Give one or more of: %(roles)s.", roles=", ".join(Role)),
        )
