"""The ledger: perceptual hashes of cleared uploads, kept some days, so that the past can be searched for new hashes.

Hashes are intimate data: they are written, read back for a hunt and deleted here, and go nowhere else. One set of rows
a content, in the partition of the day on which it was last cleared; a partition is dropped whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import (
    BigInteger,
    Date,
    LargeBinary,
    SmallInteger,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import INTEGER, REAL
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, Session, mapped_column

from bank_sync import locks
from bank_sync.bank import TransactionId
from bank_sync.loaded import MIN_FRAME_QUALITY
from bank_sync.signals import PDQ
from config.database import Base, Sessions
from worker.domain import PURGED, HashedMedia, Kind, ViewHash
from worker.store.models import Content, Upload

log = structlog.get_logger()

_PREFIX = "ledger_"
_AHEAD = 2
"""Days whose partitions are made before they begin; one that is missing all the same is made by the first row."""
_LOCK_WAIT = "2s"
"""How long dropping a partition may make other writers wait behind it; the next round tries again."""


class LedgerRow(Base):
    """One hash of one cleared content: of a picture as it is, or of one frame a second of a video."""

    __tablename__ = "ledger"
    __table_args__ = ({"postgresql_partition_by": "RANGE (day)"},)

    day: Mapped[date] = mapped_column(primary_key=True)
    """By UTC: the day on which it was last cleared."""
    content_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    part: Mapped[int] = mapped_column(INTEGER, primary_key=True)
    """0, 1, ... within the content."""
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    quality: Mapped[int] = mapped_column(SmallInteger)
    frame_time: Mapped[float | None] = mapped_column(REAL)
    index_epoch: Mapped[int] = mapped_column(BigInteger)
    """The epoch whose content it was compared with when it was cleared: that rolled back to, not the roll-back; 0 when
    that tells nothing of the hunts since."""
    added_in: Mapped[str] = mapped_column(TransactionId, server_default=func.pg_current_xact_id(), index=True)


@dataclass(frozen=True, slots=True)
class Partition:
    """One day of the ledger and the table that holds it."""

    day: date
    table: str


def worth_keeping(media: HashedMedia) -> tuple[ViewHash, ...]:
    """What the ledger holds of a content: a picture as it is, of a film one good frame a second.

    The frames are those that vPDQ selects; a bank's video has one a second as well.
    """
    frames = tuple(each for each in media.vpdq if each.quality >= MIN_FRAME_QUALITY)
    if media.kind is Kind.VIDEO:
        return frames
    stills = tuple(each for each in media.originals if each.frame_time is None or not media.vpdq)
    return stills + frames


def keep(session: Session, content: Content, media: HashedMedia, index_epoch: int) -> None:
    """Puts a cleared content into the ledger of today, in place of what an earlier day holds of it.

    The caller has locked the content and commits.
    """
    _put(session, content, worth_keeping(media), index_epoch)


def _put(session: Session, content: Content, kept: tuple[ViewHash, ...], index_epoch: int) -> None:
    today = _today(session)
    forget(session, content)
    if not kept:
        return
    if not _is_made(session, today):
        make_partitions(session, [today])
    session.execute(
        insert(LedgerRow),
        [
            {
                "day": today,
                "content_id": content.id,
                "part": part,
                "hash": each.hash,
                "quality": each.quality,
                "frame_time": each.frame_time,
                "index_epoch": index_epoch,
            }
            for part, each in enumerate(kept)
        ],
    )
    content.ledger_day = today


def hashes_of(session: Session, content: Content) -> tuple[ViewHash, ...]:
    """What the ledger holds of a content now, in the order of its frames."""
    if content.ledger_day is None:
        return ()
    rows = session.execute(
        select(LedgerRow.hash, LedgerRow.quality, LedgerRow.frame_time)
        .where(LedgerRow.day == content.ledger_day, LedgerRow.content_id == content.id)
        .order_by(LedgerRow.part)
    )
    return tuple(ViewHash(row.hash, row.quality, "", row.frame_time) for row in rows)


def forget(session: Session, content: Content) -> bool:
    """Deletes what the ledger holds of a locked content; False when that is nothing."""
    found = _delete(session, content)
    content.ledger_day = None
    return found


def forget_contents(session: Session, contents: Iterable[Content]) -> None:
    """Deletes what the ledger holds of locked contents that are deleted with it."""
    of_day: dict[date, list[int]] = {}
    for content in contents:
        if content.ledger_day is not None:
            of_day.setdefault(content.ledger_day, []).append(content.id)
    for day, ids in of_day.items():
        session.execute(delete(LedgerRow).where(LedgerRow.day == day, LedgerRow.content_id.in_(ids)))


def keep_fingerprint(session: Session, content: Content) -> None:
    """Puts a content into the ledger that matched first and was cleared by a withdrawal: by what its review kept.

    No hunt has seen it, so it counts as compared with nothing. The caller has locked the content and commits.
    """
    found = tuple(
        ViewHash(bytes.fromhex(each["hash"]), each["quality"], "", each["time"])
        for each in content.fingerprint or []
        if each["signal_type"] == PDQ or each["quality"] >= MIN_FRAME_QUALITY
    )
    _put(session, content, found, 0)


def forget_all(sessions: Sessions, *, tries: int = 30) -> None:
    """Empties the ledger, a day at a time; the contents' marks of a day that is empty mean nothing.

    A hunt that reads a day keeps its table: whoever wants to write waits a moment at most, and this tries again.
    Raises OperationalError when a table can't be had.
    """
    with sessions() as session:
        days = partitions(session)
    for partition in days:
        for attempt in range(1, tries + 1):
            try:
                _drop(sessions, partition)
            except OperationalError:
                if attempt == tries:
                    raise
            else:
                break


def forget_deleted(session: Session, content_id: int) -> None:
    """Deletes what the ledger holds of a content all of whose uploads are deleted, by somebody or by a removal.

    Takes no lock of the content: a scan of the same bytes that ends meanwhile puts rows of its own in after this.
    """
    day = session.scalar(select(Content.ledger_day).where(Content.id == content_id))
    if day is None:
        return
    session.flush()
    there = exists().where(
        Upload.content_id == content_id,
        Upload.deleted_at.is_(None),
        Upload.access_applied != PURGED,
    )
    session.execute(delete(LedgerRow).where(LedgerRow.day == day, LedgerRow.content_id == content_id, ~there))


def maintain(sessions: Sessions, days: int, *, enabled: bool) -> None:
    """Makes the partitions of the next days and drops those older than `days`; safe to run twice at once.

    A ledger that is off gets no new partitions; what it holds still ages.
    """
    with sessions.begin() as session:
        today = _today(session)
        if enabled:
            make_partitions(session, [today + timedelta(days=ahead) for ahead in range(_AHEAD + 1)])
        old = [each for each in partitions(session) if each.day < today - timedelta(days=days)]
    for partition in old:
        try:
            _drop(sessions, partition)
        except OperationalError:
            log.info("ledger_drop_later", day=partition.day.isoformat())
        else:
            log.info("ledger_dropped", day=partition.day.isoformat())


def _drop(sessions: Sessions, partition: Partition) -> None:
    with sessions.begin() as session:
        session.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"))
        session.execute(text(f'DROP TABLE IF EXISTS "{partition.table}"'))


def make_partitions(session: Session, days: Iterable[date]) -> None:
    """Makes the partitions of these days where they are missing; the caller commits."""
    missing = [day for day in days if not _is_made(session, day)]
    if not missing:
        return
    locks.take(session, "ledger")
    for day in missing:
        if _is_made(session, day):
            continue
        name = _table(day)
        # Attached rather than made in place: that lets rows of other days in meanwhile.
        session.execute(
            text(
                f'CREATE TABLE "{name}" (LIKE ledger INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING INDEXES)'
            )
        )
        session.execute(
            text(
                f'ALTER TABLE ledger ATTACH PARTITION "{name}" '
                f"FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + timedelta(days=1)).isoformat()}')"
            )
        )


def partitions(session: Session) -> list[Partition]:
    """The days that the ledger has, the oldest first."""
    names = session.scalars(
        text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = 'ledger'::regclass ORDER BY relname"
        )
    )
    return [Partition(datetime.strptime(name, f"{_PREFIX}%Y%m%d").date(), name) for name in names]  # noqa: DTZ007


def estimated_rows(session: Session) -> int:
    """About how many rows it has, as the database's own statistics say; counting would read all of them."""
    found = session.scalar(
        text(
            "SELECT coalesce(sum(pg_stat_get_live_tuples(inhrelid)), 0) FROM pg_inherits "
            "WHERE inhparent = 'ledger'::regclass"
        )
    )
    return int(found or 0)


def _delete(session: Session, content: Content) -> bool:
    if content.ledger_day is None:
        return False
    done = session.execute(
        delete(LedgerRow)
        .where(LedgerRow.day == content.ledger_day, LedgerRow.content_id == content.id)
        .returning(LedgerRow.part)
    )
    return bool(done.all())


def _today(session: Session) -> date:
    return session.scalars(select(cast(func.timezone("UTC", func.clock_timestamp()), Date))).one()


def _table(day: date) -> str:
    return f"{_PREFIX}{day:%Y%m%d}"


def _is_made(session: Session, day: date) -> bool:
    return session.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": _table(day)}) is True
