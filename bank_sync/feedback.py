"""Feedback to the banks: an outbox in the database, sent when due, tried until it is told or pointless.

Nothing is told of a withdrawn entry, and of an entry only the newest verdict. A crash after the bank's answer
and before the commit tells the same thing twice, which the bank takes as once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from bank_sync import locks
from bank_sync.bank import OWN_BANK, BankEntry, Feedback, note_keys
from bank_sync.exchanges import open_exchange
from bank_sync.exchanges.protocol import Exchange, ExchangeError, FeedbackItem, RequestRejectedError
from config.database import Sessions, database_errors
from config.policy import BankSettings

PENDING_REVIEW = "PendingReview"
BLOCKED = "Blocked"
NOT_BLOCKED = "NotBlocked"

_PENDING = "pending:"

RETRY_FIRST = 5.0
RETRY_MAX = 3600.0
"""Seconds before a failed item is tried again: from the first, doubled each time, to the last."""

log = structlog.get_logger()


@dataclass(slots=True)
class FeedbackCounts:
    """What one round did, in items."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0


def pending_key(entry_id: int) -> str:
    """The idempotency key of PendingReview: told once an entry."""
    return f"{_PENDING}{entry_id}"


def decision_key(decision_id: int | str, entry_id: int) -> str:
    """The idempotency key of what one decision says of one entry."""
    return f"decision:{decision_id}:{entry_id}"


def enqueue(
    session: Session,
    entry_id: int,
    value: str,
    key: str,
    *,
    banks: Mapping[str, BankSettings] | None = None,
) -> bool:
    """Puts one thing to tell into the outbox, once a key; whether it is new. Never commits.

    Entries of the own bank, withdrawn entries and, when `banks` is given, entries of banks that take no
    feedback are skipped; without `banks` the sender drops the latter with the reason.
    """
    row = session.execute(
        select(BankEntry.bank, BankEntry.live).where(BankEntry.id == entry_id)
    ).one_or_none()
    if row is None or not row.live or row.bank == OWN_BANK:
        return False
    if banks is not None and not _takes_feedback(banks.get(row.bank)):
        return False
    done = session.execute(
        insert(Feedback)
        .values(bank=row.bank, entry_id=entry_id, value=value, idempotency_key=key)
        .on_conflict_do_nothing(constraint="uq_feedback_outbox_key")
        .returning(Feedback.id)
    )
    return done.scalar_one_or_none() is not None


def send_due(sessions: Sessions, banks: Mapping[str, BankSettings], limit: int = 500) -> FeedbackCounts:
    """Sends what is due, a batch a bank; call it again and again. Raises DatabaseError, nothing else expected."""
    counts = FeedbackCounts()
    with database_errors():
        with sessions() as session:
            waiting = session.scalars(
                select(Feedback.bank).where(_due()).group_by(Feedback.bank).order_by(Feedback.bank)
            ).all()
        for name in waiting:
            try:
                with sessions.begin() as session:
                    # One sender a bank: two could tell an old verdict after a new one.
                    if locks.try_take(session, f"feedback:{name}"):
                        _send_bank(session, name, banks.get(name), limit, counts)
            except SQLAlchemyError:
                raise
            except Exception as fault:  # noqa: BLE001 (the other banks are told whatever is wrong with this one)
                log.error("feedback_bank_failed", bank=name, fault=type(fault).__name__)
    return counts


def _send_bank(
    session: Session, name: str, bank: BankSettings | None, limit: int, counts: FeedbackCounts
) -> None:
    rows = session.scalars(
        select(Feedback)
        .where(Feedback.bank == name, _due())
        .order_by(Feedback.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if bank is None or not _takes_feedback(bank):
        counts.dropped += _drop(rows, "bank_off")
        return
    entries = {
        row.id: row
        for row in session.execute(
            select(BankEntry.id, BankEntry.live, BankEntry.signal_type, BankEntry.signal).where(
                BankEntry.id.in_({row.entry_id for row in rows})
            )
        )
    }
    gone = [row for row in rows if row.entry_id not in entries or not entries[row.entry_id].live]
    counts.dropped += _drop(gone, "withdrawn")
    newest = _newest(session, {row.entry_id for row in rows})
    alive = [row for row in rows if row.dropped is None]
    counts.dropped += _drop([row for row in alive if newest[row.entry_id] != row.id], "superseded")
    due = [row for row in alive if row.dropped is None]
    if not due:
        return
    items = {
        row.id: FeedbackItem(entries[row.entry_id].signal_type, entries[row.entry_id].signal, row.value)
        for row in due
    }
    before = counts.sent
    with closing(open_exchange(name, bank)) as exchange:
        for at in range(0, len(due), max(exchange.max_feedback, 1)):
            _submit(session, exchange, due[at : at + max(exchange.max_feedback, 1)], items, counts)
        if counts.sent > before:
            note_keys(session, name, ("feedback_key",), exchange.second_keys)


def _newest(session: Session, entry_ids: set[int]) -> dict[int, int]:
    """The item that counts for each entry: the newest verdict or undo of one, sent or not, or else PendingReview.

    What was dropped was never told and takes nothing's place. A PendingReview by an undo takes the place of the
    verdict before it; that of a match never does.
    """
    rows = session.execute(
        select(Feedback.entry_id, Feedback.id)
        .where(Feedback.entry_id.in_(entry_ids), Feedback.dropped.is_(None))
        .order_by(~Feedback.idempotency_key.startswith(_PENDING), Feedback.id)
    )
    return {row.entry_id: row.id for row in rows}


def _submit(
    session: Session,
    exchange: Exchange,
    rows: Sequence[Feedback],
    items: Mapping[int, FeedbackItem],
    counts: FeedbackCounts,
) -> None:
    try:
        exchange.submit_feedback([items[row.id] for row in rows])
    except RequestRejectedError as error:
        if len(rows) == 1:
            _failed(session, rows, error, counts)
            return
        # One item the bank does not take must not hold up the others.
        for row in rows:
            _submit(session, exchange, [row], items, counts)
    except ExchangeError as error:
        _failed(session, rows, error, counts)
    else:
        for row in rows:
            row.attempts += 1
            row.last_error = None
        session.flush()
        session.execute(
            update(Feedback).where(Feedback.id.in_([row.id for row in rows])).values(sent_at=func.now())
        )
        counts.sent += len(rows)
        log.info("feedback_sent", bank=rows[0].bank, items=len(rows))


def _failed(session: Session, rows: Sequence[Feedback], error: ExchangeError, counts: FeedbackCounts) -> None:
    now = session.execute(select(func.now())).scalar_one()
    for row in rows:
        wait = max(min(RETRY_FIRST * 2.0 ** min(row.attempts, 20), RETRY_MAX), error.retry_after or 0.0)
        row.attempts += 1
        row.last_error = error.code
        row.next_attempt_at = now + timedelta(seconds=min(wait, RETRY_MAX))
    counts.failed += len(rows)
    log.warning("feedback_failed", bank=rows[0].bank, items=len(rows), code=error.code)


def _drop(rows: Sequence[Feedback], reason: str) -> int:
    for row in rows:
        row.dropped = reason
    return len(rows)


def _due() -> ColumnElement[bool]:
    return and_(
        Feedback.sent_at.is_(None), Feedback.dropped.is_(None), Feedback.next_attempt_at <= func.now()
    )


def _takes_feedback(bank: BankSettings | None) -> bool:
    return bank is not None and bank.enabled and bank.send_feedback and bank.exchange == "stopncii"


def take_back(session: Session, keys: Sequence[str], key: Callable[[int], str]) -> None:
    """What verdicts told, by their keys, is told no more: unsent it is dropped, sent it is replaced. Never commits.

    The replacement is what was to be told of the entry before, or PendingReview; `key` makes its idempotency key.
    """
    session.execute(
        update(Feedback)
        .where(Feedback.idempotency_key.in_(keys), Feedback.sent_at.is_(None), Feedback.dropped.is_(None))
        .values(dropped="undone")
    )
    told = session.scalars(
        select(Feedback)
        .where(Feedback.idempotency_key.in_(keys))
        .order_by(Feedback.entry_id)
        .execution_options(populate_existing=True)
    ).all()
    for row in told:
        before = session.scalar(
            select(Feedback)
            .where(
                Feedback.entry_id == row.entry_id,
                Feedback.id < row.id,
                or_(Feedback.dropped.is_(None), Feedback.dropped == "superseded"),
            )
            .order_by(Feedback.idempotency_key.startswith(_PENDING), Feedback.id.desc())
            .limit(1)
        )
        if row.sent_at is not None or (before is not None and before.dropped is not None):
            value = before.value if before is not None else PENDING_REVIEW
            enqueue(session, row.entry_id, value, key(row.entry_id))
