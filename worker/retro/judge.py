"""Judges a cleared content anew by its hashes in the ledger, with the code that judges a scan, and writes it down.

No media is touched. What a scan sees beyond the upload as it is, its edited views, is not in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import func, select
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

ACTOR = "retro"

_FRAME_STEP = 1.0
"""Seconds that the last frame of a film stands for: the ledger has one a second."""

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


def act(session: Session, settings: Settings, content_id: int, index_of: IndexOf) -> int:
    """Judges a content and moves all its clear uploads accordingly; how many moved. The caller commits.

    Nothing to do is a result: everything may have changed since the content came near. Done twice, the second finds no
    upload that is clear.
    """
    content = session.get(Content, content_id, with_for_update=True)
    if content is None:
        return 0
    uploads = session.scalars(
        select(Upload)
        .where(Upload.content_id == content_id, Upload.state == State.CLEAR)
        .order_by(Upload.id)
        .with_for_update()
    ).all()
    if all(upload.deleted_at is not None for upload in uploads):
        return 0
    index = index_of(session)
    judged = judge(session, settings, content, index)
    outcome = judged.outcome
    if not outcome.matches:
        return 0
    contents.record_matches(session, content, outcome.matches, index.number)
    if not judged.acts:
        for upload in uploads:
            # As a scan says it of an upload that stays clear.
            upload.reason = f"{RETRO}{outcome.reason}"
        return 0
    for upload in uploads:
        write_outcome(
            session, settings, upload, content, judged.media, outcome, index.number, actor=ACTOR, retro=True
        )
    return len(uploads)


def is_clear(session: Session, content_id: int) -> bool:
    """Whether an upload of the content is served as clear, and not deleted by somebody."""
    number = session.scalar(
        select(func.count())
        .select_from(Upload)
        .where(Upload.content_id == content_id, Upload.state == State.CLEAR, Upload.deleted_at.is_(None))
    )
    return bool(number)


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
