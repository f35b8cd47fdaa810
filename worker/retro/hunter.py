"""Searches the past: one round takes up what banks changed since the last one, and brings every open hunt forward.

A hunt collects what came near, checks how much it would move, and acts, or waits for a person. Each step is committed
where it stands, so whoever kills the process costs time and nothing else. One hunter works at a time.

Nothing falls between a scan and a hunt. A scan compares with the epoch at its begin and writes its row into the ledger
at its end, perhaps after the hunt has read that day. Each round therefore judges again what the ledger got since the
last round and was compared with an epoch older than that of the newest hunt (`late`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from bank_sync import locks
from bank_sync.bank import BankEntry
from bank_sync.sync import enabled_banks
from config.database import Sessions
from config.settings import Settings
from worker.retro.collect import Stopping, collect
from worker.retro.entries import Span, count_changed
from worker.retro.force import Force, InForce
from worker.retro.judge import MOVABLE, act, few, judge, served
from worker.retro.late import LateRows
from worker.retro.mark import holds_all_hunted, mark_at
from worker.retro.stream import BLOCK
from worker.store import ledger
from worker.store.hunts import (
    ACTIVE,
    HuntState,
    RetroHit,
    RetroHunt,
    count_moved,
    finish,
    moved_lately,
)
from worker.store.models import Content, Upload

log = structlog.get_logger()

FLOOR = 50
"""Uploads that hunts may always move in 24 hours: a share of a small ledger is no sign of anything."""

_BATCH = 500
_EARLY = 1000
"""Pairs after which a hunt that is still collecting is checked for the first time; then at twice as many each time."""


class Round(StrEnum):
    """How a round ended."""

    DONE = "done"
    STOPPED = "stopped"
    BUSY = "busy"
    """Another hunter is at it."""
    OFF = "off"


class Hunter:
    """Runs rounds; made once a process. Not for several threads."""

    def __init__(self, settings: Settings, sessions: Sessions, *, rows: int = BLOCK) -> None:
        """`rows` of the ledger are read at a time."""
        self._settings = settings
        self._sessions = sessions
        self._rows = rows
        self._in_force = InForce(settings.epochs_dir)
        self._late = LateRows(settings, sessions, self._in_force)

    def round(self, stopping: Stopping = lambda: False) -> Round:
        """Does everything that is due, up to where it is told to stop. Raises EpochError without an epoch."""
        if not self._settings.ledger.enabled:
            return Round.OFF
        with locks.held(self._sessions.kw["bind"], "retro") as mine:
            if not mine:
                return Round.BUSY
            if not self._late.judge(stopping):
                return Round.STOPPED
            self._open_hunt(self._in_force.look())
            with self._sessions() as session:
                # Late rows first: they are few, and a long hunt keeps nobody waiting.
                query = select(RetroHunt.id).where(RetroHunt.state.in_(ACTIVE))
                hunts = session.scalars(query.order_by(RetroHunt.late.desc(), RetroHunt.id)).all()
            for hunt_id in hunts:
                if not self._hunt(hunt_id, stopping):
                    return Round.STOPPED
            return Round.DONE

    def _open_hunt(self, force: Force) -> None:
        with self._sessions.begin() as session:
            mark = mark_at(session, force)
            # What was hunted stays hunted, also while a roll-back or a host that is behind shows less of it.
            if mark.snapshot == force.snapshot or not holds_all_hunted(session, force, mark):
                return
            span = Span(mark.snapshot, force.snapshot)
            entries = count_changed(session, span, enabled_banks(self._settings))
            if entries:
                session.add(
                    RetroHunt(
                        state=HuntState.COLLECTING,
                        epoch=force.number,
                        from_snapshot=span.before,
                        to_snapshot=span.until,
                        entries=entries,
                    )
                )
                mark.epoch = force.number
            mark.snapshot = force.snapshot
            mark.confirmed_at = force.confirmed_at

    def _hunt(self, hunt_id: int, stopping: Stopping) -> bool:
        """Brings one hunt as far as it goes without a person; False when it was told to stop."""
        with self._sessions() as session:
            hunt = session.get_one(RetroHunt, hunt_id)
        if hunt.state == HuntState.COLLECTING:
            if not hunt.whole and not self._collect(hunt, stopping):
                return False
            if not self._check(hunt_id, stopping):
                return False
        return self._act(hunt_id, stopping)

    def _collect(self, hunt: RetroHunt, stopping: Stopping) -> bool:
        def between() -> bool:
            # A hunt of many passes takes hours: scans that end meanwhile are looked at between them.
            return self._late.judge(stopping) and self._hunt_late(stopping)

        return collect(
            self._sessions,
            self._settings,
            hunt.id,
            stopping,
            rows=self._rows,
            between=between,
            too_much=lambda: not hunt.decided_by and self._is_too_much(hunt.id, stopping),
            check_at=_EARLY,
        )

    def _hunt_late(self, stopping: Stopping) -> bool:
        with self._sessions() as session:
            late = session.scalars(
                select(RetroHunt.id).where(RetroHunt.state.in_(ACTIVE), RetroHunt.late).order_by(RetroHunt.id)
            ).all()
        return all(self._hunt(hunt_id, stopping) for hunt_id in late)

    def _is_too_much(self, hunt_id: int, stopping: Stopping) -> bool:
        """Whether what is collected up to now is sure to stop the hunt, however much of the ledger is left to read."""
        with self._sessions() as session:
            read = session.get_one(RetroHunt, hunt_id).contents
            contents = max(read, _contents(session), ledger.estimated_rows(session))
        _, would, left = self._would_move(hunt_id, contents, stopping)
        return would > left

    def _check(self, hunt_id: int, stopping: Stopping) -> bool:
        """Ends collecting: lets the hunt act, or stops it where too many uploads would move."""
        with self._sessions() as session:
            hunt = session.get_one(RetroHunt, hunt_id)
            near = _by_bank(session, hunt_id)
            contents = _contents(session) if hunt.late else hunt.contents
        ended, would, left = self._would_move(hunt_id, contents, stopping)
        if not ended:
            return False
        with self._sessions.begin() as session:
            hunt = session.get_one(RetroHunt, hunt_id, with_for_update=True)
            if hunt.state != HuntState.COLLECTING:
                return True
            # Not whole: it was too much already before all was read.
            too_much = (would > left or not hunt.whole) and not hunt.decided_by
            hunt.counts = near
            hunt.would_move = would
            if hunt.whole:
                hunt.content_id = 0
            hunt.state = HuntState.STOPPED if too_much else HuntState.ACTING
        if too_much:
            log.error("retro_hunt_stopped", hunt=hunt_id, banks=sorted(near), would_move=would, left=left)
        return True

    def _would_move(self, hunt_id: int, contents: int, stopping: Stopping) -> tuple[bool, int, int]:
        """Whether it was counted, how many uploads would move, and how many may; counts until they are too many."""
        with self._sessions() as session:
            most = max(FLOOR, int(self._settings.policy.retro_most_share * contents))
            left = most - moved_lately(session)
            near = select(RetroHit.content_id).where(RetroHit.hunt_id == hunt_id)
            query = select(func.count()).select_from(Upload).where(Upload.content_id.in_(near), MOVABLE)
            number = session.scalars(query).one()
        if number <= left:
            return True, number, left
        would = 0
        for content_id, entry_ids in _near(self._sessions, hunt_id):
            if stopping():
                return False, would, left
            with self._sessions() as session:
                would += self._moves(session, content_id, entry_ids)
            if would > left:
                break
        return True, would, left

    def _moves(self, session: Session, content_id: int, entry_ids: list[int]) -> int:
        """How many uploads of a content would move; all of them when that can't be told."""
        number = served(session, content_id)
        try:
            content = session.get_one(Content, content_id)
            index = few(entry_ids, 0)(session)
            return number if number and judge(session, self._settings, content, index).acts else 0
        except (OperationalError, InterfaceError):
            raise
        except Exception as fault:  # noqa: BLE001 (one content must not end every round at the same place)
            log.error("retro_content_failed", content=content_id, fault=type(fault).__name__)
            return number

    def _act(self, hunt_id: int, stopping: Stopping) -> bool:
        with self._sessions() as session:
            hunt = session.get_one(RetroHunt, hunt_id)
        if hunt.state != HuntState.ACTING:
            return True
        for content_id, entry_ids in _near(self._sessions, hunt_id, after=hunt.content_id):
            more = True
            while more:
                if stopping():
                    return False
                going, more = self._act_on(hunt_id, content_id, entry_ids)
                if not going:
                    return True
        with self._sessions.begin() as session:
            row = session.get_one(RetroHunt, hunt_id, with_for_update=True)
            if row.state != HuntState.ACTING:
                return True
            finish(session, row, HuntState.DONE)
        log.info(
            "retro_hunt_done",
            hunt=hunt_id,
            entries=row.entries,
            contents=row.contents,
            moved=row.moved,
            failed=row.failed,
        )
        return True

    def _act_on(self, hunt_id: int, content_id: int, entry_ids: list[int]) -> tuple[bool, bool]:
        """One transaction on one content: whether the hunt goes on, and whether the content has more uploads."""
        try:
            with self._sessions.begin() as session:
                row = session.get_one(RetroHunt, hunt_id, with_for_update=True)
                if row.state != HuntState.ACTING:
                    # A person has rejected it.
                    return False, False
                acted = act(session, self._settings, content_id, few(entry_ids, row.epoch))
                row.moved += acted.moved
                if acted.moved and not row.decided_by:
                    count_moved(session, acted.moved)
                if not acted.more:
                    row.content_id = content_id
                return True, acted.more
        except (OperationalError, InterfaceError):
            raise
        except Exception as fault:  # noqa: BLE001 (one content must not end every round at the same place)
            log.error("retro_content_failed", hunt=hunt_id, content=content_id, fault=type(fault).__name__)
        with self._sessions.begin() as session:
            row = session.get_one(RetroHunt, hunt_id, with_for_update=True)
            row.content_id = content_id
            row.failed += 1
        return True, False


def _contents(session: Session) -> int:
    """How many contents the ledger had when a hunt last read all of it."""
    query = select(RetroHunt.contents).where(RetroHunt.whole, ~RetroHunt.late)
    return session.scalar(query.order_by(RetroHunt.id.desc()).limit(1)) or 0


def _by_bank(session: Session, hunt_id: int) -> dict[str, int]:
    """By bank, the contents that came near its entries."""
    rows = session.execute(
        select(BankEntry.bank, func.count(RetroHit.content_id.distinct()))
        .join(RetroHit, RetroHit.entry_id == BankEntry.id)
        .where(RetroHit.hunt_id == hunt_id)
        .group_by(BankEntry.bank)
    )
    return {row[0]: row[1] for row in rows}


def _near(sessions: Sessions, hunt_id: int, after: int = 0) -> Iterator[tuple[int, list[int]]]:
    """Each content over `after` that came near, in the order of their ids, with the entries it came near."""
    while True:
        with sessions() as session:
            rows = session.execute(
                select(RetroHit.content_id, func.array_agg(RetroHit.entry_id))
                .where(RetroHit.hunt_id == hunt_id, RetroHit.content_id > after)
                .group_by(RetroHit.content_id)
                .order_by(RetroHit.content_id)
                .limit(_BATCH)
            ).all()
        for row in rows:
            yield row[0], list(row[1])
        if len(rows) < _BATCH:
            return
        after = rows[-1][0]
