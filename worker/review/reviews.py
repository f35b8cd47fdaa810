"""Reviews and verdicts: one decision is about a content and holds for all its uploads, those to come as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bank_sync import feedback
from bank_sync.bank import Feedback
from bank_sync.own_bank import add_own, remove_own
from bank_sync.signals import MAX_TIME, PDQ, VIDEO_MD5, VPDQ, Frame, pack_frames
from config.database import Sessions
from config.errors import HashwardenError
from config.policy import PolicySettings
from worker import outbox
from worker.act import PURGING
from worker.domain import PURGED, Effect, Kind, Lane, State, Verdict
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


MAX_ACTOR, MAX_REQUEST_ID, MAX_REASON = 200, 200, 4000
"""Characters of what a caller may write into a decision."""


class ReviewError(HashwardenError):
    """A review that does not exist, or a decision that can't be taken."""

    code: ClassVar[str] = "review"


@dataclass(frozen=True, slots=True)
class Decided:
    """What one decision did.

    `moved` are the uploads that changed state, with the lane that makes their effect hold. `kept` counts uploads that
    the verdict would have brought back and whose bytes are deleted, or are being deleted at this moment.
    """

    decision_id: int
    verdict: Verdict
    moved: tuple[tuple[int, Lane], ...] = ()
    kept: int = 0
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
    Raises ReviewError when there is no such review, when `request_id` belongs to another decision, or when a text is
    too long or holds control characters.
    """
    _check("name", actor, MAX_ACTOR, needed=True)
    _check("request id", request_id, MAX_REQUEST_ID, needed=True)
    _check("reason", reason, MAX_REASON)
    try:
        with sessions.begin() as session:
            return _decide(session, policy, review_id, verdict, actor, request_id, reason)
    except IntegrityError:
        # Two callers sent one request id for two contents at the same moment; the other one was first.
        raise _used_before(request_id) from None


def _decide(
    session: Session,
    policy: PolicySettings,
    review_id: int,
    verdict: Verdict,
    actor: str,
    request_id: str,
    reason: str,
) -> Decided:
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
            raise _used_before(request_id)
        return Decided(earlier.id, verdict, repeated=True)
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
    moved, kept = _move_uploads(session, content, policy, verdict, actor=actor, review=review)
    return Decided(decision.id, verdict, moved=moved, kept=kept)


def _check(name: str, value: str, longest: int, *, needed: bool = False) -> None:
    if needed and not value.strip():
        raise ReviewError(f"A decision needs a {name}.", next_step="Give one and send it again.")
    if len(value) > longest:
        raise ReviewError(
            f"The {name} of the decision has {len(value)} characters; it may have {longest}.",
            next_step="Shorten it and send it again.",
        )
    if any(not char.isprintable() and char not in "\r\n\t" for char in value):
        raise ReviewError(
            f"The {name} of the decision holds control characters.",
            next_step="Remove them and send it again.",
        )


def _used_before(request_id: str) -> ReviewError:
    return ReviewError(
        f"Request {request_id} has already decided something else.",
        next_step="Send each new decision with a request id of its own.",
    )


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
    if told is None:
        _say_nothing_more(session, content, matched)
        return
    for row in matched:
        if row.effect != Effect.SHADOW:
            feedback.enqueue(session, row.entry_id, told, feedback.decision_key(decision.id, row.entry_id))


def _say_nothing_more(session: Session, content: Content, matched: Sequence[MatchRow]) -> None:
    """Drops what still waits to be told to the banks of this content."""
    decisions = session.scalars(select(DecisionRow.id).where(DecisionRow.content_id == content.id)).all()
    keys = [feedback.pending_key(row.entry_id) for row in matched]
    keys += [feedback.decision_key(earlier, row.entry_id) for earlier in decisions for row in matched]
    session.execute(
        update(Feedback)
        .where(Feedback.idempotency_key.in_(keys), Feedback.sent_at.is_(None), Feedback.dropped.is_(None))
        .values(dropped="suspected_minor")
    )


def _add_to_own_bank(session: Session, content: Content, origins: Sequence[int], source: str) -> None:
    """A video's MD5 and its frames as one vPDQ; the hash of a picture, and of each that it shows in turn."""
    if content.kind == Kind.VIDEO and content.md5 is not None:
        add_own(session, VIDEO_MD5, content.md5, 100, origins, source=source)
    frames = []
    for view in content.fingerprint or []:
        found, quality, time = bytes.fromhex(view["hash"]), view["quality"], view["time"]
        if view.get("signal_type") == VPDQ:
            frames.append(Frame(found, quality, min(time, MAX_TIME)))
        elif content.kind != Kind.VIDEO and quality >= OWN_QUALITY:
            add_own(session, PDQ, found, quality, origins, source=source)
    if any(frame.quality >= OWN_QUALITY for frame in frames):
        add_own(session, VPDQ, pack_frames(frames), 100, origins, source=source)


def _move_uploads(
    session: Session,
    content: Content,
    policy: PolicySettings,
    verdict: Verdict,
    *,
    actor: str,
    review: Review,
) -> tuple[tuple[tuple[int, Lane], ...], int]:
    target = TARGET[verdict]
    moved = []
    kept = 0
    uploads = session.scalars(
        select(Upload).where(Upload.content_id == content.id).order_by(Upload.id).with_for_update()
    ).all()
    for upload in uploads:
        state = State(upload.state)
        if state is target or target not in ALLOWED[state]:
            continue
        if upload.access_applied in {PURGED, PURGING}:
            kept += 1
            continue
        transition(session, upload, target, actor=f"reviewer:{actor}", reason=f"decided_{verdict}")
        # Announced lately for its scan, perhaps: the effect must not wait for that to age.
        upload.announced_at = None
        if target is State.REMOVED:
            upload.purge_at = func.clock_timestamp() + timedelta(seconds=policy.removal_delay)
        outbox.tell_state(session, upload, review_id=review.id)
        moved.append((upload.id, Lane(upload.lane)))
    return tuple(moved), kept
