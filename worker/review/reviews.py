"""Reviews and verdicts: one decision is about a content and holds for all its uploads, those to come as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bank_sync import feedback
from bank_sync.own_bank import add_own, remove_own
from bank_sync.signals import PDQ, VIDEO_MD5
from config.database import Sessions
from config.errors import HashwardenError
from config.policy import PolicySettings
from worker import outbox
from worker.act import PURGED
from worker.domain import Kind, State, Verdict
from worker.store import contents
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload
from worker.store.transitions import ALLOWED, transition

FEEDBACK = {
    Verdict.CONFIRMED: "Blocked",
    Verdict.NOT_A_MATCH: "NotBlocked",
    Verdict.LAWFUL: "NotBlocked",
    Verdict.HASH_WRONG: "NotBlocked",
}
"""What each verdict tells the bank; a suspected minor tells an adults' bank nothing more."""

TARGET = {
    Verdict.CONFIRMED: State.REMOVED,
    Verdict.NOT_A_MATCH: State.RELEASED,
    Verdict.LAWFUL: State.RELEASED,
    Verdict.HASH_WRONG: State.RELEASED,
    Verdict.SUSPECTED_MINOR: State.HELD,
}
"""The state that each verdict brings uploads to. A suspected minor is withheld and its bytes are preserved."""

OWN_QUALITY = 50
"""PDQ quality below which a hash is too plain to go into the own bank (the PDQ paper's threshold)."""


class ReviewError(HashwardenError):
    """A review that does not exist, or a decision that can't be taken."""

    code: ClassVar[str] = "review"


@dataclass(frozen=True, slots=True)
class Decided:
    """What one decision did. `kept` are uploads whose bytes were already deleted: nothing brings them back."""

    decision_id: int
    verdict: Verdict
    moved: int
    kept: int
    repeated: bool = False


def decide_review(
    sessions: Sessions,
    policy: PolicySettings,
    review_id: int,
    verdict: Verdict,
    *,
    actor: str,
    request_id: str,
    reason: str = "",
) -> Decided:
    """Takes a verdict on a review: moves all uploads of its content and queues what follows, in one transaction.

    The same `request_id` decides once, however often it is sent. A decided review can be decided again: the newer
    verdict counts, and what the older did is undone as far as the bytes are still there.
    Raises ReviewError when there is no such review, or when `request_id` belongs to another one.
    """
    with sessions.begin() as session:
        review = session.get(Review, review_id)
        if review is None:
            raise ReviewError(
                f"There is no review {review_id}.", next_step="`hashwarden reviews` lists the open ones."
            )
        content = session.get_one(Content, review.content_id, with_for_update=True)
        session.refresh(review, with_for_update=True)
        earlier = session.scalar(select(DecisionRow).where(DecisionRow.request_id == request_id))
        if earlier is not None:
            if earlier.content_id != content.id or earlier.verdict != verdict:
                raise ReviewError(
                    f"Request {request_id} has already decided something else.",
                    next_step="Send each new decision with a request id of its own.",
                )
            return Decided(earlier.id, verdict, moved=0, kept=0, repeated=True)
        decision = DecisionRow(
            content_id=content.id, verdict=verdict, actor=actor, reason=reason, request_id=request_id
        )
        session.add(decision)
        session.flush()
        review.state = "decided"
        review.verdict = verdict
        review.closed_at = func.clock_timestamp()
        review.decision_id = decision.id
        _remember(session, content, decision, verdict)
        moved, kept = _move_uploads(
            session, content, policy, verdict, actor=actor, reason=reason, review=review
        )
        return Decided(decision.id, verdict, moved=moved, kept=kept)


def _remember(session: Session, content: Content, decision: DecisionRow, verdict: Verdict) -> None:
    """Own bank, dismissed entries and feedback to the banks."""
    matched = session.scalars(select(MatchRow).where(MatchRow.content_id == content.id)).all()
    source = f"content:{content.id}"
    remove_own(session, source)
    if verdict is Verdict.CONFIRMED:
        contents.dismiss(session, content.id, None)
        _add_to_own_bank(session, content, [row.entry_id for row in matched], source)
    elif verdict is not Verdict.SUSPECTED_MINOR:
        contents.dismiss(session, content.id, decision.id)
    told = FEEDBACK.get(verdict)
    if told is not None:
        for row in matched:
            feedback.enqueue(session, row.entry_id, told, f"decision:{decision.id}:{row.entry_id}")


def _add_to_own_bank(session: Session, content: Content, origins: Sequence[int], source: str) -> None:
    if content.kind == Kind.VIDEO:
        if content.md5 is not None:
            add_own(session, VIDEO_MD5, content.md5, 100, origins, source=source)
        return
    for view in content.fingerprint or []:
        if view["quality"] >= OWN_QUALITY:
            signal = bytes.fromhex(view["hash"])
            add_own(session, PDQ, signal, view["quality"], origins, source=source)


def _move_uploads(
    session: Session,
    content: Content,
    policy: PolicySettings,
    verdict: Verdict,
    *,
    actor: str,
    reason: str,
    review: Review,
) -> tuple[int, int]:
    target = TARGET[verdict]
    moved = kept = 0
    uploads = session.scalars(
        select(Upload).where(Upload.content_id == content.id).order_by(Upload.id).with_for_update()
    ).all()
    for upload in uploads:
        state = State(upload.state)
        if upload.access_applied == PURGED:
            kept += 1
            continue
        if state is target or target not in ALLOWED[state]:
            continue
        transition(session, upload, target, actor=f"reviewer:{actor}", reason=reason or verdict)
        if target is State.REMOVED:
            upload.purge_at = func.clock_timestamp() + timedelta(seconds=policy.removal_delay)
        outbox.tell_state(session, upload, review_id=review.id)
        moved += 1
    return moved, kept
