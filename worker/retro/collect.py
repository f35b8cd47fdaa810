"""The first phase of a hunt: which contents lie near which new entries. It reads the whole ledger and moves nothing.

How far it came is committed with what was found, so a hunt that was ended goes on there. What is found at once is
bounded, also where everything is alike; a hunt that is sure to be stopped ends here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from sqlalchemy import BigInteger, bindparam, exists, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry
from bank_sync.index.protocol import Integers
from bank_sync.loaded import MIN_FRAME_QUALITY
from bank_sync.signals import VIDEO_MD5
from bank_sync.sync import enabled_banks
from config.database import Sessions
from config.policy import PolicySettings
from config.settings import Settings
from worker.matching import widest_radius
from worker.retro.entries import Span, next_sought, of_hunt
from worker.retro.judge import MOVABLE
from worker.retro.near import FormsIndex
from worker.retro.stream import BLOCK, Block, blocks
from worker.store import ledger
from worker.store.hunts import HuntState, RetroHit, RetroHunt
from worker.store.models import Content, Upload

Stopping = Callable[[], bool]
"""Whether the process is to end; asked between blocks."""

_WRITTEN_AT_ONCE = 20_000
"""Pairs a transaction."""


def collect(
    sessions: Sessions,
    settings: Settings,
    hunt_id: int,
    stopping: Stopping,
    *,
    rows: int = BLOCK,
    between: Callable[[], bool] = lambda: True,
    too_much: Callable[[], bool] = lambda: False,
    check_at: int = 1000,
) -> bool:
    """Finds what is near the hunt's entries, from where an earlier call ended; False when it was told to stop.

    `between` is called between two passes, and ends the call by saying False. `too_much` is asked at `check_at` pairs
    found and at every doubling: by saying True it ends collecting. A person who rejects the hunt ends it as well.
    """
    banks = enabled_banks(settings)
    with sessions.begin() as session:
        hunt = session.get_one(RetroHunt, hunt_id)
        span = Span(hunt.from_snapshot, hunt.to_snapshot)
        _same_files(session, hunt_id, span, banks)
        found = session.scalars(
            select(func.count()).select_from(RetroHit).where(RetroHit.hunt_id == hunt_id)
        ).one()
    low = _LowQuality.of(settings.policy)
    while True:
        with sessions.begin() as session:
            hunt = session.get_one(RetroHunt, hunt_id, with_for_update=True)
            if hunt.state != HuntState.COLLECTING:
                return True
            sought = next_sought(session, span, banks, hunt.after_entry, hunt.after_frame)
            if sought is None:
                hunt.whole = True
                return True
        index = FormsIndex(sought.hashes, widest_radius(settings.policy))
        for part in _ledger(sessions, hunt, rows):
            if stopping():
                return False
            for pairs in _near(index, sought.entries, part.block, low):
                found += _write(sessions, hunt_id, pairs)
                if found >= check_at:
                    if too_much():
                        return True
                    check_at = 2 * found
            if not _come(sessions, hunt_id, part):
                return True
        with sessions.begin() as session:
            hunt = session.get_one(RetroHunt, hunt_id, with_for_update=True)
            hunt.after_entry, hunt.after_frame = sought.last, sought.last_frame
            hunt.day, hunt.content_id = None, 0
        if not between():
            return False


def _same_files(session: Session, hunt_id: int, span: Span, banks: list[str]) -> None:
    """Contents with exactly the MD5 of a new video, whether the ledger still holds them or not."""
    clear = exists().where(Upload.content_id == Content.id, MOVABLE)
    found = (
        select(literal(hunt_id, BigInteger), Content.id, BankEntry.id)
        .join(Content, Content.md5 == BankEntry.signal)
        .where(of_hunt(span, banks), BankEntry.signal_type == VIDEO_MD5, clear)
    )
    columns = ["hunt_id", "content_id", "entry_id"]
    session.execute(insert(RetroHit).from_select(columns, found).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class _Part:
    """A block of one day."""

    day: date
    block: Block


def _ledger(sessions: Sessions, hunt: RetroHunt, rows: int) -> Iterator[_Part]:
    """The ledger from where the hunt stands, a day after the other: what moves to a later day meanwhile comes again."""
    with sessions() as session:
        days = ledger.partitions(session)
    for partition in days:
        if hunt.day is not None and partition.day < hunt.day:
            continue
        after = hunt.content_id if partition.day == hunt.day else 0
        for block in blocks(sessions.kw["bind"], partition.table, after, rows):
            yield _Part(partition.day, block)


@dataclass(frozen=True, slots=True)
class _LowQuality:
    """Rows of a picture under this quality match no further than this, by any rule; a film's frames are all over it."""

    under: int
    radius: int

    @classmethod
    def of(cls, policy: PolicySettings) -> _LowQuality:
        rules = [policy.default, *(rule for by_type in policy.rules.values() for rule in by_type.values())]
        return cls(
            min(MIN_FRAME_QUALITY, *(rule.min_quality for rule in rules)),
            max(rule.low_quality_radius for rule in rules),
        )


def _near(index: FormsIndex, entries: Integers, block: Block, low: _LowQuality) -> Iterator[Integers]:
    """Content and entry of pairs that are near, int64[n, 2]; some again in a later part."""
    poor = block.qualities < low.under
    for rows, radius in ((np.flatnonzero(~poor), None), (np.flatnonzero(poor), low.radius)):
        for queries, found in index.parts(block.hashes[rows], radius):
            pairs = np.stack([block.content_ids[rows[queries]], entries[found]], axis=1)
            yield np.unique(pairs, axis=0)


_INSERT = text(
    "INSERT INTO retro_hits (hunt_id, content_id, entry_id) "
    "SELECT id, content, entry FROM retro_hunts, unnest(:contents, :entries) AS near (content, entry) "
    "WHERE id = :hunt ON CONFLICT DO NOTHING"
).bindparams(bindparam("contents", type_=ARRAY(BigInteger)), bindparam("entries", type_=ARRAY(BigInteger)))


def _write(sessions: Sessions, hunt_id: int, pairs: Integers) -> int:
    """Keeps pairs; how many there are."""
    for begin in range(0, len(pairs), _WRITTEN_AT_ONCE):
        part = pairs[begin : begin + _WRITTEN_AT_ONCE]
        with sessions.begin() as session:
            session.execute(
                _INSERT, {"hunt": hunt_id, "contents": part[:, 0].tolist(), "entries": part[:, 1].tolist()}
            )
    return len(pairs)


def _come(sessions: Sessions, hunt_id: int, part: _Part) -> bool:
    """Remembers that a block is read; False when a person has ended the hunt."""
    # The last content of a block may go on in the next one: it is read again by whoever goes on from here.
    last = int(part.block.content_ids[-1])
    with sessions.begin() as session:
        hunt = session.get_one(RetroHunt, hunt_id, with_for_update=True)
        if hunt.state != HuntState.COLLECTING:
            return False
        if hunt.after_entry == 0:
            # The content that the last block ended with was counted with it.
            known = hunt.content_id + 1 if hunt.day == part.day else 0
            hunt.contents += len(np.unique(part.block.content_ids[part.block.content_ids != known]))
        hunt.day, hunt.content_id = part.day, last - 1
    return True
