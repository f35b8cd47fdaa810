"""Passwords: hashed by argon2id, compared in one time whether or not there is such a person."""

from __future__ import annotations

import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from config.words import _
from worker.review.faults import PeopleError

SHORTEST, LONGEST = 12, 256
"""Characters."""

_HASHER = PasswordHasher()
"""The library's defaults: RFC 9106's second choice, 64 MiB."""
_NOBODYS = _HASHER.hash("nobody has this password")
_AT_ONCE = threading.BoundedSemaphore(2)
"""Each comparison takes 64 MiB: many at once must not take the host's memory."""


def hash_password(password: str) -> str:
    """Raises PeopleError for one that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise PeopleError(
            _(
                "The password has %(number)s characters; it may have %(least)s to %(most)s.",
                number=len(password),
                least=SHORTEST,
                most=LONGEST,
            ),
            next_step=_("Choose another one."),
        )
    with _AT_ONCE:
        return _HASHER.hash(_same(password))


def right(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one of this hash. None, for nobody, takes as long and is never right."""
    if len(password) > LONGEST:
        password = ""
    with _AT_ONCE:
        try:
            _HASHER.verify(password_hash or _NOBODYS, _same(password))
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def outdated(password_hash: str) -> bool:
    """Whether the library's parameters have grown since."""
    return _HASHER.check_needs_rehash(password_hash)


def _same(password: str) -> str:
    """Two keyboards may write one letter in two ways."""
    return unicodedata.normalize("NFC", password)
