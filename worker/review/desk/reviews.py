"""Reviews and verdicts: one decision is about a content and holds for all its uploads, those to come as well.

Near copies that a person has in hand together are decided together, in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from config.database import Sessions
from config.policy import PolicySettings
from config.words import _
from worker.domain import Verdict
from worker.review import audit
from worker.review.desk import appeals, claims
from worker.review.desk.checks import (
    ReviewError,
    Said,
    SecondPersonError,
    check_open,
    check_right,
    check_texts,
    check_typed,
    minors_two,
    undone_since,
    uploads_in,
    used_before,
)
from worker.review.desk.enact import FEEDBACK, TARGET, Moved, enact
from worker.review.desk.second import RELEASES, needs_second, next_stage, opinions_on
from worker.review.desk.together import request_of
from worker.store import clusters, contents
from worker.store.desk import ClaimRow, Opinion, Stage
from worker.store.models import Content, DecisionRow, Review

__all__ = ["FEEDBACK", "TARGET", "Decided", "ReviewError", "SecondPersonError", "decide_review", "uploads_in"]


@dataclass(frozen=True, slots=True)
class Decided:
    """What one decision did.

    `moved` are the uploads that changed state, with the lane that makes their effect hold. `kept` counts uploads that
    the verdict would have brought back and whose bytes are deleted, or are being deleted at this moment. `waits` is
    what the reviews wait for where nothing was enacted: second or adjudication; then there is no `decision_id`.
    """

    decision_id: int | None
    verdict: Verdict
    moved: Moved = ()
    kept: int = 0
    repeated: bool = False
    waits: str = ""


def decide_review(
    sessions: Sessions,
    policy: PolicySettings,
    review_id: int,
    verdict: Verdict,
    *,
    actor: str,
    request_id: str,
    reason: str = "",
    claim: UUID | None = None,
    force: bool = False,
    also: Sequence[int] = (),
    typed: int | None = None,
    most_released: int | None = None,
) -> Decided:
    """Takes a verdict on a review: moves all uploads of its content and queues what follows, in one transaction.

    With `claim` the review, and each of `also`, must be in this person's hands by that token. Without, an operator
    decides: not what somebody has in hand, unless `force`. A suspected minor needs no claim. Over 25 uploads `typed`
    is their number as the person saw it. Where policy asks for a second person, the verdict is kept and nothing moves.

    The same `request_id` decides once, however often it is sent. An operator can decide a decided review again: the
    newer verdict counts, and what the older did is undone as far as the bytes are still there.
    Raises ReviewError when there is no such review, it is not for this person, `request_id` belongs to another
    decision, or a text is too long or holds control characters; ClaimError when the claim is gone; SecondPersonError,
    and decides nothing, where one person alone would release more than `most_released` uploads.
    """
    said = Said(verdict, actor, request_id, reason, claim, force, typed, most_released)
    check_texts(said)
    try:
        with sessions.begin() as session:
            return _decide(session, policy, review_id, also, said)
    except IntegrityError:
        # Two callers sent one request id for two contents at the same moment; the other one was first.
        raise used_before(request_id) from None


def decide_approved(
    session: Session,
    policy: PolicySettings,
    review_id: int,
    verdict: Verdict,
    *,
    actor: str,
    request_id: str,
    reason: str,
    also: Sequence[int] = (),
) -> Decided:
    """Takes a verdict that another person has approved, in the transaction of the caller.

    Whoever has the reviews in hand loses them. Raises ReviewError as `decide_review`, and for reviews that were decided
    since.
    """
    said = Said(verdict, actor, request_id, reason, claim=None, force=True, typed=None, most_released=None)
    check_texts(said)
    return _decide(session, policy, review_id, also, said, approved=True)


def _decide(
    session: Session,
    policy: PolicySettings,
    review_id: int,
    also: Sequence[int],
    said: Said,
    *,
    approved: bool = False,
) -> Decided:
    wanted = sorted({review_id, *also})
    stages = dict(session.execute(select(Review.content_id, Review.stage).where(Review.id.in_(wanted))).all())
    if Stage.APPEAL in stages.values():
        appeals.one_at_a_time(session)
        if said.verdict not in appeals.UPHOLD:
            appeals.lock_all_in_doubt(session, [*stages])
    locked = lock_reviews(session, wanted)
    if review_id not in locked or len(locked) != len(wanted):
        raise ReviewError(
            _("There is no review %(review)s.", review=review_id),
            next_step=_("`hashwarden reviews` lists the open ones."),
        )
    review, content = locked[review_id]
    repeated = _repeated(session, review, content, said)
    if repeated is not None:
        return repeated
    if said.verdict is Verdict.SUSPECTED_MINOR:
        _check_near(session, content, [each.content_id for each, _content in locked.values()])
        # Who marked one at the same moment was first: it is one case, which one overturn closes.
        locked = {
            each.id: (each, held)
            for each, held in locked.values()
            if each.state != "decided" or each.verdict != Verdict.SUSPECTED_MINOR
        }
        if not locked:
            return Decided(review.decision_id, said.verdict, repeated=True)
    for each, _content in locked.values():
        check_right(session, each, said)
    if approved:
        check_open([each for each, _content in locked.values()])
    elif said.verdict is not Verdict.SUSPECTED_MINOR:
        # Who came with a claim was told that it is gone, and no more.
        for each, _content in locked.values():
            if each.state == "decided" and each.verdict == Verdict.SUSPECTED_MINOR:
                raise minors_two(each.id)
        check_typed(session, [each.id for _review, each in locked.values()], said.typed)
    needs = [
        not approved
        and needs_second(session, policy.second_review, each, said.verdict, _standing(session, content))
        for each, content in locked.values()
    ]
    alone = said.verdict in RELEASES and not any(
        _released_before(session, each) for each, _content in locked.values()
    )
    was = {
        each.id: each.verdict if each.decision_id is not None else "" for each, _content in locked.values()
    }
    done = [
        _one(session, policy, each, content, said, needs=any(needs), lead=each.id == review_id)
        for each, content in locked.values()
    ]
    moved = tuple(upload for part in done for upload in part.moved)
    if alone and said.most_released is not None and len(moved) > said.most_released:
        raise SecondPersonError(
            _(
                "This would release %(number)s uploads at once; one person may release %(most)s.",
                number=len(moved),
                most=said.most_released,
            ),
            next_step=_("Somebody else has to approve it."),
        )
    for part, each_id in zip(done, locked, strict=True):
        _write_down(session, each_id, part, said, was[each_id])
    lead = next((part for part, each_id in zip(done, locked, strict=True) if each_id == review_id), done[0])
    return Decided(
        lead.decision_id,
        said.verdict,
        moved=moved,
        kept=sum(part.kept for part in done),
        waits=lead.waits,
    )


def lock_reviews(session: Session, review_ids: Sequence[int]) -> dict[int, tuple[Review, Content]]:
    """Reviews with their contents, locked in one order: contents first, as a scan locks them."""
    found = dict(session.execute(select(Review.id, Review.content_id).where(Review.id.in_(review_ids))).all())
    contents_ = session.scalars(
        select(Content).where(Content.id.in_(found.values())).order_by(Content.id).with_for_update()
    ).all()
    by_id = {content.id: content for content in contents_}
    reviews = session.scalars(
        select(Review)
        .where(Review.id.in_(found))
        .order_by(Review.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    return {review.id: (review, by_id[review.content_id]) for review in reviews}


def _repeated(session: Session, review: Review, content: Content, said: Said) -> Decided | None:
    earlier = session.scalar(select(DecisionRow).where(DecisionRow.request_id == said.request_id))
    if earlier is not None:
        if (earlier.content_id, earlier.kind, earlier.verdict, earlier.actor) != (
            content.id,
            "verdict",
            said.verdict,
            said.actor,
        ):
            raise used_before(said.request_id)
        if _undone(session, earlier):
            raise undone_since(review.id)
        return Decided(earlier.id, said.verdict, repeated=True)
    opinion = session.scalar(
        select(Opinion).where(
            or_(Opinion.request_id == said.request_id, Opinion.taken_back_by == said.request_id)
        )
    )
    if opinion is None:
        return None
    if (opinion.review_id, opinion.request_id, opinion.verdict, opinion.actor) != (
        review.id,
        said.request_id,
        said.verdict,
        said.actor,
    ):
        raise used_before(said.request_id)
    if not opinion.stands:
        raise undone_since(review.id)
    return Decided(opinion.decision_id, said.verdict, repeated=True, waits=review.stage)


def _undone(session: Session, decision: DecisionRow) -> bool:
    """Whether it was undone: only the newest decision on a content can be, so its undo comes right after it."""
    next_one = (
        select(DecisionRow.kind)
        .where(DecisionRow.content_id == decision.content_id, DecisionRow.id > decision.id)
        .order_by(DecisionRow.id)
        .limit(1)
    )
    return session.scalar(next_one) == "undo"


def _check_near(session: Session, content: Content, content_ids: Sequence[int]) -> None:
    """A suspected minor needs no claim, so what is marked along with one must be its near copies."""
    if {*content_ids} - {content.id, *session.scalars(clusters.copies_of(content.id))}:
        raise ReviewError(
            _("A suspected minor is marked together with near copies alone."),
            next_step=_("Mark the others each for itself."),
        )


def _released_before(session: Session, review: Review) -> bool:
    """Whether somebody else has said of this opening of the review that it may be released."""
    if review.state != "open":
        return False
    return any(opinion.verdict in RELEASES for opinion in opinions_on(session, review))


def _write_down(session: Session, review_id: int, done: Decided, said: Said, replaces: str) -> None:
    details: dict[str, audit.Detail] = {"verdict": said.verdict.value}
    if done.decision_id is None:
        details["waits_for"] = done.waits
    else:
        details |= {
            "decision": done.decision_id,
            "replaces": replaces,
            "moved": len(done.moved),
            "kept": done.kept,
        }
    action = "opinion" if done.decision_id is None else "decision"
    audit.record(session, actor=said.actor, action=action, subject=("review", review_id), details=details)


def _standing(session: Session, content: Content) -> str:
    decision = contents.standing_decision(session, content.id)
    return decision.verdict if decision is not None else ""


def _one(
    session: Session,
    policy: PolicySettings,
    review: Review,
    content: Content,
    said: Said,
    *,
    needs: bool,
    lead: bool,
) -> Decided:
    """One review: the verdict is kept for a second person, or enacted."""
    request_id = said.request_id if lead else request_of(said.request_id, review.id)
    stage = Stage(review.stage) if review.state == "open" else Stage.FIRST
    opinions = opinions_on(session, review) if review.state == "open" else ()
    first = Verdict(opinions[0].verdict) if opinions else None
    claimed_at = _claimed_at(session, review, said) if lead else None
    after = next_stage(stage, first, said.verdict, needs=needs)
    if after is not None:
        session.add(
            Opinion(
                review_id=review.id,
                actor=said.actor,
                verdict=said.verdict,
                reason=said.reason,
                request_id=request_id,
                claimed_at=claimed_at,
            )
        )
        if review.state != "open":
            # Decided again by an operator: it waits like any other, and what was decided stands until then.
            review.state = "open"
            review.closed_at = None
        review.stage = after
        claims.end(session, [review.id])
        return Decided(None, said.verdict, waits=after)
    done = enact(
        session,
        policy,
        review,
        content,
        said.verdict,
        actor=said.actor,
        request_id=request_id,
        reason=said.reason,
        claimed_at=claimed_at,
    )
    ids = [opinion.id for opinion in opinions]
    session.execute(update(Opinion).where(Opinion.id.in_(ids)).values(decision_id=done.decision.id))
    if stage is Stage.APPEAL:
        appeals.conclude(session, review, done.decision, said.verdict)
    return Decided(done.decision.id, said.verdict, moved=done.moved, kept=done.kept)


def _claimed_at(session: Session, review: Review, said: Said) -> datetime | None:
    """Since when this person has the review in hand by the claim that they decide by."""
    row = session.get(ClaimRow, review.id)
    if row is None or said.claim is None or (row.token, row.actor) != (said.claim, said.actor):
        return None
    return row.claimed_at
