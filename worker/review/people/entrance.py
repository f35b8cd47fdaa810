"""Lets people in: by name and password, or by a one-time link. Every try is an entry in the audit log."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.orm import Session

from config.database import Sessions
from config.settings import ReviewSettings
from config.words import _
from worker.review import audit
from worker.review.faults import PeopleError, SignInError
from worker.review.people import passwords, people, sign_ins, throttle
from worker.store.people import Person, SignInLink


def by_password(sessions: Sessions, settings: ReviewSettings, name: str, password: str, address: str) -> str:
    """The token of a new session. Raises SignInError, with the same words and after the same time for an unknown
    name as for a wrong password."""
    if "\0" in name:
        name = ""
    with sessions.begin() as session:
        person = people.find(session, name)
        # Name and pseudonym are one person's: who guesses has no second set of tries by the other.
        counted = name if person is None else person.name
        attempt = throttle.begin(session, counted, address)
        password_hash = None if person is None or person.disabled else person.password_hash
    right = passwords.right(password, password_hash)
    with sessions.begin() as session:
        # Read again: a password that was changed meanwhile lets nobody in.
        person = people.find(session, name)
        if person is not None:
            session.refresh(person, with_for_update=True)
        if not right or person is None or person.disabled or person.password_hash != password_hash:
            refused(session, person)
        else:
            throttle.forgive(session, counted, attempt)
            if passwords.outdated(person.password_hash or ""):
                person.password_hash = passwords.hash_password(password)
            return let_in(session, person, "password", settings)
    raise SignInError(_("The name or the password is wrong."), next_step=_("Try again."))


def change_password(sessions: Sessions, person_id: int, old: str, new: str, address: str) -> None:
    """A person's own new password; it ends all their sessions, this one too.

    The old one is asked for, and its tries are counted as sign-ins are: an open page must not be a way to guess it.
    Raises SignInError when it is wrong, PeopleError for a new one that is too short or where the provider has it.
    """
    with sessions.begin() as session:
        person = session.get_one(Person, person_id)
        name, pseudonym, password_hash = person.name, person.pseudonym, person.password_hash
        attempt = throttle.begin(session, name, address)
    right = passwords.right(old, password_hash)
    # Who came by a link has none yet, and gives none.
    first = password_hash is None and not old
    with sessions.begin() as session:
        person = session.get_one(Person, person_id, with_for_update=True)
        if (right or first) and person.password_hash == password_hash and not person.disabled:
            people.set_password(session, person, new, actor=pseudonym)
            throttle.forgive(session, name, attempt)
            return
        refused(session, person)
    raise SignInError(_("The old password is wrong."), next_step=_("Try again."))


def make_link(session: Session, person: Person, minutes: float, *, actor: str) -> str:
    """A token that lets this person in once. Raises PeopleError for somebody who is disabled."""
    if person.disabled:
        raise PeopleError(
            _("%(person)s is disabled.", person=person.pseudonym),
            next_step=_("`hashwarden people enable` lets them in again."),
        )
    token = sign_ins.new_token()
    session.execute(delete(SignInLink).where(SignInLink.expires_at < func.clock_timestamp()))
    session.add(
        SignInLink(
            token_hash=sign_ins.token_hash(token),
            person_id=person.id,
            expires_at=func.clock_timestamp() + timedelta(minutes=minutes),
        )
    )
    audit.record(session, actor=actor, action="link_made", subject=("person", person.pseudonym))
    return token


def by_link(sessions: Sessions, settings: ReviewSettings, link: str) -> str:
    """The token of a new session; the link is used up. Raises SignInError."""
    with sessions.begin() as session:
        person_id = session.scalar(
            delete(SignInLink)
            .where(
                SignInLink.token_hash == sign_ins.token_hash(link),
                SignInLink.expires_at > func.clock_timestamp(),
            )
            .returning(SignInLink.person_id)
        )
        person = session.get(Person, person_id, with_for_update=True) if person_id is not None else None
        if person is not None and not person.disabled:
            return let_in(session, person, "link", settings)
        refused(session, person)
    raise SignInError(
        _("This link was used before, or its time is over."),
        next_step=_("Ask for another one: `hashwarden people link` makes it."),
    )


def let_in(session: Session, person: Person, way: str, settings: ReviewSettings) -> str:
    """The token of a new session of somebody who has proved who they are."""
    sign_ins.forget_old(session)
    token, session_id = sign_ins.open_session(session, person, way, settings)
    audit.record(
        session,
        actor=person.pseudonym,
        action="sign_in",
        subject=("session", session_id),
        details={"way": way},
    )
    return token


def refused(session: Session, person: Person | None) -> None:
    """Writes a failed sign-in down. An unknown name is not kept: it may be a password in the wrong field."""
    subject = ("person", person.pseudonym) if person is not None else ("", "")
    audit.record(session, actor=audit.NOBODY, action="sign_in_failed", subject=subject)


def leave(sessions: Sessions, pseudonym: str, session_id: int) -> None:
    """Signs out."""
    with sessions.begin() as session:
        if sign_ins.end(session, session_id) is not None:
            audit.record(session, actor=pseudonym, action="sign_out", subject=("session", session_id))
