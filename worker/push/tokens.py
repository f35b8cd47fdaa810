"""Whether a request carries one of the tokens: `Authorization: Bearer <token>`, or Basic with it as the password.

Basic is for stores that can only put a name and a password before the host of an address, such as Ceph's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from pydantic import SecretStr


class Tokens:
    """Keeps digests only, which have one length: a comparison takes the same time for every guess."""

    def __init__(self, tokens: Sequence[SecretStr]) -> None:
        self._digests = [_digest(token.get_secret_value().encode("ascii")) for token in tokens]

    def let_in(self, authorization: str) -> bool:
        """Whether the header's value holds a token; '' where the header is missing."""
        scheme, _, value = authorization.partition(" ")
        given = _password(value) if scheme.lower() == "basic" else value.strip().encode("utf-8", "replace")
        if scheme.lower() not in ("bearer", "basic"):
            return False
        digest = _digest(given)
        # A sum, so that every token is compared.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _password(value: str) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
