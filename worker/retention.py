"""Deletes the rows of uploads that nothing came of: long after their object was last seen, or once it is deleted.

What goes is clear, overwritten or deleted, and its bytes have no match, review, decision, case or place in an open
hunt. With it go its history, and its content with its hashes in the ledger when no upload is left. Everything else
stays for good, which the database holds by a trigger as well.

Safe beside scans, decisions, events and sweeps, twice at once, and killed at any point: a slice of rows is one
transaction that takes the locks of contents before those of uploads and waits for none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from config.database import Base, Sessions
from worker.domain import State
from worker.store import ledger
from worker.store.hunts import RetroHit
from worker.store.minor_cases import MinorFile
from worker.store.models import (
    Content,
    DecisionRow,
    History,
    InboxReject,
    MatchRow,
    Review,
    Sweep,
    Upload,
    WebhookMessage,
)
from worker.store.retention_mark import RetentionMark

log = structlog.get_logger()

GOES = (State.CLEAR, State.GONE, State.SUPERSEDED)

SLICE = 2000
"""Rows that are looked at in one transaction."""
_SLICES = 100
"""Slices of one round; the next one goes on. 200,000 rows a minute are 288 million a day."""
PAUSE = timedelta(hours=1)
"""Between two walks: a small table is not read all the time."""


class Retention:
    """The rounds of one dispatcher."""

    def __init__(self, sessions: Sessions, days: int, buckets: Collection[str]) -> None:
        """`buckets` are those that sweeps list: there a row goes only after a whole sweep did not see its object."""
        self._sessions = sessions
        self._age = timedelta(days=days)
        self._buckets = tuple(buckets)

    def round(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Deletes what is told to be deleted and walks on; returns how many uploads went."""
        gone = 0
        for step in (self._deleted, self._walk, self._webhooks, self._rejects):
            for _ in range(_SLICES):
                if stopped():
                    return gone
                found = step()
                if found is None:
                    break
                gone += found
        if gone:
            log.info("retention", deleted=gone)
        return gone

    def _deleted(self) -> int | None:
        """Uploads whose object was deleted and an event told so; None when there are none left."""
        with self._sessions.begin() as session:
            ids = session.scalars(
                select(Upload.id)
                .where(Upload.deleted_at.is_not(None), _may_go())
                .order_by(Upload.id)
                .limit(SLICE)
            ).all()
            # None of them can be had now: somebody works on each.
            return _forget(session, ids, Upload.deleted_at.is_not(None)) or None

    def _walk(self) -> int | None:
        """The next slice of all uploads, by id: an index by last sighting would be written anew by every sweep."""
        with self._sessions.begin() as session:
            mark = session.get(RetentionMark, 1, with_for_update={"skip_locked": True})
            if mark is None or (mark.after == 0 and not _rested(session)):
                return None
            slice_ = select(Upload.id).where(Upload.id > mark.after).order_by(Upload.id).limit(SLICE)
            last = session.scalar(select(func.max(slice_.subquery().c.id)))
            if last is None:
                mark.after, mark.oldest_left, mark.oldest = 0, mark.oldest, None
                mark.finished_at = func.clock_timestamp()
                return None
            here = and_(Upload.id > mark.after, Upload.id <= last)
            ids = session.scalars(select(Upload.id).where(here, _may_go(), self._old())).all()
            gone = _forget(session, ids, self._old())
            left = session.scalar(select(func.min(Upload.last_seen_at)).where(here, _may_go()))
            mark.oldest = min((at for at in (mark.oldest, left) if at is not None), default=None)
            mark.after = last
            return gone

    def _old(self) -> ColumnElement[bool]:
        unseen = Upload.last_seen_at < func.clock_timestamp() - self._age
        unlisted = exists().where(
            Sweep.bucket == Upload.bucket,
            Sweep.kind == "full",
            Sweep.bucket.in_(self._buckets),
            or_(Sweep.whole_from.is_(None), Sweep.whole_from <= Upload.last_seen_at),
        )
        return and_(unseen, ~unlisted)

    def _webhooks(self) -> int | None:
        """Messages of clear uploads that arrived that long ago: they name the object too."""
        clear = WebhookMessage.type == "scan.completed"
        return self._aged(WebhookMessage, WebhookMessage.id, WebhookMessage.delivered_at, clear)

    def _rejects(self) -> int | None:
        """Event messages that were not understood that long ago: they name objects that nobody may know any more."""
        return self._aged(InboxReject, InboxReject.id, InboxReject.at)

    def _aged(
        self,
        table: type[Base],
        id_: InstrumentedAttribute[int],
        at: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
        *which: ColumnElement[bool],
    ) -> int | None:
        with self._sessions.begin() as session:
            old = select(id_).where(at < func.clock_timestamp() - self._age, *which).order_by(at).limit(SLICE)
            done = session.execute(
                delete(table).where(id_.in_(old.with_for_update(skip_locked=True))).returning(id_)
            ).all()
        return 0 if done else None


def _rested(session: Session) -> bool:
    rested = or_(
        RetentionMark.finished_at.is_(None), RetentionMark.finished_at < func.clock_timestamp() - PAUSE
    )
    return bool(session.scalar(select(rested)))


def _may_go() -> ColumnElement[bool]:
    """Nothing came of it, nothing is in progress, and nothing that stays names it."""
    kept_by = (
        exists().where(row.content_id == Upload.content_id)
        for row in (Review, DecisionRow, MatchRow, RetroHit)
    )
    return and_(
        Upload.state.in_(GOES),
        Upload.access_due_at.is_(None),
        Upload.purge_at.is_(None),
        ~or_(*kept_by),
        ~exists().where(MinorFile.upload_id == Upload.id),
    )


def _forget(session: Session, ids: Collection[int], still: ColumnElement[bool]) -> int:
    """Deletes those of these uploads that still may go and that nobody has locked; returns how many."""
    if not ids:
        return 0
    contents = session.scalars(
        select(Content)
        .where(Content.id.in_(select(Upload.content_id).where(Upload.id.in_(ids))))
        .order_by(Content.id)
        .with_for_update(skip_locked=True)
    ).all()
    # Looked at again under the locks: a decision, a match or a sighting may have come meanwhile.
    going = session.scalars(
        select(Upload.id)
        .where(
            Upload.id.in_(ids),
            or_(Upload.content_id.is_(None), Upload.content_id.in_([content.id for content in contents])),
            _may_go(),
            still,
        )
        .order_by(Upload.id)
        .with_for_update(skip_locked=True, of=Upload)
    ).all()
    _delete(session, Upload, Upload.id.in_(going))
    _delete(session, History, History.upload_id.in_(going))
    used = set(
        session.scalars(
            select(Upload.content_id).where(Upload.content_id.in_([content.id for content in contents]))
        )
    )
    unused = [content for content in contents if content.id not in used]
    ledger.forget_contents(session, unused)
    _delete(session, Content, Content.id.in_([content.id for content in unused]))
    session.execute(update(RetentionMark).values(deleted=RetentionMark.deleted + len(going)))
    return len(going)


def _delete(session: Session, table: type[Base], which: ColumnElement[bool]) -> None:
    session.execute(delete(table).where(which), execution_options={"synchronize_session": False})
