"""The platform's own bank: hashes of what its reviewers confirmed, and what each of them rests on.

An own entry never outlives what led to it: when every bank entry behind a decision is withdrawn, so is what
the decision put here, unless another decision still supports it. Whoever writes here takes one lock first: what one
adds and what another withdraws would otherwise not see each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from bank_sync import locks
from bank_sync.bank import OWN_BANK, BankEntry, BankRecord, EntryOrigin, OwnSupport, staged_row
from bank_sync.signals import signal_key
from bank_sync.staging import staged, take


def add_own(
    session: Session,
    signal_type: str,
    signal: bytes,
    quality: int,
    origins: Iterable[int],
    *,
    source: str = "",
) -> int:
    """Puts a confirmed signal into the own bank, or one more support under it; its entry id. Never commits.

    `origins` are the bank entries whose matches led to the decision; those of an own entry among them are
    followed to its own. Without origins the decision stands by itself. `source` names the decided content,
    so that an undone decision takes back its part (`remove_own`). Safe to repeat.
    """
    _alone(session)
    statement = insert(BankEntry).values(
        bank=OWN_BANK,
        signal_type=signal_type,
        signal=signal,
        signal_key=signal_key(signal),
        live=True,
        raw_status="Active",
        quality=quality,
    )
    entry_id = session.execute(
        statement.on_conflict_do_update(
            constraint="uq_bank_entries_signal",
            set_={
                "quality": func.greatest(BankEntry.quality, statement.excluded.quality),
                "updated_at": func.now(),
            },
        ).returning(BankEntry.id)
    ).scalar_one()
    standing, roots = _roots(session, set(origins), entry_id)
    support = insert(OwnSupport).values(entry_id=entry_id, source=source, standing=standing)
    session.execute(
        support.on_conflict_do_update(
            index_elements=["entry_id", "source"], set_={"standing": support.excluded.standing}
        )
    )
    session.execute(delete(EntryOrigin).where(EntryOrigin.entry_id == entry_id, EntryOrigin.source == source))
    if roots:
        session.execute(
            insert(EntryOrigin).values(
                [
                    {"entry_id": entry_id, "source": source, "origin_entry_id": origin}
                    for origin in sorted(roots)
                ]
            )
        )
    session.execute(
        update(BankEntry)
        .where(BankEntry.id == entry_id)
        .values(live=_supported(), withdrawn_at=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(BankEntry)
        .where(BankEntry.id == entry_id, ~BankEntry.live)
        .values(withdrawn_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return entry_id


def add_own_by_themselves(session: Session, records: Iterable[BankRecord], *, source: str) -> None:
    """Many signals into the own bank that stand by themselves; for each what `add_own` does without origins.

    Never commits. Safe to repeat: what stands already is not written again. Raises DatabaseError.
    """
    _alone(session)
    latest = {(r.signal_type, signal_key(r.signal)): r for r in records}
    with staged(session, (staged_row(key, record) for (_, key), record in latest.items())) as cursor:
        take(cursor, _ADD, {"bank": OWN_BANK})
        take(cursor, _SUPPORT, {"bank": OWN_BANK, "source": source})


# Looked up one by one, by the unique index: a join might read the whole bank.
_ADD = """
    WITH added AS (
        INSERT INTO bank_entries AS entry
            (bank, signal_type, signal_key, signal, live, raw_status, quality)
        SELECT %(bank)s, signal_type, signal_key, signal, true, raw_status, quality
        FROM staged_records AS record
        WHERE NOT EXISTS (
            SELECT FROM (
                SELECT live, quality FROM bank_entries
                WHERE bank = %(bank)s AND signal_type = record.signal_type AND signal_key = record.signal_key
                LIMIT 1
            ) AS known WHERE known.live AND known.quality >= record.quality
        )
        ORDER BY signal_type, signal_key
        ON CONFLICT ON CONSTRAINT uq_bank_entries_signal DO UPDATE SET
            quality = greatest(entry.quality, excluded.quality),
            live = true,
            withdrawn_at = NULL,
            updated_at = now()
        RETURNING 1
    )
    SELECT count(*) FROM added
"""

_SUPPORT = """
    WITH added AS (
        INSERT INTO own_supports AS support (entry_id, source, standing)
        SELECT entry.id, %(source)s, true
        FROM staged_records AS record CROSS JOIN LATERAL (
            SELECT id FROM bank_entries
            WHERE bank = %(bank)s AND signal_type = record.signal_type AND signal_key = record.signal_key
            LIMIT 1
        ) AS entry
        ORDER BY entry.id
        ON CONFLICT (entry_id, source) DO UPDATE SET standing = true WHERE NOT support.standing
        RETURNING 1
    )
    SELECT count(*) FROM added
"""


def retire_unsupported_own(session: Session) -> list[int]:
    """Withdraws own entries that nothing supports any more: every origin of every decision is withdrawn.

    Those that are supported again, because a bank took its withdrawal back, come back to life. Returns the ids of the
    entries withdrawn by this call. Never commits.
    """
    _alone(session)
    session.execute(
        update(BankEntry)
        .where(BankEntry.bank == OWN_BANK, ~BankEntry.live, _supported())
        .values(live=True, withdrawn_at=None, updated_at=func.now())
        .execution_options(synchronize_session=False)
    )
    done = session.execute(
        update(BankEntry)
        .where(BankEntry.bank == OWN_BANK, BankEntry.live, ~_supported())
        .values(live=False, withdrawn_at=func.now(), updated_at=func.now())
        .returning(BankEntry.id)
        .execution_options(synchronize_session=False)
    )
    return sorted(done.scalars())


def remove_own(session: Session, source: str) -> list[int]:
    """Takes back what the decision about `source` put into the own bank, because it was undone.

    Returns the entries that are withdrawn by it; those that another decision supports stay. Never commits.
    """
    _alone(session)
    touched = list(
        session.execute(
            delete(OwnSupport).where(OwnSupport.source == source).returning(OwnSupport.entry_id)
        ).scalars()
    )
    session.execute(
        delete(EntryOrigin).where(EntryOrigin.source == source, EntryOrigin.entry_id.in_(touched))
    )
    return retire_unsupported_own(session)


def _alone(session: Session) -> None:
    """Waits until nobody else writes to the own bank, until the transaction ends; before the first read."""
    locks.take(session, "own")


def _roots(session: Session, origins: set[int], entry_id: int) -> tuple[bool, set[int]]:
    """Whether a decision with these origins stands by itself, and the entries of other banks behind it."""
    if not origins:
        return True, set()
    rows = session.execute(select(BankEntry.id, BankEntry.bank).where(BankEntry.id.in_(origins))).all()
    own = {row.id for row in rows if row.bank == OWN_BANK}
    roots = {row.id for row in rows if row.bank != OWN_BANK}
    if own:
        roots |= set(
            session.execute(
                select(EntryOrigin.origin_entry_id).where(EntryOrigin.entry_id.in_(own))
            ).scalars()
        )
    standing = bool(own) and bool(
        session.scalar(select(exists().where(OwnSupport.entry_id.in_(own), OwnSupport.standing)))
    )
    if not roots and not standing:
        # What led here has lost its own support meanwhile: rest on it, so that this is withdrawn as well.
        roots = own - {entry_id}
    return standing, roots


def _supported() -> ColumnElement[bool]:
    """SQL: some decision under this own entry stands by itself or has a live origin in another bank."""
    origin = aliased(BankEntry)
    return or_(
        exists().where(OwnSupport.entry_id == BankEntry.id, OwnSupport.standing).correlate(BankEntry),
        select(EntryOrigin.entry_id)
        .join(origin, origin.id == EntryOrigin.origin_entry_id)
        .where(EntryOrigin.entry_id == BankEntry.id, origin.live)
        .correlate(BankEntry)
        .exists(),
    )
