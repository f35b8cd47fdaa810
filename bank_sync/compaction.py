"""Compaction: builds a new base beside the epoch in force, so that deltas stay small and what was withdrawn goes.

It may be killed at any point: until the pointer moves nothing has happened, and what it leaves behind is swept.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import and_, func, update
from sqlalchemy.orm import Session

from bank_sync import epoch_files, lineage, locks
from bank_sync.bank import BankEntry
from bank_sync.base import build_base, session_snapshot
from bank_sync.delta import changes_since, visible, write_delta
from bank_sync.epoch import MOST_AT_ONCE, Current, current_epoch, keep_base, keep_delta, publish_over
from bank_sync.manifest import Base, EpochError, Manifest
from bank_sync.opened import verify_file
from bank_sync.replica import Replica
from config.database import Sessions

LEAST_CHANGES = 10_000
"""Rows of delta and tombstones below which a base is not built anew for their number."""

CHANGED_SHARE = 0.01
"""Share of the base's entries above which it is."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a round did: the number of the new epoch, if it made one, and how many withdrawn entries are gone."""

    number: int | None
    purged: int


class Compaction:
    """Rounds of compaction of one folder, for a loop or for once. One runs at a time, on whatever host."""

    def __init__(
        self,
        sessions: Sessions,
        folder: Path,
        *,
        after: float,
        keep: int = 3,
        buckets: bool = True,
        replica: Replica | None = None,
    ) -> None:
        self._sessions = sessions
        self._folder = folder
        self._after = timedelta(seconds=after)
        self._keep = keep
        self._buckets = buckets
        self._replica = replica
        self._verified: str | None = None
        self._purged: set[str] | None = None

    def run(self, *, always: bool = False) -> Compacted:
        """Builds a new base if one is due, or `always`; removes what no epoch needs; records what is gone by it.

        Due when the changes since the base are many, or one of them took something away and the base is older than
        `after` seconds, or the base is damaged. Not over an epoch that was rolled back to, nor where another compaction
        runs. Memory is bounded as `build_base` says. Raises EpochError and leaves the epoch in force as it was.
        """
        with locks.held(self._sessions.kw["bind"], "compaction") as mine:
            if not mine:
                return Compacted(None, 0)
            current = current_epoch(self._folder)
            number = None
            if (
                current is not None
                and "rolled_away" not in current.manifest
                and (always or self._due(current))
            ):
                number = self._compact(current.manifest["base"])
            return Compacted(number, self._tidy())

    def _due(self, current: Current) -> bool:
        manifest = current.manifest
        base, counts = manifest["base"], manifest["delta"]["counts"]
        rows = counts["pdq"] + counts["frames"] + counts["video_md5"] + counts["tombstones"]
        if rows > max(LEAST_CHANGES, CHANGED_SHARE * base["counts"]["entries"]):
            return True
        if counts["tombstones"] and _age(base) >= self._after:
            return True
        return not self._is_sound(manifest)

    def _is_sound(self, manifest: Manifest) -> bool:
        """Whether the base's files hold what was published; each base is read once."""
        base = manifest["base"]
        if self._verified != base["built_at"]:
            try:
                for name, file in base["files"].items():
                    verify_file(self._folder, manifest["number"], name, file)
            except EpochError as error:
                log.error("base_damaged", fault=error.fault, reason=error.message)
                return False
            self._verified = base["built_at"]
        return True

    def _compact(self, former: Base) -> int | None:
        """A new base in force; None if meanwhile another took the former one's place, or too much changed."""
        folder = self._folder
        with ExitStack() as stack:
            with epoch_files.changing(folder):
                building = stack.enter_context(epoch_files.building(folder))
            stack.enter_context(epoch_files.disk_faults(folder))
            engine = self._sessions.kw["bind"].execution_options(isolation_level="REPEATABLE READ")
            with engine.connect() as connection, connection.begin():
                base = build_base(connection, building, buckets=self._buckets)
            if self._replica is not None:
                self._replica.push_files(building, base["files"], names=True)
            with self._sessions.begin() as session:
                locks.take(session, "epoch")
                return self._install(session, building, base, former)

    def _install(self, session: Session, building: Path, base: Base, former: Base) -> int | None:
        folder = self._folder
        if self._replica is not None:
            self._replica.pull_for_publishing(folder)
        with epoch_files.changing(folder):
            current = current_epoch(folder)
            if (
                current is None
                or "rolled_away" in current.manifest
                or current.manifest["base"]["built_at"] != former["built_at"]
            ):
                return None
            snapshot = session_snapshot(session.connection())
            changes = changes_since(session, base["snapshot"], MOST_AT_ONCE)
            if changes is None:
                log.warning("epoch_not_compacted", reason="too much changed meanwhile")
                return None
            delta = write_delta(building, base, changes)
            keep_base(folder, building, base)
            keep_delta(folder, building, delta)
            number = publish_over(
                session, folder, base, delta, changes, snapshot, keep=self._keep, replica=self._replica
            )
        self._verified = base["built_at"]
        log.info("epoch_compacted", epoch=number, **base["counts"])
        return number

    def _tidy(self) -> int:
        """Removes the epochs of outlived bases, and records which withdrawn entries no kept file holds any more."""
        folder = self._folder
        with self._sessions.begin() as session:
            locks.take(session, "epoch")
            with epoch_files.changing(folder):
                current = current_epoch(folder)
                if current is None:
                    return 0
                kept = epoch_files.kept_manifests(folder)
                if self._replica is not None:
                    kept |= self._replica.kept()
                outlived = _outlived(kept, current.manifest, self._after)
                epoch_files.sweep(folder, outlived)
                swept = self._replica is None or self._replica.sweep(self._keep, outlived)
        bases = [manifest["base"] for number, manifest in kept.items() if number not in outlived]
        bases += [m["rolled_away"]["base"] for m in kept.values() if "rolled_away" in m]
        snapshots = {base["snapshot"] for base in bases}
        # The same bases hold the same entries.
        if not swept or snapshots == self._purged:
            return 0
        # What is published meanwhile is over these bases or later ones: nobody has to wait for this.
        with self._sessions.begin() as session:
            if not all(lineage.is_ours(session, base) for base in bases):
                # Their snapshots are of other transactions, so what they hold can't be told.
                return 0
            purged = _record_purged(session, snapshots)
        self._purged = snapshots
        return purged


def _outlived(kept: dict[int, Manifest], current: Manifest, after: timedelta) -> set[int]:
    """Epochs whose base is older than the one before the current one; all but the current one's in the end."""
    if "rolled_away" in current:
        return set()
    built = sorted({manifest["base"]["built_at"] for manifest in kept.values()}, key=datetime.fromisoformat)
    stay = built[-1:] if _age(current["base"]) >= after else built[-2:]
    return {
        number
        for number, manifest in kept.items()
        if manifest["base"]["built_at"] not in stay and number != current["number"]
    }


def _age(base: Base) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(base["built_at"])


def _record_purged(session: Session, snapshots: set[str]) -> int:
    """Marks withdrawn entries that every kept base was built without. How many.

    A delta holds only what changed since its base and was live then: what each base's snapshot shows as withdrawn is in
    none of them either.
    """
    done = session.execute(
        update(BankEntry)
        .where(
            ~BankEntry.live,
            BankEntry.purged_at.is_(None),
            and_(*(visible(snapshot) for snapshot in sorted(snapshots))),
        )
        .values(purged_at=func.clock_timestamp())
        .returning(BankEntry.id)
        .execution_options(synchronize_session=False)
    )
    return len(done.all())
