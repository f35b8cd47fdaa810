"""Judges a cleared content anew by its hashes in the ledger, with the code that judges a scan, and writes it down.

No media is touched. What a scan sees beyond the upload as it is, its edited views, is not in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from bank_sync.bank import entries_by_id
from config.settings import Settings
from worker.decide import decide
from worker.domain import HashedMedia, Kind, Outcome, State
from worker.matching import SignalIndex, find_matches
from worker.media.turned_hashes import turned_views
from worker.pipeline import RETRO, write_outcome
from worker.retro.entries import FewEntries
from worker.store import contents, floods, ledger
from worker.store.models import Content, Upload
from worker.withdrawals import REASON as WITHDRAWN

ACTOR = "retro"

_FRAME_STEP = 1.0
"""Seconds that the last frame of a film stands for: the ledger has one a second."""

AT_ONCE = 50
"""Uploads of one content moved in a transaction; between two the flood breaker is heard."""

MOVABLE = or_(Upload.state == State.CLEAR, and_(Upload.state == State.RELEASED, Upload.reason == WITHDRAWN))
"""SQL: a hunt may move the upload. What a withdrawal released no person has looked at; what a person released stays."""

IndexOf = Callable[[Session], SignalIndex]
"""The index that a content is judged by, built within the transaction that judges."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What judging found, and the hashes it rests on."""

    media: HashedMedia
    outcome: Outcome

    @property
    def acts(self) -> bool:
        """Whether uploads move by it: in shadow mode, or when a person has said before that it is no match, none do."""
        return bool(self.outcome.matches) and self.outcome.state is not State.CLEAR


def few(entry_ids: Collection[int], epoch: int) -> IndexOf:
    """An index of the entries that a content came near, all of them in this epoch or a later one."""
    return lambda session: FewEntries(session, entry_ids, epoch)


def judge(session: Session, settings: Settings, content: Content, index: SignalIndex) -> Judged:
    """What policy, banks and people's decisions say of a content now; reads only."""
    policy = settings.policy
    media = _rebuilt(session, content)
    matches = find_matches(
        media, content.md5, index, lambda ids: entries_by_id(session, ids), policy, settings.banks
    )
    outcome = decide(
        media,
        matches,
        policy,
        contents.memory_of(session, content.id),
        floods.demoted(session, [match.entry_id for match in matches]),
    )
    return Judged(media, outcome)


@dataclass(frozen=True, slots=True)
class Acted:
    """How many uploads moved, and whether there may be more of the content."""

    moved: int
    more: bool


def act(
    session: Session, settings: Settings, content_id: int, index_of: IndexOf, most: int = AT_ONCE
) -> Acted:
    """Judges a content and moves up to `most` of its uploads accordingly. The caller commits, and comes again for more.

    Each time the content is judged anew: what the flood breaker or a person has said meanwhile counts for the rest.
    Nothing to do is a result: everything may have changed since the content came near. Done twice, the second finds
    no upload that is served.
    """
    content = session.get(Content, content_id, with_for_update=True)
    if content is None or not served(session, content_id):
        return Acted(0, more=False)
    index = index_of(session)
    judged = judge(session, settings, content, index)
    outcome = judged.outcome
    if not outcome.matches:
        return Acted(0, more=False)
    contents.record_matches(session, content, outcome.matches, index.number)
    if not judged.acts:
        # As a scan says it of an upload that stays clear.
        session.execute(
            update(Upload)
            .where(Upload.content_id == content_id, Upload.state == State.CLEAR)
            .values(reason=f"{RETRO}{outcome.reason}")
        )
        return Acted(0, more=False)
    uploads = session.scalars(
        select(Upload)
        .where(Upload.content_id == content_id, MOVABLE)
        .order_by(Upload.id)
        .limit(most)
        .with_for_update()
    ).all()
    for upload in uploads:
        write_outcome(
            session, settings, upload, content, judged.media, outcome, index.number, actor=ACTOR, retro=True
        )
    return Acted(len(uploads), more=len(uploads) == most)


def served(session: Session, content_id: int) -> int:
    """How many uploads of a content a hunt may move; 0 when somebody has deleted all of them."""
    total, there = session.execute(
        select(func.count(), func.count().filter(Upload.deleted_at.is_(None))).where(
            Upload.content_id == content_id, MOVABLE
        )
    ).one()
    return int(total) if there else 0


def _rebuilt(session: Session, content: Content) -> HashedMedia:
    """What a scan would have handed over, from the ledger; without hashes when it holds none of this content."""
    kept = ledger.hashes_of(session, content)
    frames = tuple(each for each in kept if each.frame_time is not None)
    return HashedMedia(
        kind=Kind(content.kind),
        hashes=turned_views(kept),
        duration=max((each.frame_time or 0.0 for each in frames), default=0.0) + _FRAME_STEP,
        vpdq=frames if content.kind == Kind.VIDEO else (),
    )
