"""Slows down who guesses passwords: a name and an address may fail only so often in a quarter of an hour.

A try is written down before its password is looked at, so that many at once can't slip through together.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from config.words import _
from worker.review.faults import TooManyTriesError
from worker.store.people import SignInAttempt

WINDOW = timedelta(minutes=15)
PER_NAME, PER_ADDRESS = 10, 50
"""Tries in a window. An address may be that of an office: it may fail more often."""


def begin(session: Session, name: str, address: str) -> int:
    """Writes a try down; its id, for `forgive`. Commit before the password is looked at.

    `name` is the person's own where there is such a person, however they were called.

    Raises TooManyTriesError when the name or the address has failed too often of late; a refused try does not count.
    """
    digest = _digest(name)
    # Tries of one name or address are counted one after another; always in this order, so that none waits for two.
    for space, key in ((1, digest), (2, _digest(address))):
        session.execute(
            text("SELECT pg_advisory_xact_lock(:space, :key)"),
            {"space": 0x4857_0100 + space, "key": int.from_bytes(key[:4], signed=True)},
        )
    since = func.clock_timestamp() - WINDOW
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < since))
    for column, value, most in (
        (SignInAttempt.name_digest, digest, PER_NAME),
        (SignInAttempt.address, address, PER_ADDRESS),
    ):
        tries = session.scalar(select(func.count()).where(column == value))
        if tries is not None and tries >= most:
            raise TooManyTriesError(
                _("Too many sign-ins have failed."),
                next_step=_("Try again in a quarter of an hour, or ask an admin for a link."),
            )
    attempt = SignInAttempt(name_digest=digest, address=address)
    session.add(attempt)
    session.flush()
    return attempt.id


def refuse_token(session: Session, address: str) -> None:
    """Writes a wrong token down. Raises TooManyTriesError when the address has sent too many of late.

    A right token is let in all the same: none can be guessed, and who sends wrong ones must not shut others out.
    """
    source = f"token {address}"
    session.execute(
        text("SELECT pg_advisory_xact_lock(:space, :key)"),
        {"space": 0x4857_0103, "key": int.from_bytes(_digest(source)[:4], signed=True)},
    )
    since = func.clock_timestamp() - WINDOW
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < since))
    tries = session.scalar(select(func.count()).where(SignInAttempt.address == source))
    if tries is not None and tries >= PER_ADDRESS:
        raise TooManyTriesError(
            _("Too many wrong tokens came from this address."),
            next_step=_("Send a token that works, or try again in a quarter of an hour."),
        )
    session.add(SignInAttempt(name_digest=_digest(source), address=source))


def forgive(session: Session, name: str, attempt_id: int) -> None:
    """The password was right: neither this try nor the earlier ones of the name count any more."""
    session.execute(
        delete(SignInAttempt).where(
            (SignInAttempt.id == attempt_id) | (SignInAttempt.name_digest == _digest(name))
        )
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.strip().lower().encode("utf-8", "replace")).digest()
