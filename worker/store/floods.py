"""The flood breaker: a bank entry that suddenly hits many uploaders is set to flag-only until a person lifts it.

An unreviewed hash can be wrong or planted; one that meets a popular picture would silence many people at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from config.policy import FloodSettings
from worker.domain import ObjectRef
from worker.store.models import Demotion, EntryHit, Timestamp


def uploader_digest(ref: ObjectRef, pattern: str) -> bytes:
    """A 16-byte digest of who uploaded a key. Keys that `pattern` does not match count as one uploader together.

    Were each to count alone, one account could demote a victim's hash with a few uploads of its own.
    """
    found = re.search(pattern, ref.key)
    who = found.group("uploader") if found else ""
    return hashlib.blake2b(f"{ref.bucket}\0{who}".encode(), digest_size=16).digest()


def demoted(session: Session, entry_ids: Collection[int]) -> frozenset[int]:
    """Those of the entries that are flag-only now."""
    if not entry_ids:
        return frozenset()
    return frozenset(
        session.scalars(
            select(Demotion.entry_id).where(Demotion.entry_id.in_(entry_ids), Demotion.lifted_at.is_(None))
        )
    )


def count_holds(
    session: Session,
    holds: Iterable[tuple[int, str]],
    uploader: bytes,
    settings: FloodSettings,
    at: datetime | None = None,
) -> list[Demotion]:
    """Counts one uploader for each (entry id, bank) that holds; returns the demotions that this one tripped.

    `at` is when the upload came, if not now: the uploads of half a year that a hunt holds at once are no flood.
    """
    came = func.clock_timestamp() if at is None else literal(at, Timestamp)
    tripped = []
    for entry_id, bank in holds:
        session.execute(
            insert(EntryHit)
            .values(entry_id=entry_id, uploader=uploader, at=came)
            .on_conflict_do_update(
                index_elements=["entry_id", "uploader"], set_={"at": func.greatest(EntryHit.at, came)}
            )
        )
        uploaders = session.scalar(
            select(func.count())
            .select_from(EntryHit)
            .where(
                EntryHit.entry_id == entry_id,
                EntryHit.at > func.clock_timestamp() - timedelta(seconds=settings.window),
            )
        )
        if uploaders is None or uploaders < settings.uploaders:
            continue
        demotion_id = session.scalar(
            insert(Demotion)
            .values(entry_id=entry_id, bank=bank, uploaders=uploaders)
            .on_conflict_do_nothing()
            .returning(Demotion.id)
        )
        if demotion_id is not None:
            tripped.append(session.get_one(Demotion, demotion_id))
    return tripped


def lift(session: Session, demotion_id: int, *, actor: str) -> bool:
    """Ends a demotion and forgets the hits that led to it; False when there is none to end."""
    demotion = session.get(Demotion, demotion_id, with_for_update=True)
    if demotion is None or demotion.lifted_at is not None:
        return False
    demotion.lifted_at = func.clock_timestamp()
    demotion.lifted_by = actor
    for hit in session.scalars(select(EntryHit).where(EntryHit.entry_id == demotion.entry_id)):
        session.delete(hit)
    return True
