"""The audit log in the database: appends entries to the chain, and reads them back.

An entry is written in the transaction that does what it tells, as the last thing in it: the row of the head is
locked from then until the commit, so entries have one order. Details never hold a name, a hash, a key or a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from worker.review.audit_verify import FORMAT, ZERO, Head, Verdict, canonical, hash_of, verify
from worker.store.audit_log import AuditEntry, AuditHead

Detail = str | int | bool | None | list[str]
"""No floats: the database writes them in another way than Python does."""

Hides = Callable[[AuditEntry], bool]
"""Whether a reader may not see an entry."""

NOBODY = "nobody"
"""The actor where nobody is signed in."""

_BATCH = 1000


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    subject: tuple[str, object] = ("", ""),
    details: Mapping[str, Detail] | None = None,
) -> None:
    """Appends one entry to the log in the session's transaction.

    `actor`: a pseudonym, `operator:` and a name for the command line, `service:` and its name, or NOBODY.
    `subject`: kind and id.
    """
    head = session.scalars(
        select(AuditHead).with_for_update().execution_options(populate_existing=True)
    ).one()
    at = session.scalar(select(func.clock_timestamp()))
    assert at is not None  # noqa: S101 (a SELECT without FROM always answers one row)
    entry = AuditEntry(
        seq=head.seq + 1,
        at=at,
        actor=actor,
        action=action,
        subject_kind=subject[0],
        subject_id=str(subject[1]),
        details=dict(details or {}),
        previous=head.hash,
        hash=b"",
    )
    entry.hash = bytes.fromhex(hash_of(as_written(entry)))
    session.add(entry)
    head.seq, head.hash = entry.seq, entry.hash
    session.flush()


def as_written(entry: AuditEntry) -> dict[str, Any]:
    """The entry as it is hashed and exported: times in UTC to the microsecond, hashes in hex."""
    return {
        "seq": entry.seq,
        "at": _moment(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject_kind": entry.subject_kind,
        "subject_id": entry.subject_id,
        "details": entry.details,
        "previous": entry.previous.hex(),
        "hash": entry.hash.hex(),
    }


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entries(session: Session, hides: Hides | None = None) -> Generator[dict[str, Any], None, None]:
    """All entries from the first one on, without holding them in memory; as links of the chain where `hides` says."""
    query = select(AuditEntry).order_by(AuditEntry.seq).execution_options(yield_per=_BATCH)
    with closing(session.scalars(query)) as found:
        for entry in found:
            yield _link(entry) if hides is not None and hides(entry) else as_written(entry)
            session.expunge(entry)


def _link(entry: AuditEntry) -> dict[str, Any]:
    """What an export holds of an entry that its reader may not see."""
    whole = as_written(entry)
    return {name: whole[name] for name in ("seq", "previous", "hash")} | {"restricted": True}


def head_of(session: Session) -> Head:
    """Where the log says that it ends; a head that is gone is that of an empty log."""
    row = session.scalars(select(AuditHead)).one_or_none()
    return Head(0, ZERO) if row is None else Head(row.seq, row.hash.hex())


def snapshot(session: Session) -> None:
    """What the session reads from here on is of one moment; it must be fresh."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def verify_log(session: Session, noted: list[Head]) -> Verdict:
    """Walks the whole chain in one snapshot of the database; the session must be fresh."""
    snapshot(session)
    with closing(entries(session)) as found:
        return verify(found, head_of(session), noted)


def newest(session: Session, limit: int, *, before: int | None = None) -> list[AuditEntry]:
    """The newest entries first; of those under `before`, where it is given."""
    query = select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.seq < before)
    return list(session.scalars(query))


def exported(
    session: Session, hiding: Callable[[Session], Hides] | None = None
) -> Generator[str, None, None]:
    """The lines of an export: the entries of one moment, then their head; the session must be fresh.

    `hiding` answers which entries its reader may not see at that moment; without it all are whole.
    """
    snapshot(session)
    head = Head(0, ZERO)
    for entry in entries(session, hiding(session) if hiding is not None else None):
        yield canonical(entry) + "\n"
        head = Head(entry["seq"], entry["hash"])
    yield canonical({"format": FORMAT, "head": {"seq": head.seq, "hash": head.hash}}) + "\n"
