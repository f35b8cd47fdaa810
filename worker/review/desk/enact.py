"""What a verdict does: moves the uploads of a content, remembers, tells the banks; and writes down what it changed.

The caller has locked the content and the review, and commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from bank_sync import feedback
from bank_sync.bank import Feedback
from bank_sync.own_bank import add_own, remove_own
from bank_sync.signals import MAX_TIME, PDQ, VIDEO_MD5, VPDQ, Frame, pack_frames
from config.policy import PolicySettings
from worker import outbox
from worker.act import PURGING
from worker.domain import PURGED, Effect, Kind, Lane, State, Verdict
from worker.review.desk import claims
from worker.review.minors import cases
from worker.store import contents
from worker.store.desk import DecisionEffect, Stage
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

Moved = tuple[tuple[int, Lane], ...]
"""Uploads that changed state, with the lane that makes their effect hold."""


@dataclass(frozen=True, slots=True)
class Enacted:
    """`kept` counts uploads that would have been brought back and whose bytes are deleted, or just being deleted."""

    decision: DecisionRow
    moved: Moved
    kept: int


def enact(
    session: Session,
    policy: PolicySettings,
    review: Review,
    content: Content,
    verdict: Verdict,
    *,
    actor: str,
    request_id: str,
    reason: str,
    claimed_at: datetime | None = None,
) -> Enacted:
    """Takes the decision. What it changed goes into `decision_effects`, for its undo."""
    before = contents.standing_decision(session, content.id)
    decision = DecisionRow(
        content_id=content.id,
        verdict=verdict,
        actor=actor,
        reason=reason,
        request_id=request_id,
        claimed_at=claimed_at,
    )
    session.add(decision)
    session.flush()
    dismissals = session.execute(
        select(MatchRow.id, MatchRow.dismissed_by).where(MatchRow.content_id == content.id)
    ).all()
    was = review_as_it_is(review)
    review.state = "decided"
    review.verdict = verdict
    review.stage = Stage.FIRST
    review.asked = False
    review.closed_at = func.clock_timestamp()
    review.decision_id = decision.id
    review.preserve_until = (
        cases.open_case(session, policy, review, content, decision).preserve_until
        if verdict is Verdict.SUSPECTED_MINOR
        else None
    )
    claims.end(session, [review.id])
    dropped = remember(session, content, decision, verdict)
    states, moved, kept = _move_uploads(session, content, policy, verdict, actor=actor, review=review)
    session.add(
        DecisionEffect(
            decision_id=decision.id,
            uploads=states,
            dismissed={str(row.id): row.dismissed_by for row in dismissals},
            before=before.id if before is not None else None,
            review={**was, "dropped": dropped},
        )
    )
    return Enacted(decision, moved, kept)


def review_as_it_is(review: Review) -> dict[str, Any]:
    """What of a review a decision changes."""
    closed, kept = review.closed_at, review.preserve_until
    return {
        "state": review.state,
        "stage": review.stage,
        "cause": review.cause,
        "asked": review.asked,
        "verdict": review.verdict,
        "decision_id": review.decision_id,
        "closed_at": closed.isoformat() if closed is not None else None,
        "preserve_until": kept.isoformat() if kept is not None else None,
    }


def remember(session: Session, content: Content, decision: DecisionRow, verdict: Verdict) -> list[int]:
    """Own bank, dismissed entries and feedback to the banks; the ids of feedback that it dropped."""
    matched = matches_of(session, content)
    support_own_bank(session, content, matched, verdict)
    if verdict is Verdict.CONFIRMED:
        contents.dismiss(session, content.id, None)
    elif verdict is not Verdict.SUSPECTED_MINOR:
        contents.dismiss(session, content.id, decision.id)
    told = FEEDBACK.get(verdict)
    if told is None:
        return _say_nothing_more(session, content, matched)
    for row in sorted(matched, key=lambda row: row.entry_id):
        if row.effect != Effect.SHADOW:
            feedback.enqueue(session, row.entry_id, told, feedback.decision_key(decision.id, row.entry_id))
    return []


def matches_of(session: Session, content: Content) -> Sequence[MatchRow]:
    return session.scalars(select(MatchRow).where(MatchRow.content_id == content.id)).all()


def support_own_bank(
    session: Session, content: Content, matched: Sequence[MatchRow], verdict: Verdict | None
) -> None:
    """Makes the own bank hold the content's hashes where it is confirmed or a suspected minor, and nothing of it else.

    A suspected minor's stand by themselves, as the memory of its content does: a bank that withdraws takes back what
    its victim gave it, and not what the law asks the platform to withhold. Its near copies are held for a person, like
    those of what was confirmed; no other bank is told.
    """
    source = f"content:{content.id}"
    remove_own(session, source)
    if verdict is Verdict.CONFIRMED:
        _add_to_own_bank(session, content, [row.entry_id for row in matched], source)
    elif verdict is Verdict.SUSPECTED_MINOR:
        _add_to_own_bank(session, content, (), source)


def _say_nothing_more(session: Session, content: Content, matched: Sequence[MatchRow]) -> list[int]:
    """Drops what still waits to be told to the banks of this content; the ids of it."""
    decisions = session.scalars(select(DecisionRow.id).where(DecisionRow.content_id == content.id)).all()
    keys = [feedback.pending_key(row.entry_id) for row in matched]
    keys += [feedback.decision_key(earlier, row.entry_id) for earlier in decisions for row in matched]
    dropped = session.execute(
        update(Feedback)
        .where(Feedback.idempotency_key.in_(keys), Feedback.sent_at.is_(None), Feedback.dropped.is_(None))
        .values(dropped="suspected_minor")
        .returning(Feedback.id)
    )
    return list(dropped.scalars())


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
) -> tuple[dict[str, list[str]], Moved, int]:
    """State and reason that uploads came from by id, what moved, and how many can't come back."""
    target = TARGET[verdict]
    came_from: dict[str, list[str]] = {}
    moved = []
    kept = 0
    for upload in uploads_of(session, content.id):
        state = State(upload.state)
        if state is target or target not in ALLOWED[state]:
            if state is State.REMOVED and upload.purge_at is None and upload.access_applied != PURGED:
                # An appeal had stopped its deletion.
                upload.purge_at = func.clock_timestamp() + timedelta(seconds=policy.removal_delay)
            continue
        if upload.access_applied in {PURGED, PURGING}:
            kept += 1
            continue
        came_from[str(upload.id)] = [state, upload.reason]
        move(session, upload, target, policy, actor=actor, reason=f"decided_{verdict}", review=review)
        moved.append((upload.id, Lane(upload.lane)))
    return came_from, tuple(moved), kept


def uploads_of(session: Session, content_id: int) -> Sequence[Upload]:
    """The uploads of a content, locked."""
    return session.scalars(
        select(Upload).where(Upload.content_id == content_id).order_by(Upload.id).with_for_update()
    ).all()


def move(
    session: Session,
    upload: Upload,
    target: State,
    policy: PolicySettings,
    *,
    actor: str,
    reason: str,
    review: Review,
) -> None:
    """Moves a locked upload by a person's word, and tells the platform."""
    # An operator's name says already what it is.
    by = actor if ":" in actor else f"reviewer:{actor}"
    transition(session, upload, target, actor=by, reason=reason)
    # Announced lately for its scan, perhaps: the effect must not wait for that to age.
    upload.announced_at = None
    if target is State.REMOVED:
        upload.purge_at = func.clock_timestamp() + timedelta(seconds=policy.removal_delay)
    outbox.tell_state(session, upload, review_id=review.id)
