"""Who may enter the review pages, which forms are theirs, and the headers that go with every answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time

from config.settings import ReviewSettings
from worker.review.reviews import MAX_ACTOR

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer: nothing is loaded from elsewhere, framed, cached or told to another site."""

FORM_SECONDS = 8 * 3600
"""How long a form may lie open: a shift."""


def visitor(authorization: str, settings: ReviewSettings) -> str | None:
    """The name in a Basic authorization header whose password is the right one; else None.

    The name is who decides: it must be one that can be written down.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or settings.password is None:
        return None
    try:
        name, found, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    right = hmac.compare_digest(_digest(password), _digest(settings.password.get_secret_value()))
    name = name.strip()
    if not (found and right and name and name.isprintable() and len(name) <= MAX_ACTOR):
        return None
    return name


class Forms:
    """Tokens of forms, by a secret of this process: forms that lay open when it restarted are loaded again."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def token(self, user: str, review_id: int) -> str:
        """What a form for this review and person carries."""
        until = str(int(time.time()) + FORM_SECONDS)
        return f"{until}.{self._sign(user, review_id, until)}"

    def good(self, token: str, user: str, review_id: int) -> bool:
        """Whether a page of this process gave the token to this person for this review, and lately."""
        until, _, signature = token.partition(".")
        expected = self._sign(user, review_id, until)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return False
        return int(until) >= time.time()

    def _sign(self, user: str, review_id: int, until: str) -> str:
        text = f"{review_id}\0{until}\0{user}"
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    """Of one length, so that comparing takes one time."""
    return hashlib.sha256(text.encode()).digest()
