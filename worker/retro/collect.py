"""The first phase of a hunt: which contents lie near which new entries. It reads the whole ledger and moves nothing.

How far it came is committed with what was found, so a hunt that was ended goes on there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from sqlalchemy import BigInteger, exists, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from bank_sync.bank import BankEntry
from bank_sync.index.protocol import Integers
from bank_sync.signals import VIDEO_MD5
from bank_sync.sync import enabled_banks
from config.database import Sessions
from config.settings import Settings
from worker.domain import State
from worker.matching import widest_radius
from worker.retro.entries import Span, next_sought
from worker.retro.near import FormsIndex
from worker.retro.stream import BLOCK, Block, blocks
from worker.store import ledger
from worker.store.hunts import RetroHit, RetroHunt
from worker.store.models import Content, Upload

Stopping = Callable[[], bool]
"""Whether the process is to end; asked between blocks."""

_AT_ONCE = 8192
"""Rows searched in one call: bounds what is found at once where everything is alike."""


def collect(
    sessions: Sessions, settings: Settings, hunt_id: int, stopping: Stopping, *, rows: int = BLOCK
) -> bool:
    """Finds what is near the hunt's entries, from where an earlier call ended; False when it was told to stop."""
    banks = enabled_banks(settings)
    with sessions.begin() as session:
        hunt = session.get_one(RetroHunt, hunt_id)
        span = Span(hunt.from_snapshot, hunt.to_snapshot)
        _same_files(session, hunt_id, span, banks)
    while True:
        with sessions.begin() as session:
            hunt = session.get_one(RetroHunt, hunt_id)
            sought = next_sought(session, span, banks, hunt.after_entry)
            if sought is None:
                return True
        index = FormsIndex(sought.hashes, widest_radius(settings.policy))
        for part in _ledger(sessions, hunt, rows):
            if stopping():
                return False
            _take(sessions, hunt_id, part, _near(index, sought.entries, part.block))
        with sessions.begin() as session:
            hunt = session.get_one(RetroHunt, hunt_id)
            hunt.after_entry, hunt.day, hunt.content_id = sought.last, None, 0


def _same_files(session: Session, hunt_id: int, span: Span, banks: list[str]) -> None:
    """Contents with exactly the MD5 of a new video, whether the ledger still holds them or not."""
    clear = exists().where(Upload.content_id == Content.id, Upload.state == State.CLEAR)
    found = (
        select(literal(hunt_id, BigInteger), Content.id, BankEntry.id)
        .join(Content, Content.md5 == BankEntry.signal)
        .where(span.changed(), BankEntry.bank.in_(banks), BankEntry.signal_type == VIDEO_MD5, clear)
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


def _near(index: FormsIndex, entries: Integers, block: Block) -> list[tuple[int, int]]:
    """Content and entry of each pair that is near, each once."""
    found: set[tuple[int, int]] = set()
    for begin in range(0, len(block.hashes), _AT_ONCE):
        queries, rows = index.search(block.hashes[begin : begin + _AT_ONCE])
        ids = block.content_ids[begin + queries]
        found.update(zip(ids.tolist(), entries[rows].tolist(), strict=True))
    return sorted(found)


def _take(sessions: Sessions, hunt_id: int, part: _Part, found: list[tuple[int, int]]) -> None:
    # The last content of a block may go on in the next one: it is read again by whoever goes on from here.
    last = int(part.block.content_ids[-1])
    with sessions.begin() as session:
        hunt = session.get_one(RetroHunt, hunt_id, with_for_update=True)
        if hunt.after_entry == 0:
            # The content that the last block ended with was counted with it.
            known = hunt.content_id + 1 if hunt.day == part.day else 0
            hunt.contents += len(np.unique(part.block.content_ids[part.block.content_ids != known]))
        hunt.day, hunt.content_id = part.day, last - 1
        if found:
            session.execute(
                insert(RetroHit).on_conflict_do_nothing(),
                [{"hunt_id": hunt_id, "content_id": content, "entry_id": entry} for content, entry in found],
            )
