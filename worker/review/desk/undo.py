"""Takes a decision back: exactly what it changed is put back, and the review is in the undoer's hands again.

The decision stays in the record; a row of kind `undo` says that it counts no more, and what counts instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from bank_sync import feedback
from bank_sync.bank import BankEntry, Feedback
from config.database import Sessions
from config.policy import PolicySettings
from config.words import _
from worker.act import PURGING
from worker.domain import PURGED, Access, Effect, Lane, State, Verdict
from worker.review import audit
from worker.review.desk import appeals, claims
from worker.review.desk.checks import (
    MAX_ACTOR,
    MAX_REASON,
    MAX_REQUEST_ID,
    ReviewError,
    SecondPersonError,
    check_text,
    minors_two,
    used_before,
)
from worker.review.desk.enact import TARGET, Moved, matches_of, move, support_own_bank, uploads_of
from worker.review.desk.reviews import lock_reviews
from worker.review.desk.second import opinions_on
from worker.review.desk.together import form_of, request_of, said_of
from worker.review.minors import cases
from worker.store import contents
from worker.store.desk import DecisionEffect, Opinion, Stage
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload
from worker.store.transitions import ALLOWED, access_of

WINDOW = timedelta(minutes=10)
"""How long who decided may take it back; a lead may as long as the bytes are there."""

REASON = "undone"

_MOST_UNDOABLE = 20


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did. `served`: how many of those that it moved are served again; `kept`: uploads whose bytes are
    deleted. `undo_id` is None where only an opinion was taken back."""

    undo_id: int | None
    moved: Moved = ()
    served: int = 0
    kept: int = 0
    repeated: bool = False
    proposal_id: int | None = None
    """Nothing was undone: it waits for another person."""


@dataclass(frozen=True, slots=True)
class Mine:
    """A decision of a person's own that they may still undo."""

    review_id: int
    verdict: str
    until: datetime
    together: tuple[int, ...] = ()
    """The other reviews that the same form decided."""


def undo(
    sessions: Sessions,
    policy: PolicySettings,
    review_id: int,
    *,
    actor: str,
    request_id: str,
    reason: str = "",
    also: Sequence[int] = (),
    lead: bool = False,
    most_released: int | None = None,
) -> Undone:
    """Takes back the decision that counts on a review, or this person's verdict that waits for a second one.

    Who decided has ten minutes; a `lead` may until the bytes are deleted. The same `request_id` undoes once. `also`
    are reviews that were decided together with it: all of them are undone, or none.
    Raises ReviewError when there is nothing to undo, it is too late, it was somebody else's, or it is a suspected
    minor's; SecondPersonError, and undoes nothing, where a lead alone would serve more than `most_released` uploads
    again.
    """
    check_text("name", actor, MAX_ACTOR, needed=True)
    check_text("request id", request_id, MAX_REQUEST_ID, needed=True)
    check_text("reason", reason, MAX_REASON)
    with sessions.begin() as session:
        appeals.one_at_a_time(session)
        wanted = sorted({review_id, *also})
        locked = lock_reviews(session, wanted)
        for each in wanted:
            if each not in locked:
                raise ReviewError(
                    _("There is no review %(review)s.", review=each),
                    next_step=_("`hashwarden reviews --all` lists them."),
                )
        review, content = locked[review_id]
        earlier = session.scalar(select(DecisionRow).where(DecisionRow.request_id == request_id))
        if earlier is not None:
            if (earlier.content_id, earlier.kind, earlier.actor) != (content.id, "undo", actor):
                raise used_before(request_id)
            return Undone(earlier.id, repeated=True)
        said = session.scalar(
            select(Opinion).where(or_(Opinion.request_id == request_id, Opinion.taken_back_by == request_id))
        )
        if said is not None:
            if (said.review_id, said.taken_back_by, said.actor) != (review.id, request_id, actor):
                raise used_before(request_id)
            return Undone(None, repeated=True)
        given = said_of(session, Review.id.in_(wanted))
        for each in wanted:
            if given.get(each) != given.get(review_id):
                raise ReviewError(
                    _(
                        "Review %(other)s was not decided together with review %(review)s.",
                        other=each,
                        review=review_id,
                    ),
                    next_step=_("Undo it on its own page."),
                )
        token = uuid4()
        own, parts = True, {}
        for each, (other, held) in locked.items():
            named = request_id if each == review_id else request_of(request_id, each)
            if other.state == "open" and other.stage in {Stage.SECOND, Stage.ADJUDICATION}:
                parts[each] = _take_opinion_back(session, other, actor, named, token)
                continue
            own &= _check(session, other, actor)
            parts[each] = _undo(session, policy, other, held, actor, named, reason, lead, token)
        served = sum(part.served for part in parts.values())
        if not own and most_released is not None and served > most_released:
            raise SecondPersonError(
                _(
                    "This would serve %(number)s uploads again; one person may do that for %(most)s.",
                    number=served,
                    most=most_released,
                ),
                next_step=_("Somebody else has to approve it."),
            )
        return Undone(
            parts[review_id].undo_id,
            moved=tuple(upload for part in parts.values() for upload in part.moved),
            served=served,
            kept=sum(part.kept for part in parts.values()),
        )


def _check(session: Session, review: Review, actor: str) -> bool:
    """Whether what counts on a review is this person's own, of the last ten minutes. Raises ReviewError for what nobody
    undoes here."""
    if review.state == "decided" and review.verdict == Verdict.SUSPECTED_MINOR:
        raise minors_two(review.id)
    decided = session.get(DecisionRow, review.decision_id) if review.decision_id is not None else None
    if decided is not None and appeals.overturned_own(session, decided.id, actor):
        raise ReviewError(
            _("Review %(review)s needs another person than %(actor)s.", review=review.id, actor=actor),
            next_step=_("Have somebody decide it who took no part in it before."),
        )
    return decided is not None and decided.actor == actor and _within(session, decided.at) is not None


def undo_approved(
    session: Session,
    policy: PolicySettings,
    review_id: int,
    decision_id: int,
    *,
    actor: str,
    approved_by: str,
    request_id: str,
    reason: str,
) -> Undone:
    """Takes back a decision with another person's approval, in the transaction of the caller; a suspected minor's too.

    The review is in the hands of `actor`. Raises ReviewError when another decision counts by now.
    """
    appeals.one_at_a_time(session)
    locked = lock_reviews(session, [review_id])
    if review_id not in locked or locked[review_id][0].decision_id != decision_id:
        raise ReviewError(
            _("Review %(review)s was decided again since this was proposed.", review=review_id),
            next_step=_("Reject the proposal."),
        )
    review, content = locked[review_id]
    closing = review.verdict == Verdict.SUSPECTED_MINOR
    if closing:
        # Before the audit log's head, as who marks a case as reported has them: neither waits for the other.
        cases.lock_case(session, review_id)
    undone = _undo(session, policy, review, content, actor, request_id, reason, lead=True, token=uuid4())
    if closing and review.verdict != Verdict.SUSPECTED_MINOR:
        cases.close_case(session, review_id, proposed_by=actor, approved_by=approved_by)
    return undone


def may_undo(session: Session, review: Review, actor: str, *, lead: bool) -> datetime | None:
    """Until when this person may undo what was last said on the review; None when they may not."""
    if review.state == "decided":
        row = session.get(DecisionRow, review.decision_id)
        effect = session.get(DecisionEffect, review.decision_id)
        if row is None or effect is None or review.verdict == Verdict.SUSPECTED_MINOR:
            return None
        if appeals.overturned_own(session, row.id, actor):
            return None
    elif review.stage in {Stage.SECOND, Stage.ADJUDICATION}:
        given = opinions_on(session, review)
        if not given or given[-1].actor != actor:
            return None
        return _within(session, given[-1].at)
    else:
        return None
    if lead:
        return datetime.max.replace(tzinfo=row.at.tzinfo)
    return _within(session, row.at) if row.actor == actor else None


def undoable(session: Session, actor: str) -> list[Mine]:
    """What this person decided in the last ten minutes and still counts, the newest first; what was decided together
    is one."""
    rows = session.execute(
        select(Review.id, DecisionRow.verdict, DecisionRow.at, DecisionRow.request_id)
        # By the content too: that is how reviews are found.
        .join(
            DecisionRow,
            and_(DecisionRow.id == Review.decision_id, DecisionRow.content_id == Review.content_id),
        )
        .where(
            Review.state == "decided",
            Review.verdict != Verdict.SUSPECTED_MINOR,
            DecisionRow.actor == actor,
            DecisionRow.at > func.clock_timestamp() - WINDOW,
        )
        .order_by(DecisionRow.id.desc())
        .limit(_MOST_UNDOABLE)
    )
    found: dict[str, Mine] = {}
    for row in rows:
        form = form_of(row.request_id, row.id)
        if form in found:
            mine = found[form]
            found[form] = replace(mine, together=(*mine.together, row.id))
        else:
            found[form] = Mine(row.id, row.verdict, row.at + WINDOW)
    return list(found.values())


def _within(session: Session, at: datetime) -> datetime | None:
    now = session.scalars(select(func.clock_timestamp())).one()
    return at + WINDOW if now <= at + WINDOW else None


def _take_opinion_back(session: Session, review: Review, actor: str, request_id: str, token: UUID) -> Undone:
    given = opinions_on(session, review)
    if not given or given[-1].actor != actor:
        raise ReviewError(
            _("The last verdict on review %(review)s is not yours.", review=review.id),
            next_step=_("Ask who gave it."),
        )
    if _within(session, given[-1].at) is None:
        raise _too_late(review)
    held = claims.claim_of(session, review.id)
    if held is not None and held.actor != actor:
        raise ReviewError(
            _("Review %(review)s is in another person's hands by now.", review=review.id),
            next_step=_("If you two disagree, a third person decides."),
        )
    given[-1].stands = False
    given[-1].taken_back_by = request_id
    review.stage = Stage.SECOND if len(given) > 1 else Stage.FIRST
    claims.give(session, review.id, actor, token)
    audit.record(
        session,
        actor=actor,
        action="opinion_taken_back",
        subject=("review", review.id),
        details={"verdict": given[-1].verdict},
    )
    return Undone(None)


def _undo(
    session: Session,
    policy: PolicySettings,
    review: Review,
    content: Content,
    actor: str,
    request_id: str,
    reason: str,
    lead: bool,
    token: UUID,
) -> Undone:
    decision = session.get(DecisionRow, review.decision_id) if review.decision_id is not None else None
    effect = session.get(DecisionEffect, review.decision_id) if review.decision_id is not None else None
    standing = contents.standing_decision(session, content.id)
    if review.state != "decided" or decision is None or effect is None or standing is None:
        raise ReviewError(
            _("Review %(review)s has no decision to undo.", review=review.id),
            next_step=_("Decide it instead."),
        )
    if standing.id != decision.id:
        raise ReviewError(
            _("Review %(review)s was decided again since.", review=review.id),
            next_step=_("Open it again and look at what counts."),
        )
    if not lead:
        if decision.actor != actor:
            raise ReviewError(
                _("Somebody else decided review %(review)s.", review=review.id),
                next_step=_("Ask them, or a lead, to undo it."),
            )
        if _within(session, decision.at) is None:
            raise _too_late(review)
    before = session.get(DecisionRow, effect.before) if effect.before is not None else None
    counts = Verdict(before.verdict) if before is not None and before.verdict else None
    row = DecisionRow(
        content_id=content.id,
        verdict=counts or "",
        actor=actor,
        reason=reason,
        request_id=request_id,
        kind="undo",
    )
    session.add(row)
    session.flush()
    _restore_matches(session, content, effect, decision)
    matched = matches_of(session, content)
    support_own_bank(session, content, matched, counts)
    _restore_feedback(session, matched, effect, decision, row)
    _restore_review(session, review, effect, decision)
    moved, served, kept = _restore_uploads(session, policy, review, content, effect, decision, counts, actor)
    if effect.review["stage"] == Stage.APPEAL:
        appeals.reopen(session, policy, review, decision, effect.review.get("reopened", {}))
    if review.state == "open":
        claims.give(session, review.id, actor, token)
    audit.record(
        session,
        actor=actor,
        action="undo",
        subject=("review", review.id),
        details={
            "decision": row.id,
            "undoes": decision.id,
            "verdict": decision.verdict,
            "counts": counts.value if counts is not None else "",
            "moved": len(moved),
            "kept": kept,
        },
    )
    return Undone(row.id, moved, served, kept)


def _too_late(review: Review) -> ReviewError:
    minutes = WINDOW.total_seconds() / 60
    return ReviewError(
        _(
            "The %(minutes)s minutes in which review %(review)s could be undone are over.",
            minutes=round(minutes),
            review=review.id,
        ),
        next_step=_("A lead can still undo it while the bytes are there."),
    )


def _restore_matches(
    session: Session, content: Content, effect: DecisionEffect, decision: DecisionRow
) -> None:
    for match in matches_of(session, content):
        if str(match.id) in effect.dismissed:
            match.dismissed_by = effect.dismissed[str(match.id)]
        elif match.dismissed_by == decision.id:
            match.dismissed_by = None
    session.flush()


def _restore_feedback(
    session: Session,
    matched: Sequence[MatchRow],
    effect: DecisionEffect,
    decision: DecisionRow,
    row: DecisionRow,
) -> None:
    entries = sorted(match.entry_id for match in matched)
    feedback.take_back(
        session,
        [feedback.decision_key(decision.id, entry) for entry in entries],
        lambda entry: feedback.decision_key(row.id, entry),
    )
    session.execute(
        update(Feedback)
        .where(Feedback.id.in_(effect.review.get("dropped", [])), Feedback.dropped == "suspected_minor")
        .values(dropped=None)
    )


def _restore_review(session: Session, review: Review, effect: DecisionEffect, decision: DecisionRow) -> None:
    was = effect.review
    review.state, review.stage, review.cause, review.asked = (
        was["state"],
        was["stage"],
        was["cause"],
        was["asked"],
    )
    review.verdict, review.decision_id = was["verdict"], was["decision_id"]
    review.closed_at = datetime.fromisoformat(was["closed_at"]) if was["closed_at"] else None
    review.preserve_until = datetime.fromisoformat(was["preserve_until"]) if was["preserve_until"] else None
    # Who took part before the last word still has: the review waits for what it waited for.
    session.execute(update(Opinion).where(Opinion.decision_id == decision.id).values(decision_id=None))
    session.flush()


def _restore_uploads(
    session: Session,
    policy: PolicySettings,
    review: Review,
    content: Content,
    effect: DecisionEffect,
    decision: DecisionRow,
    counts: Verdict | None,
    actor: str,
) -> tuple[Moved, int, int]:
    """What the decision moved goes back; what came since, and was judged by it, goes where it would be without it.

    What moved, how many of it are served again, and how many can't come back.
    """
    by_it = {f"decided_{decision.verdict}", f"retro_decided_{decision.verdict}"}
    moved = []
    served = kept = 0
    for upload in uploads_of(session, content.id):
        was = effect.uploads.get(str(upload.id))
        if upload.reason not in by_it or (was is None and upload.state_since < decision.at):
            continue
        target = _where(session, upload, was, counts)
        if target is None or target == upload.state or target not in ALLOWED[State(upload.state)]:
            continue
        if upload.access_applied in {PURGED, PURGING}:
            kept += 1
            continue
        denied = access_of(State(upload.state)) is not Access.SERVED
        served += denied and access_of(target) is Access.SERVED
        move(session, upload, target, policy, actor=actor, reason=REASON, review=review)
        upload.reason = was[1] if was is not None else "match"
        moved.append((upload.id, Lane(upload.lane)))
    return tuple(moved), served, kept


def _where(session: Session, upload: Upload, was: list[str] | None, counts: Verdict | None) -> State | None:
    """The state without the decision; None where nothing says so, and the upload stays under its review."""
    if was is not None and was[0] not in {State.PENDING, State.SCANNING}:
        return State(was[0])
    if counts is not None:
        return TARGET[counts]
    for effect, state in ((Effect.HOLD, State.HELD), (Effect.FLAG, State.FLAGGED)):
        stands = exists().where(
            MatchRow.content_id == upload.content_id,
            MatchRow.effect == effect,
            MatchRow.dismissed_by.is_(None),
            BankEntry.id == MatchRow.entry_id,
            BankEntry.live.is_(True),
        )
        if session.scalar(select(stands)):
            return state
    return None
