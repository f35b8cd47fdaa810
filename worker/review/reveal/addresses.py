"""Addresses of pictures: for one person, once, and for half a minute. They are in the database, so any process of
these pages may answer; only digests of the tokens are."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from worker.media.rungs import Rung
from worker.store.views import RevealAddress, View

ADDRESS_SECONDS = 30
MOST_SECONDS = 60.0
"""Of one look, whatever the browser tells."""
LEAST_SECONDS = 1.0
"""Of one look, whatever the browser tells: what was sent can be seen, and one that told nothing would have no limit."""
_KEPT = timedelta(hours=1)
"""For the seconds of the look, which are told later."""


class UsedUp(Exception):
    """The address was used before, is too old, or never was one."""


class NotYours(Exception):
    """The address was given to somebody else."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address stands for. `digest` names it in the database."""

    digest: bytes
    review_id: int
    rung: Rung
    region: str
    purpose: str
    """Why somebody looks who has not the review in hand; else ''."""


def new_address(session: Session, actor: str, review_id: int, rung: Rung, region: str, purpose: str) -> str:
    """The token of a new address; outlived ones are cleared away."""
    now = func.clock_timestamp()
    session.execute(delete(RevealAddress).where(RevealAddress.until < now - _KEPT))
    token = secrets.token_urlsafe(32)
    session.add(
        RevealAddress(
            digest=_digest(token),
            actor=actor,
            review_id=review_id,
            rung=rung,
            region=region,
            purpose=purpose,
            until=now + timedelta(seconds=ADDRESS_SECONDS),
        )
    )
    return token


def use_address(session: Session, token: str, actor: str) -> Asked:
    """Uses an address up. Raises NotYours, which leaves it as it is, or UsedUp."""
    digest = _digest(token)
    used = session.execute(
        update(RevealAddress)
        .where(
            RevealAddress.digest == digest,
            RevealAddress.actor == actor,
            RevealAddress.used_at.is_(None),
            RevealAddress.until > func.clock_timestamp(),
        )
        .values(used_at=func.clock_timestamp())
        .returning(RevealAddress.review_id, RevealAddress.rung, RevealAddress.region, RevealAddress.purpose)
    ).one_or_none()
    if used is not None:
        return Asked(digest, used.review_id, Rung(used.rung), used.region, used.purpose)
    owner = session.scalar(select(RevealAddress.actor).where(RevealAddress.digest == digest))
    if owner is not None and owner != actor:
        raise NotYours
    raise UsedUp


def close_view(session: Session, token: str, actor: str, seconds: float) -> bool:
    """Writes the seconds of the look that an address was used for; False where there is none that is open.

    They are LEAST_SECONDS to MOST_SECONDS, and else no more than have passed.
    """
    view = (
        select(RevealAddress.view_id)
        .where(RevealAddress.digest == _digest(token), RevealAddress.actor == actor)
        .scalar_subquery()
    )
    passed = func.extract("epoch", func.clock_timestamp() - View.at)
    closed = session.execute(
        update(View)
        .where(View.id == view, View.seconds.is_(None))
        .values(seconds=func.greatest(LEAST_SECONDS, func.least(seconds, MOST_SECONDS, passed)))
        .returning(View.id)
    )
    return closed.one_or_none() is not None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
