"""Sessions in the database: opened by a sign-in, ended by time, by sign-out or by whoever revokes them.

A session's token is 256 random bits that only the browser's cookie holds; the table has its SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from config.settings import ReviewSettings
from worker.store.people import Person, SignedIn, SignInLink

_SEEN_EVERY = timedelta(minutes=1)
"""How exactly it is known when a session was last used: not every page writes."""


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One open session, as an operator sees it."""

    id: int
    pseudonym: str
    way: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def form_token(token: str) -> str:
    """What every form of this session carries; from it the session's token can't be told."""
    return hmac.new(token.encode("utf-8", "replace"), b"form", hashlib.sha256).hexdigest()


def good_form(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), form_token(token).encode())


def open_session(session: Session, person: Person, way: str, settings: ReviewSettings) -> tuple[str, int]:
    """A new session of this person: its token, for the cookie, and its id."""
    token = new_token()
    row = SignedIn(
        person_id=person.id,
        token_hash=token_hash(token),
        way=way,
        expires_at=func.clock_timestamp() + timedelta(seconds=settings.session_lasts),
    )
    session.add(row)
    session.flush()
    return token, row.id


def who(
    session: Session, token: str, settings: ReviewSettings, *, in_use: bool = True
) -> tuple[Person, int] | None:
    """The person of an open session and its id; None where there is none. Writes down that it is `in_use`."""
    now = func.clock_timestamp()
    found = session.execute(
        select(Person, SignedIn.id, (SignedIn.seen_at < now - _SEEN_EVERY).label("stale"))
        .join(Person, Person.id == SignedIn.person_id)
        .where(
            SignedIn.token_hash == token_hash(token),
            *_open(settings),
            Person.disabled.is_(False),
        )
    ).one_or_none()
    if found is None:
        return None
    person, session_id, stale = found
    if stale and in_use:
        session.execute(update(SignedIn).where(SignedIn.id == session_id).values(seen_at=now))
    return person, session_id


def listed(session: Session, settings: ReviewSettings, person_id: int | None = None) -> list[SessionLine]:
    """The open sessions of all, or of one person, the newest first."""
    whose = () if person_id is None else (Person.id == person_id,)
    rows = session.execute(
        select(
            SignedIn.id,
            Person.pseudonym,
            SignedIn.way,
            SignedIn.created_at,
            SignedIn.seen_at,
            SignedIn.expires_at,
        )
        .join(Person, Person.id == SignedIn.person_id)
        .where(*_open(settings), *whose)
        .order_by(SignedIn.id.desc())
    )
    return [SessionLine(*row) for row in rows]


def _open(settings: ReviewSettings) -> tuple[ColumnElement[bool], ...]:
    now = func.clock_timestamp()
    return (
        SignedIn.ended_at.is_(None),
        SignedIn.expires_at > now,
        SignedIn.seen_at > now - timedelta(seconds=settings.idle_after),
    )


def end(session: Session, session_id: int) -> str | None:
    """Ends one session; the pseudonym of its person, or None when there is no such open one."""
    person_id = session.scalar(
        update(SignedIn)
        .where(SignedIn.id == session_id, SignedIn.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp())
        .returning(SignedIn.person_id)
    )
    if person_id is None:
        return None
    return session.scalar(select(Person.pseudonym).where(Person.id == person_id))


def end_all(session: Session, person_id: int) -> int:
    """Ends all sessions and links of a person; how many sessions were open."""
    session.execute(delete(SignInLink).where(SignInLink.person_id == person_id))
    ended = session.scalars(
        update(SignedIn)
        .where(SignedIn.person_id == person_id, SignedIn.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp())
        .returning(SignedIn.id)
    ).all()
    return len(ended)


def forget_old(session: Session) -> None:
    """Deletes what has been over for thirty days; the audit log tells of it for good."""
    long_ago = func.clock_timestamp() - timedelta(days=30)
    session.execute(delete(SignedIn).where(SignedIn.expires_at < long_ago))
