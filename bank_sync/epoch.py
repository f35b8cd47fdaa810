"""Epochs: publish the live bank entries as one verified set of files.

An epoch is a base, which many epochs share, a delta and tombstones: publishing reads and writes only what changed since
the base was built. A reader never meets half an epoch, and never one that says less than the one it has without a newer
number: `epoch_files` keeps the order in which things reach the disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from bank_sync import epoch_files, lineage, locks
from bank_sync.bank import BankCheckpoint
from bank_sync.base import build_base, session_snapshot
from bank_sync.delta import Change, changed_since, changes_since, counts_over, write_delta
from bank_sync.epoch_files import Pointer, published_numbers, read_pointer
from bank_sync.epoch_reader import EpochReader
from bank_sync.loaded import Hit, LoadedEpoch, epoch_from_file
from bank_sync.manifest import FORMAT, Base, Delta, EpochError, Manifest, RolledAway, content_of
from bank_sync.opened import map_base, verify_epoch
from bank_sync.replica import Replica

__all__ = [
    "EpochError",
    "EpochReader",
    "Hit",
    "LoadedEpoch",
    "Pointer",
    "Published",
    "epoch_from_file",
    "is_behind",
    "publish",
    "publish_if_changed",
    "published_numbers",
    "read_pointer",
    "rollback",
]

MOST_CHANGES = (100_000, 0.05)
"""Rows of changed entries, or share of the base's rows, that a delta holds at most; with more, publishing builds a new
base."""

MOST_AT_ONCE = 1_000_000
"""Rows that may change while a base is built: some hundred megabytes of memory. With more it is built again."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Published:
    """The epoch in force after a call, and whether the call made it."""

    number: int
    new: bool


@dataclass(frozen=True, slots=True)
class Current:
    """The epoch in force, as far as its pointer, its manifest and the lengths of its files tell."""

    pointer: Pointer
    manifest: Manifest


def publish(
    session: Session,
    folder: Path,
    *,
    keep: int = 3,
    buckets: bool = True,
    replica: Replica | None = None,
) -> int:
    """Publishes the live entries as a new epoch with a new base and returns its number: minutes for ten million.

    Of all banks, whoever publishes: whether a bank is on is for who matches. Without `buckets` the base is searched by
    FAISS flat alone, whatever its size. With a replica the epoch is there before it is in force here. Reads what the
    session's transaction sees, so commit first; ends no transaction, but the advisory lock it takes lasts until that
    ends. Raises EpochError and leaves the epoch in force as it was.
    """
    return _publish(session, folder, keep, buckets, replica, always=True).number


def publish_if_changed(
    session: Session,
    folder: Path,
    *,
    keep: int = 3,
    buckets: bool = True,
    replica: Replica | None = None,
) -> Published:
    """Publishes only if the live entries differ from the epoch in force; else confirms that it is up to date.

    Reads what changed since the base was built, so a publication that was lost to a crash is made up for. The base is
    built anew only when there is no whole epoch, `buckets` differs, the database was restored, or
    too much changed. After a roll-back the content that was rolled away from does not count as different.
    """
    return _publish(session, folder, keep, buckets, replica, always=False)


def is_behind(session: Session, folder: Path) -> bool:
    """Whether an entry changed since the epoch in force was last found to equal the database, or there is none."""
    try:
        return changed_since(session, read_pointer(folder).snapshot)
    except EpochError:
        return True


def rollback(
    folder: Path,
    number: int,
    *,
    keep: int = 3,
    replica: Replica | None = None,
    session: Session | None = None,
) -> int:
    """Publishes the content of an earlier epoch under a new number, and returns that. Raises EpochError.

    Needs no database; with a session of it nobody else publishes meanwhile, until its transaction ends. A sync that
    brings changes publishes over it; one that brings none does not.
    """
    if session is not None:
        locks.take(session, "epoch")
    if replica is not None:
        replica.pull_for_publishing(folder)
        replica.fetch(folder, number)
    with epoch_files.changing(folder):
        if number not in published_numbers(folder):
            raise EpochError(
                f"Epoch {number} is not in {folder}.",
                next_step="`hashwarden index status` lists what is kept.",
            )
        manifest = verify_epoch(folder, number)
        current = current_epoch(folder)
        now = datetime.now(UTC)
        manifest["number"] = _next_number(session, folder, replica)
        manifest["created_at"] = now.isoformat()
        # Of a copy of a copy the content is still that of the first.
        manifest.setdefault("copy_of", number)
        manifest.pop("rolled_away", None)
        if current is not None:
            away: RolledAway = {"content": current.manifest["content"], "base": current.manifest["base"]}
            manifest["rolled_away"] = current.manifest.get("rolled_away", away)
        seen = current.pointer.snapshot if current is not None else manifest["snapshot"]
        new = put_in_force(folder, manifest, now, seen, keep=keep, replica=replica)
        if session is not None:
            lineage.remember(session, new)
        return new


def current_epoch(folder: Path) -> Current | None:
    """The epoch in force, if its manifest is sound and every file of it is there at its length.

    What the files hold is not read: that would take as long as building them. Readers read it before they search.
    """
    with suppress(EpochError):
        pointer = read_pointer(folder)
        manifest = epoch_files.read_manifest(folder, pointer.number, pointer.manifest_sha256)
        if all(
            epoch_files.whole(folder, files)
            for files in (manifest["base"]["files"], manifest["delta"]["files"])
        ):
            return Current(pointer, manifest)
    return None


def publish_over(
    session: Session,
    folder: Path,
    base: Base,
    delta: Delta,
    changes: Sequence[Change],
    snapshot: str,
    *,
    keep: int,
    replica: Replica | None,
) -> int:
    """Puts an epoch of this base and this delta in force, whose files are kept; its number.

    Call it with the publishing lock and within `changing`.
    """
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    rows = session.execute(select(BankCheckpoint.bank, BankCheckpoint.next_start, BankCheckpoint.drained_at))
    manifest: Manifest = {
        "format": FORMAT,
        "number": _next_number(session, folder, replica),
        "created_at": now.isoformat(),
        "content": content_of(base, delta),
        "snapshot": snapshot,
        "counts": counts_over(base, map_base(folder, base), delta, changes),
        "checkpoints": {
            row.bank: {
                "next_start": row.next_start,
                "drained_at": row.drained_at.isoformat() if row.drained_at else None,
            }
            for row in rows
        },
        "base": base,
        "delta": delta,
    }
    number = put_in_force(folder, manifest, now, snapshot, keep=keep, replica=replica)
    lineage.remember(session, number, base)
    log.info("epoch_published", epoch=number, **manifest["counts"], changes=len(changes))
    return number


def put_in_force(
    folder: Path, manifest: Manifest, now: datetime, snapshot: str, *, keep: int, replica: Replica | None
) -> int:
    """Writes the manifest and the pointer of an epoch whose files are kept, to the replica first; its number."""
    raw = json.dumps(manifest, indent=1, sort_keys=True).encode()
    pointer = Pointer(manifest["number"], hashlib.sha256(raw).hexdigest(), now, snapshot)
    if replica is not None:
        replica.push(folder, manifest, raw, pointer)
    epoch_files.install(folder, raw, pointer)
    epoch_files.sweep(folder, published_numbers(folder)[:-keep])
    if replica is not None:
        replica.sweep(keep)
    return manifest["number"]


def _publish(
    session: Session,
    folder: Path,
    keep: int,
    buckets: bool,
    replica: Replica | None,
    *,
    always: bool,
) -> Published:
    locks.take(session, "epoch")
    told = replica is None or replica.pull_for_publishing(folder)
    with epoch_files.changing(folder), epoch_files.building(folder) as building:
        connection = session.connection()
        # Taken before the entries are read: the epoch holds at least what this snapshot shows.
        snapshot = session_snapshot(connection)
        current = current_epoch(folder)
        if told and not always and current is not None and _stays_rolled_back(session, current):
            return _confirm(session, folder, current, snapshot, replica)
        base = None if always else _base_to_keep(session, folder, current, buckets, snapshot)
        changes = None
        if base is not None:
            changes = changes_since(session, base["snapshot"], _most(base))
        if base is None or changes is None:
            current = None
            _forget_other_timelines(session)
            base = build_base(connection, building, buckets=buckets)
            changes = changes_since(session, base["snapshot"], MOST_AT_ONCE)
            if changes is None:
                raise EpochError(
                    "Too much changed while the epoch was built; the one in force stays.",
                    next_step="It is built again at the next round, or by `hashwarden index build`.",
                    fault="overtaken",
                )
            keep_base(folder, building, base)
        delta = write_delta(building, base, changes)
        if told and current is not None and content_of(base, delta) in _contents(current.manifest):
            if delta["files"] == current.manifest["delta"]["files"]:
                # Over those in force, which may be damaged.
                keep_delta(folder, building, delta)
            return _confirm(session, folder, current, snapshot, replica)
        keep_delta(folder, building, delta)
        number = publish_over(session, folder, base, delta, changes, snapshot, keep=keep, replica=replica)
        return Published(number, new=True)


def _stays_rolled_back(session: Session, current: Current) -> bool:
    """Whether somebody rolled back to this epoch and nothing changed since: what was rolled away need not be here."""
    return (
        "rolled_away" in current.manifest
        and lineage.is_ours(session, current.manifest["rolled_away"]["base"])
        and not changed_since(session, current.pointer.snapshot)
    )


def _confirm(
    session: Session, folder: Path, current: Current, snapshot: str, replica: Replica | None
) -> Published:
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    pointer = Pointer(current.pointer.number, current.pointer.manifest_sha256, now, snapshot)
    if replica is not None:
        replica.point(pointer)
    epoch_files.point(folder, pointer)
    return Published(pointer.number, new=False)


def keep_delta(folder: Path, building: Path, delta: Delta) -> None:
    """Moves a delta's files from where they were built to where they are kept."""
    for name, file in delta["files"].items():
        epoch_files.keep_file(folder, building / f"delta.{name}", file)


def keep_base(folder: Path, building: Path, base: Base) -> None:
    """Moves a base's files from where they were built to where they are kept."""
    for name, file in base["files"].items():
        epoch_files.keep_file(folder, building / name, file)


def _next_number(session: Session | None, folder: Path, replica: Replica | None) -> int:
    """Above all that were ever published: a folder that was emptied does not begin anew, which workers would refuse."""
    known = [0 if replica is None else replica.last_number()]
    if session is not None:
        known.append(lineage.last_number(session))
    return epoch_files.next_number(folder, max(known))


def _contents(manifest: Manifest) -> list[str]:
    """What is in force, and what was before it was rolled away from: neither is news."""
    away = [manifest["rolled_away"]["content"]] if "rolled_away" in manifest else []
    return [manifest["content"], *away]


def _base_to_keep(
    session: Session, folder: Path, current: Current | None, buckets: bool, snapshot: str
) -> Base | None:
    """The base to publish over, unless it has to be built anew."""
    if current is None:
        return None
    manifest = current.manifest
    base = manifest["rolled_away"]["base"] if "rolled_away" in manifest else manifest["base"]
    restored = max(map(_end, (manifest["snapshot"], base["snapshot"]))) > _end(snapshot)
    if restored or not lineage.is_ours(session, base) or base["buckets"] != buckets:
        return None
    return base if epoch_files.whole(folder, base["files"]) else None


def _most(base: Base) -> int:
    least, share = MOST_CHANGES
    return max(least, int(sum(base["counts"][name] for name in ("pdq", "frames", "video_md5")) * share))


def _end(snapshot: str) -> int:
    """The first transaction that had not begun when a snapshot was taken."""
    return int(snapshot.split(":")[1])


def _forget_other_timelines(session: Session) -> None:
    """Entries of a database restored elsewhere name transactions that are still to come here: as good as old ones."""
    session.execute(
        text(
            "UPDATE bank_entries SET changed_in = '3' "
            "WHERE changed_in >= pg_snapshot_xmax(pg_current_snapshot()) AND changed_in <> pg_current_xact_id()"
        )
    )
