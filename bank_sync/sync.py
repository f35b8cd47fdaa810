"""One pull of a bank: pages into entries, page by page, and the checkpoint only when the cursor is drained.

A sync may be killed at any point: pages taken stay taken, a page taken twice changes nothing, and the next sync
goes on inside the cursor or begins it afresh. Nothing a bank has not been seen to withdraw is withdrawn, and
nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from bank_sync import locks
from bank_sync.bank import BankCheckpoint, BankEntry, Changes, note_keys, upsert, withdraw_unseen
from bank_sync.compaction import Compaction
from bank_sync.epoch import Published, publish_if_changed
from bank_sync.exchanges import open_exchange
from bank_sync.exchanges.protocol import (
    Exchange,
    ExchangeError,
    MalformedAnswerError,
    Page,
    TokenRejectedError,
)
from bank_sync.own_bank import retire_unsupported_own
from bank_sync.progress import Progress, silent
from bank_sync.rejects import record_rejects
from bank_sync.replica import Replica
from bank_sync.staging import RecordsRefusedError, refused_records
from config.database import Sessions, database_errors
from config.errors import HashwardenError
from config.policy import BankSettings
from config.settings import Settings

STALE_AFTER = timedelta(days=30)
"""python-threatexchange's rule for StopNCII: after this long without a drained sync, tombstones may be lost
for good, so everything is read again and what is not shown any more is withdrawn."""

TOKEN_LIFE = timedelta(hours=1)
"""How long a page token is trusted; how long it lasts is not documented."""

MAX_RESTARTS = 3
"""Times a run begins a cursor afresh because its token was refused."""

DRAINED = "drained"
ALREADY_RUNNING = "already_running"
NOTHING_TO_SYNC = "nothing_to_sync"

log = structlog.get_logger()


class UnknownBankError(HashwardenError):
    """No bank of this name is in the settings."""

    code = "unknown_bank"


@dataclass(slots=True)
class SyncReport:
    """What one pull did. `status` is drained, already_running or nothing_to_sync; counts are of records."""

    bank: str
    status: str = DRAINED
    resumed: bool = False
    full: bool = False
    pages: int = 0
    changes: Changes = field(default_factory=Changes)
    orphans_withdrawn: int = 0
    own_withdrawn: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    """Records kept as rejects, by reason."""


@dataclass(frozen=True, slots=True)
class SyncRun:
    """What a sync of several banks did: one report or one error a bank, and the epoch in force after it."""

    reports: Sequence[SyncReport]
    failed: Sequence[tuple[str, HashwardenError]]
    epoch: Published


@dataclass(slots=True)
class _Cursor:
    start: int
    token: str | None
    next_start: int
    generation: int
    full: bool
    version: str


def sync_banks(
    sessions: Sessions,
    settings: Settings,
    names: Iterable[str] | None = None,
    *,
    progress: Progress = silent,
) -> SyncRun:
    """Pulls these banks (all that are on, without names) and publishes an epoch if anything changed.

    A bank that fails does not keep the others from being pulled, nor what was taken from being published.
    Raises HashwardenError only for what concerns all: the database or the epochs' folder.
    """
    wanted = list(names) if names is not None else enabled_banks(settings)
    for name in wanted:
        if name not in settings.banks:
            raise UnknownBankError(
                f"There is no bank {name}.", next_step=f"Banks in the settings: {', '.join(settings.banks)}."
            )
    reports: list[SyncReport] = []
    failed: list[tuple[str, HashwardenError]] = []
    for name in wanted:
        try:
            reports.append(sync_bank(sessions, name, settings.banks[name], progress=progress))
        except (ExchangeError, RecordsRefusedError) as error:
            log.error("bank_sync_failed", bank=name, code=error.code)
            failed.append((name, error))
    with database_errors(), sessions.begin() as session:
        epoch = publish_changes(session, settings)
    return SyncRun(reports, failed, epoch)


def enabled_banks(settings: Settings) -> list[str]:
    """Names of the banks that are synced and match."""
    return [name for name, bank in settings.banks.items() if bank.enabled]


def publish_changes(session: Session, settings: Settings) -> Published:
    """Publishes the banks, if anything changed, as the settings say. See `publish_if_changed`."""
    return publish_if_changed(
        session,
        settings.epochs_dir,
        keep=settings.index.keep,
        buckets=settings.index.engine == "auto",
        replica=replica_of(settings),
    )


def compaction_of(sessions: Sessions, settings: Settings) -> Compaction:
    """Compaction of the published epochs, as the settings say."""
    return Compaction(
        sessions,
        settings.epochs_dir,
        after=settings.index.compact_after,
        keep=settings.index.keep,
        buckets=settings.index.engine == "auto",
        replica=replica_of(settings),
    )


def replica_of(settings: Settings) -> Replica | None:
    """Where all hosts share the epochs; None where they share a folder."""
    if not settings.index.publish_to:
        return None
    return Replica(settings.index.publish_to, settings.storage)


def sync_bank(
    sessions: Sessions,
    name: str,
    bank: BankSettings,
    *,
    exchange: Exchange | None = None,
    progress: Progress = silent,
) -> SyncReport:
    """Pulls one bank until it is drained, committing page by page; publishes nothing.

    At most one sync of a bank runs at a time: a second one reports already_running at once. Raises ExchangeError
    or RecordsRefusedError, whose code the bank's checkpoint then keeps as `last_error`, and DatabaseError.
    """
    if bank.exchange == "own" or not bank.enabled:
        return SyncReport(name, NOTHING_TO_SYNC)
    with (
        database_errors(),
        closing(exchange or open_exchange(name, bank)) as source,
        locks.held(sessions.kw["bind"], f"sync:{name}") as mine,
    ):
        if not mine:
            return SyncReport(name, ALREADY_RUNNING)
        report = SyncReport(name)
        try:
            with refused_records():
                _pull(sessions, name, source, report, progress)
            with sessions.begin() as session:
                note_keys(session, name, ("subscription_key", "fetch_key"), source.second_keys)
        except (ExchangeError, RecordsRefusedError) as error:
            with sessions.begin() as session:
                _checkpoint(session, name, source).last_error = error.code
            raise
        finally:
            # Also after a failure: pages that were taken may have withdrawn what own entries rest on.
            with sessions.begin() as session:
                report.own_withdrawn = len(retire_unsupported_own(session))
        log.info(
            "bank_synced",
            bank=name,
            pages=report.pages,
            new=report.changes.new,
            changed=report.changes.changed,
            withdrawn=report.changes.withdrawn + report.orphans_withdrawn,
            rejected=sum(report.rejected.values()),
        )
        if report.changes.unknown_status:
            log.warning("bank_unknown_status", bank=name, records=report.changes.unknown_status)
        return report


def _pull(sessions: Sessions, name: str, source: Exchange, report: SyncReport, progress: Progress) -> None:
    seen = 0
    for restart in range(MAX_RESTARTS + 1):
        # Told before the reading: what changes meanwhile is another version.
        version = source.version()
        with sessions.begin() as session:
            if _is_drained(session, name, source, version):
                return
            cursor = _begin(session, name, source, version)
        report.resumed = report.resumed or cursor.token is not None
        report.full = cursor.full
        try:
            for page in source.fetch(cursor.start, cursor.token):
                with sessions.begin() as session:
                    _take(session, name, source, cursor, page, report)
                seen += len(page.records) + len(page.rejects)
                progress(name, seen if page.done is None else page.done, page.total)
            return
        except TokenRejectedError:
            with sessions.begin() as session:
                _close_cursor(_checkpoint(session, name, source))
            if restart == MAX_RESTARTS:
                raise


def _is_drained(session: Session, name: str, source: Exchange, version: str) -> bool:
    """Whether exactly this was read to its end before: then there is nothing to read, and that is known as of now."""
    row = _checkpoint(session, name, source)
    if not version or row.drained_version != version or row.full_sync or row.cursor_token is not None:
        return False
    row.attempted_at = row.drained_at = session.execute(select(func.now())).scalar_one()
    row.last_error = None
    return True


def _begin(session: Session, name: str, source: Exchange, version: str) -> _Cursor:
    """Where this run goes on or begins."""
    row = _checkpoint(session, name, source)
    now: datetime = session.execute(select(func.now())).scalar_one()
    row.attempted_at = now
    stale = row.drained_at is not None and row.drained_at < now - STALE_AFTER
    if stale and not row.full_sync:
        row.full_sync = True
        _close_cursor(row)
    if (
        row.cursor_token is not None
        and row.cursor_start is not None
        and row.cursor_issued_at is not None
        and row.cursor_issued_at > now - TOKEN_LIFE
    ):
        return _Cursor(
            row.cursor_start, row.cursor_token, row.cursor_next_start, row.generation, row.full_sync, version
        )
    if source.snapshot or row.full_sync:
        # Only what one reading from beginning to end shows counts as shown: what was withdrawn since an earlier one
        # was broken off is shown no more.
        row.generation += 1
        row.full_sync = True
    _close_cursor(row)
    start = source.first_start if row.full_sync else max(source.first_start, row.next_start - source.overlap)
    return _Cursor(start, None, 0, row.generation, row.full_sync, version)


def _take(
    session: Session, name: str, source: Exchange, cursor: _Cursor, page: Page, report: SyncReport
) -> None:
    """One page and its place in the cursor, in one transaction."""
    changes = upsert(session, name, page.records, generation=cursor.generation)
    record_rejects(session, name, page.rejects)
    row = _checkpoint(session, name, source)
    row.records_seen += len(page.records) + len(page.rejects)
    cursor.next_start = max(cursor.next_start, page.next_start)
    if page.more:
        row.cursor_start = cursor.start
        row.cursor_token = page.token
        row.cursor_issued_at = session.execute(select(func.now())).scalar_one()
        row.cursor_next_start = cursor.next_start
    else:
        report.orphans_withdrawn = _drain(session, name, source, cursor, row)
    report.pages += 1
    report.changes += changes
    for reject in page.rejects:
        report.rejected[reject.reason] = report.rejected.get(reject.reason, 0) + 1


def _drain(session: Session, name: str, source: Exchange, cursor: _Cursor, row: BankCheckpoint) -> int:
    """The cursor's end: only now does the checkpoint move. How many orphans a full sync withdrew."""
    orphans = 0
    if cursor.full:
        entries = select(exists().where(BankEntry.bank == name, BankEntry.generation == cursor.generation))
        if not source.snapshot and not session.scalar(entries):
            live = select(exists().where(BankEntry.bank == name, BankEntry.live))
            if session.scalar(live):
                raise MalformedAnswerError(
                    f"The bank {name} shows no records at all, which would withdraw all of its entries.",
                    next_step="Nothing was withdrawn. Ask the bank; to stop its matches, set enabled = false.",
                )
        orphans = withdraw_unseen(session, name, cursor.generation)
    row.next_start = max(row.next_start, cursor.next_start)
    row.full_sync = False
    row.drained_version = cursor.version
    row.drained_at = session.execute(select(func.now())).scalar_one()
    row.last_error = None
    _close_cursor(row)
    return orphans


def _checkpoint(session: Session, name: str, source: Exchange) -> BankCheckpoint:
    row = session.get(BankCheckpoint, name)
    if row is None:
        row = BankCheckpoint(
            bank=name,
            next_start=source.first_start,
            cursor_next_start=0,
            generation=1,
            full_sync=True,
            records_seen=0,
        )
        session.add(row)
    return row


def _close_cursor(row: BankCheckpoint) -> None:
    row.cursor_start = None
    row.cursor_token = None
    row.cursor_issued_at = None
    row.cursor_next_start = 0
