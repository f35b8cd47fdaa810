"""Searches the past: one round takes up what banks changed since the last one, and brings every open hunt forward.

A hunt collects what came near, checks how much it would move, and acts, or waits for a person. Each step is committed
where it stands, so whoever kills the process costs time and nothing else. One hunter works at a time.

Nothing falls between a scan and a hunt. A scan compares with the epoch at its begin and writes its row into the ledger
at its end, perhaps after the hunt has read that day. Each round therefore judges again what the ledger got since the
last round and was compared with an epoch older than that of the newest hunt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

import structlog
from sqlalchemy import Text, cast, func, select, text
from sqlalchemy.orm import Session

from bank_sync import locks
from bank_sync.bank import BankEntry
from bank_sync.epoch import EpochReader, read_pointer
from bank_sync.epoch_files import read_manifest
from bank_sync.sync import enabled_banks
from config.database import Sessions
from config.settings import Settings
from worker.domain import Effect
from worker.retro.collect import Stopping, collect
from worker.retro.entries import Span, count_changed
from worker.retro.judge import act, few, is_clear, judge
from worker.retro.stream import BLOCK
from worker.store.hunts import ACTIVE, HuntState, RetroHit, RetroHunt, RetroMark, finish
from worker.store.models import Content

log = structlog.get_logger()

FLOOR = 50
"""Contents that a hunt may always move: a share of a small ledger is no sign of anything."""

_EVERYTHING = "3:3:"
"""A pg_snapshot in which no transaction of ours is visible."""
_BATCH = 500


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
        # Asked anew each time: what is judged again must not meet an epoch older than the newest hunt's.
        self._epochs = EpochReader(settings.epochs_dir, poll_every=0.0)

    def round(self, stopping: Stopping = lambda: False) -> Round:
        """Does everything that is due, up to where it is told to stop. Raises EpochError without an epoch."""
        if not self._settings.ledger.enabled:
            return Round.OFF
        with locks.held(self._sessions.kw["bind"], "retro") as mine:
            if not mine:
                return Round.BUSY
            epoch, snapshot = self._in_force()
            if not self._judge_late_rows(epoch, snapshot, stopping):
                return Round.STOPPED
            self._open_hunt(epoch, snapshot)
            with self._sessions() as session:
                query = select(RetroHunt.id).where(RetroHunt.state.in_(ACTIVE)).order_by(RetroHunt.id)
                hunts = session.scalars(query).all()
            for hunt_id in hunts:
                if not self._hunt(hunt_id, stopping):
                    return Round.STOPPED
            return Round.DONE

    def _in_force(self) -> tuple[int, str]:
        """The epoch in force, and which changes of the banks it holds at least."""
        folder = self._settings.epochs_dir
        pointer = read_pointer(folder)
        manifest = read_manifest(folder, pointer.number, pointer.manifest_sha256)
        return pointer.number, manifest["snapshot"]

    def _judge_late_rows(self, epoch: int, snapshot: str, stopping: Stopping) -> bool:
        """Judges again what came into the ledger behind a hunt; False when it was told to stop."""
        with self._sessions.begin() as session:
            mark = session.get(RetroMark, 1)
            if mark is None:
                # First use: what is in the ledger already was compared with this epoch or is looked at next time.
                session.add(RetroMark(id=1, snapshot=snapshot, epoch=epoch, ledger_snapshot=_EVERYTHING))
                return True
            seen, hunted = mark.ledger_snapshot, mark.epoch
            now = session.scalars(select(cast(func.pg_current_snapshot(), Text))).one()
        with self._sessions() as session:
            late = session.scalars(_LATE, {"seen": seen, "hunted": hunted}).all()
        if late:
            index = self._epochs.current()
            for content_id in late:
                if stopping():
                    return False
                with self._sessions.begin() as session:
                    act(session, self._settings, content_id, lambda _: index)
            log.info("retro_judged_late", contents=len(late), epoch=index.number)
        with self._sessions.begin() as session:
            mark = session.get_one(RetroMark, 1, with_for_update=True)
            mark.ledger_snapshot = now
            mark.at = func.clock_timestamp()
        return True

    def _open_hunt(self, epoch: int, snapshot: str) -> None:
        with self._sessions.begin() as session:
            mark = session.get_one(RetroMark, 1, with_for_update=True)
            if mark.snapshot == snapshot:
                return
            span = Span(mark.snapshot, snapshot)
            entries = count_changed(session, span, enabled_banks(self._settings))
            if entries:
                session.add(
                    RetroHunt(
                        state=HuntState.COLLECTING,
                        epoch=epoch,
                        from_snapshot=span.before,
                        to_snapshot=span.until,
                        entries=entries,
                    )
                )
                mark.epoch = epoch
            mark.snapshot = snapshot

    def _hunt(self, hunt_id: int, stopping: Stopping) -> bool:
        """Brings one hunt as far as it goes without a person; False when it was told to stop."""
        with self._sessions() as session:
            state = session.get_one(RetroHunt, hunt_id).state
        if state == HuntState.COLLECTING:
            if not collect(self._sessions, self._settings, hunt_id, stopping, rows=self._rows):
                return False
            if not self._check_radius(hunt_id, stopping):
                return False
        return self._act(hunt_id, stopping)

    def _check_radius(self, hunt_id: int, stopping: Stopping) -> bool:
        """Ends collecting: lets the hunt act, or stops it where one bank would move too much."""
        with self._sessions.begin() as session:
            hunt = session.get_one(RetroHunt, hunt_id)
            near = _by_bank(session, hunt_id)
            most = max(FLOOR, int(self._settings.policy.retro_most_share * hunt.contents))
        banks = {bank for bank, number in near.items() if number > most}
        if banks:
            would = self._would_act(hunt_id, banks, most, stopping)
            if would is None:
                return False
            banks = {bank for bank, number in would.items() if number > most}
        with self._sessions.begin() as session:
            hunt = session.get_one(RetroHunt, hunt_id, with_for_update=True)
            hunt.counts = near
            hunt.content_id = 0
            hunt.state = HuntState.STOPPED if banks else HuntState.ACTING
        if banks:
            log.error(
                "retro_hunt_stopped", hunt=hunt_id, banks=sorted(banks), contents=hunt.contents, most=most
            )
        return True

    def _would_act(self, hunt_id: int, banks: set[str], most: int, stopping: Stopping) -> Counter[str] | None:
        """By bank, how many contents would be held or flagged; counts until one bank is over `most`. None: stopped."""
        counted: Counter[str] = Counter()
        for content_id, entry_ids in _near(self._sessions, hunt_id):
            if stopping():
                return None
            with self._sessions() as session:
                if not is_clear(session, content_id):
                    continue
                content = session.get_one(Content, content_id)
                index = few(entry_ids, 0)(session)
                judged = judge(session, self._settings, content, index)
            if judged.acts:
                counted.update(
                    {
                        match.bank
                        for match in judged.outcome.matches
                        if match.bank in banks and match.effect is not Effect.SHADOW
                    }
                )
            if any(number > most for number in counted.values()):
                break
        return counted

    def _act(self, hunt_id: int, stopping: Stopping) -> bool:
        with self._sessions() as session:
            hunt = session.get_one(RetroHunt, hunt_id)
        if hunt.state != HuntState.ACTING:
            return True
        for content_id, entry_ids in _near(self._sessions, hunt_id, after=hunt.content_id):
            if stopping():
                return False
            with self._sessions.begin() as session:
                moved = act(session, self._settings, content_id, few(entry_ids, hunt.epoch))
                row = session.get_one(RetroHunt, hunt_id, with_for_update=True)
                row.content_id = content_id
                row.moved += moved
        with self._sessions.begin() as session:
            row = session.get_one(RetroHunt, hunt_id, with_for_update=True)
            finish(session, row, HuntState.DONE)
        log.info("retro_hunt_done", hunt=hunt_id, entries=row.entries, contents=row.contents, moved=row.moved)
        return True


_LATE = text(
    "SELECT DISTINCT content_id FROM ledger"
    " WHERE added_in >= pg_snapshot_xmin(CAST(:seen AS pg_snapshot))"
    " AND NOT pg_visible_in_snapshot(added_in, CAST(:seen AS pg_snapshot))"
    " AND index_epoch < :hunted ORDER BY content_id"
)


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
