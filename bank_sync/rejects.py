"""Records that a bank sent and nobody could take: kept for a person to look at, never dropped silently."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from bank_sync.bank import BankReject, Reject

MAX_REJECT_CHARS = 4000
MAX_REJECTS = 10_000
"""How many raw rejected records a bank keeps; further ones are counted under one row without a record."""


def record_rejects(session: Session, bank: str, rejects: Sequence[Reject]) -> None:
    """Keeps records that can't be taken for a person to look at; the same one again only counts."""
    if not rejects:
        return
    kept = session.scalar(select(func.count()).select_from(BankReject).where(BankReject.bank == bank)) or 0
    rows: dict[tuple[str, bytes], dict[str, Any]] = {}
    for reject in rejects:
        key = hashlib.sha256(reject.record.encode("utf-8", "replace")).digest()
        record: str | None = reject.record[:MAX_REJECT_CHARS].replace("\x00", "\ufffd")
        if kept + len(rows) >= MAX_REJECTS:
            key, record = b"", None
        row = rows.setdefault(
            (reject.reason, key),
            {"bank": bank, "reason": reject.reason, "record_key": key, "record": record, "seen": 0},
        )
        row["seen"] += 1
    statement = insert(BankReject).values(list(rows.values()))
    session.execute(
        statement.on_conflict_do_update(
            constraint="uq_bank_rejects_record",
            set_={"seen": BankReject.seen + statement.excluded.seen, "last_at": func.now()},
        )
    )
