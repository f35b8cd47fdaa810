"""Late rows: what came into the ledger behind a hunt, having been compared with an epoch older than the hunt's.

They are few, so each is compared with the whole index. What comes near is handed to a hunt of its own kind, which is
checked, stopped and approved like any other.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from bank_sync.loaded import LoadedEpoch
from config.database import Sessions
from config.settings import Settings
from worker.retro.collect import Stopping
from worker.retro.entries import rejected, stopped
from worker.retro.force import Force, InForce
from worker.retro.judge import judge, served
from worker.retro.mark import current_snapshot, holds_all_hunted, mark_at
from worker.store.hunts import HuntState, RetroHit, RetroHunt, RetroMark
from worker.store.models import Content

log = structlog.get_logger()

_PAGE = 2000

_LATE = text(
    "SELECT DISTINCT content_id FROM ledger"
    " WHERE added_in >= pg_snapshot_xmin(CAST(:seen AS pg_snapshot))"
    " AND NOT pg_visible_in_snapshot(added_in, CAST(:seen AS pg_snapshot))"
    " AND pg_visible_in_snapshot(added_in, CAST(:until AS pg_snapshot))"
    " AND index_epoch < :hunted AND content_id > :after ORDER BY content_id LIMIT :most"
)


class LateRows:
    """Judges them, each once. Not for several threads."""

    def __init__(self, settings: Settings, sessions: Sessions, in_force: InForce) -> None:
        self._settings = settings
        self._sessions = sessions
        self._in_force = in_force

    def judge(self, stopping: Stopping) -> bool:
        """Goes through all there are now; False when it was told to stop. Raises EpochError."""
        force = self._in_force.look()
        with self._sessions() as session:
            now = current_snapshot(session)
        with self._sessions.begin() as session:
            mark = mark_at(session, force)
            mark.at = func.clock_timestamp()
            if not holds_all_hunted(session, force, mark):
                # It lacks hashes that were hunted: what is late waits for an epoch that has them.
                return True
            if mark.late_until is None:
                mark.late_until, mark.late_after = now, 0
        with self._sessions() as session:
            mark = session.get_one(RetroMark, 1)
        judged = 0
        after = mark.late_after
        while True:
            asked = {
                "seen": mark.ledger_snapshot,
                "until": mark.late_until,
                "hunted": mark.epoch,
                "after": after,
                "most": _PAGE,
            }
            with self._sessions() as session:
                late = session.scalars(_LATE, asked).all()
            if not late:
                break
            index = self._in_force.load(force)
            for after in late:
                if stopping():
                    return False
                self._judge(after, force, index)
                judged += 1
        with self._sessions.begin() as session:
            row = session.get_one(RetroMark, 1, with_for_update=True)
            row.ledger_snapshot = mark.late_until or row.ledger_snapshot
            row.late_until, row.late_after = None, 0
            # What they came near is all collected.
            for hunt in session.scalars(_open()):
                hunt.whole = True
        if judged:
            log.info("retro_judged_late", contents=judged, epoch=force.number)
        return True

    def _judge(self, content_id: int, force: Force, index: LoadedEpoch) -> None:
        near: list[int] = []
        waiting: dict[int, int] = {}
        try:
            with self._sessions() as session:
                content = session.get(Content, content_id)
                if content is not None and served(session, content_id):
                    matches = judge(session, self._settings, content, index).outcome.matches
                    found = [match.entry_id for match in matches]
                    near = sorted(set(found) - rejected(session, found))
                    waiting = stopped(session, near)
        except (OperationalError, InterfaceError):
            raise
        except Exception as fault:  # noqa: BLE001 (one content must not end every round at the same place)
            log.error("retro_content_failed", content=content_id, fault=type(fault).__name__)
        with self._sessions.begin() as session:
            own = 0
            if set(near) - set(waiting):
                hunt = session.scalar(_open().limit(1)) or _made(session, force)
                hunt.contents += 1
                own = hunt.id
            if near:
                # What a hunt that waits for a person is about waits with it.
                session.execute(
                    insert(RetroHit).on_conflict_do_nothing(),
                    [
                        {"hunt_id": waiting.get(entry, own), "content_id": content_id, "entry_id": entry}
                        for entry in near
                    ],
                )
            session.get_one(RetroMark, 1, with_for_update=True).late_after = content_id


def _open() -> Select[RetroHunt]:
    return select(RetroHunt).where(RetroHunt.state == HuntState.COLLECTING, RetroHunt.late, ~RetroHunt.whole)


def _made(session: Session, force: Force) -> RetroHunt:
    hunt = RetroHunt(
        state=HuntState.COLLECTING,
        late=True,
        epoch=force.number,
        from_snapshot=force.snapshot,
        to_snapshot=force.snapshot,
        entries=0,
        contents=0,
    )
    session.add(hunt)
    session.flush()
    return hunt
