"""Appeals against removals: somebody who took no part in it decides again, and an overturn puts others in doubt.

An open appeal is its review, opened again at the stage `appeal`: it has a deadline, a claim and a decision like any
other. While it is open nothing of the content is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from config.database import Sessions
from config.deadlines import DEFAULT
from config.errors import HashwardenError
from config.policy import PolicySettings
from config.settings import Settings
from config.words import _
from worker.act import PURGING
from worker.domain import PURGED, Effect, State, Verdict
from worker.review import audit
from worker.review.desk.offers import names_of
from worker.store.appeal_rows import Appeal
from worker.store.desk import DecisionEffect, Opinion, Stage
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload

REOPENED = "reopened"
"""The cause of a review whose removal rests on an entry that an overturned one rested on."""

MAX_REASON = 4000

UPHOLD = frozenset({Verdict.CONFIRMED, Verdict.SUSPECTED_MINOR})
"""Every other verdict on an appeal overturns the removal."""

_LOCK = 0x4857_0008


class AppealError(HashwardenError):
    """An appeal that can't be opened."""

    code = "appeal"


@dataclass(frozen=True, slots=True)
class Opened:
    """`known`: the removal was appealed already, and the first appeal counts."""

    appeal_id: int
    review_id: int
    known: bool = False


def open_appeal(
    sessions: Sessions, settings: Settings, upload_id: int, *, reason: str, actor: str, source: str
) -> Opened:
    """Opens an appeal against the removal of an upload; of one that is open already the first counts.

    `source` is api, terminal or page. Raises AppealError when the upload was not removed by a decision, or the reason
    is missing or too long.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise AppealError(
            _("An appeal needs a reason of 1 to %(most)s characters.", most=MAX_REASON),
            next_step=_("Give one and send it again."),
        )
    with sessions.begin() as session:
        content_id = session.scalar(select(Upload.content_id).where(Upload.id == upload_id))
        content = session.get(Content, content_id, with_for_update=True) if content_id is not None else None
        review = (
            session.scalar(
                select(Review)
                .where(Review.content_id == content.id)
                .with_for_update()
                .execution_options(populate_existing=True)
            )
            if content is not None
            else None
        )
        if review is None:
            raise not_removed(upload_id)
        known = session.scalar(select(Appeal).where(Appeal.review_id == review.id, Appeal.state == "open"))
        if known is not None:
            return Opened(known.id, review.id, known=True)
        upload = session.get_one(Upload, upload_id)
        if (
            review.verdict != Verdict.CONFIRMED
            or review.decision_id is None
            or review.stage != Stage.FIRST
            or upload.state != State.REMOVED
        ):
            raise not_removed(upload_id)
        appeal = Appeal(
            review_id=review.id,
            upload_id=upload_id,
            decision_id=review.decision_id,
            source=source,
            reason=reason,
            opened_by=actor,
        )
        session.add(appeal)
        now = func.clock_timestamp()
        review.state = "open"
        review.stage = Stage.APPEAL
        review.asked = False
        review.closed_at = None
        review.opened_at = now
        hours = settings.deadlines.hours([DEFAULT], upload.bucket, upload.key)
        review.due_at = now + timedelta(hours=hours)
        review.warned = 0
        keep_bytes(session, content_id)
        session.flush()
        audit.record(
            session,
            actor=actor,
            action="appeal",
            subject=("review", review.id),
            details={"appeal": appeal.id, "upload": upload_id, "source": source},
        )
        return Opened(appeal.id, review.id)


def one_at_a_time(session: Session) -> None:
    """For who decides an appeal, before anything is locked: an overturn goes on to lock what others may hold."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def not_removed(upload_id: int) -> AppealError:
    return AppealError(
        _("Upload %(upload)s was not removed by a decision that can be appealed.", upload=upload_id),
        next_step=_("`hashwarden uploads ID` shows its state and history."),
    )


def keep_bytes(session: Session, content_id: int | None) -> None:
    """Stops what would delete the bytes of a removed content; the verdict that ends this starts it again."""
    session.execute(
        update(Upload)
        .where(
            Upload.content_id == content_id,
            Upload.state == State.REMOVED,
            Upload.access_applied.not_in([PURGED, PURGING]),
        )
        .values(purge_at=None)
    )


def open_appeal_of(session: Session, review_id: int) -> Appeal | None:
    return session.scalar(select(Appeal).where(Appeal.review_id == review_id, Appeal.state == "open"))


def overturned_own(session: Session, outcome_id: int, actor: str) -> bool:
    """Whether this decision ended an appeal against what this person had decided, or had agreed to."""
    names = names_of(actor)
    agreed = exists().where(Opinion.decision_id == Appeal.decision_id, Opinion.actor.in_(names))
    own = (
        select(Appeal.id)
        .join(DecisionRow, DecisionRow.id == Appeal.decision_id)
        .where(Appeal.outcome_id == outcome_id, or_(DecisionRow.actor.in_(names), agreed))
    )
    return session.scalar(own.limit(1)) is not None


def conclude(session: Session, review: Review, decision: DecisionRow, verdict: Verdict) -> None:
    """Ends the appeal that a review waited for. After an overturn the entry's other removals are looked at again."""
    appeal = open_appeal_of(session, review.id)
    if appeal is None:
        return
    overturned = verdict not in UPHOLD
    appeal.state = "overturned" if overturned else "upheld"
    appeal.decided_by = decision.actor
    appeal.decided_at = func.clock_timestamp()
    appeal.outcome_id = decision.id
    if overturned:
        reopened = _reopen_others(session, review)
        effect = session.get_one(DecisionEffect, decision.id)
        effect.review = {**effect.review, "reopened": reopened}


def lock_all_in_doubt(session: Session, content_ids: Sequence[int]) -> None:
    """Locks these contents, decided together, and those that an overturn opens again, in the order of their ids.

    Every decision locks in this order: two never wait for each other.
    """
    wanted = or_(Content.id.in_(content_ids), Content.id.in_(_others(content_ids)))
    session.execute(select(Content.id).where(wanted).order_by(Content.id).with_for_update())


def _others(content_ids: Sequence[int]) -> Select[int]:
    """The other contents that matched an entry which one of these matched, and were removed by a decision."""
    entries = select(MatchRow.entry_id).where(
        MatchRow.content_id.in_(content_ids), MatchRow.effect != Effect.SHADOW
    )
    judged = aliased(Review)
    return (
        select(MatchRow.content_id)
        .join(judged, judged.content_id == MatchRow.content_id)
        .where(
            MatchRow.entry_id.in_(entries),
            MatchRow.content_id.not_in(content_ids),
            MatchRow.effect != Effect.SHADOW,
            judged.verdict == Verdict.CONFIRMED,
        )
    )


def _reopen_others(session: Session, review: Review) -> dict[str, str]:
    """Opens the reviews of other contents that were removed for an entry of this one; by their ids, since when.

    What another overturn has opened already is in doubt by this one too.
    """
    others = _others([review.content_id])
    # Nearly always locked already; what a scan has found since is not.
    session.execute(select(Content.id).where(Content.id.in_(others)).order_by(Content.id).with_for_update())
    removed = session.scalars(
        select(Review)
        .where(
            Review.content_id.in_(others),
            Review.verdict == Verdict.CONFIRMED,
            or_(Review.state == "decided", and_(Review.state == "open", Review.cause == REOPENED)),
        )
        .order_by(Review.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    now = session.scalars(select(func.clock_timestamp())).one()
    for other in removed:
        if other.state == "open":
            continue
        time = other.due_at - other.opened_at
        other.state = "open"
        other.stage = Stage.FIRST
        other.cause = REOPENED
        other.closed_at = None
        other.opened_at = now
        other.due_at = now + time
        other.warned = 0
        keep_bytes(session, other.content_id)
    return {str(other.id): other.opened_at.isoformat() for other in removed}


def reopen(
    session: Session,
    policy: PolicySettings,
    review: Review,
    decision: DecisionRow,
    reopened: Mapping[str, str],
) -> None:
    """Undoes `conclude`: the appeal is open again, and what the overturn had opened and nobody touched is closed.

    `reopened` is what `_reopen_others` answered. What was opened anew since, or is in doubt by another overturn that
    counts, stays open.
    """
    appeal = session.scalar(select(Appeal).where(Appeal.outcome_id == decision.id))
    if appeal is not None:
        appeal.state = "open"
        appeal.decided_by = ""
        appeal.decided_at = None
        appeal.outcome_id = None
    keep_bytes(session, review.content_id)
    others = session.scalars(
        select(Review)
        .where(
            Review.id.in_([int(each) for each in reopened]),
            Review.state == "open",
            Review.cause == REOPENED,
            Review.stage == Stage.FIRST,
        )
        .order_by(Review.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for other in others:
        since = reopened[str(other.id)]
        if other.opened_at != datetime.fromisoformat(since) or _in_doubt(session, other, since):
            continue
        other.state = "decided"
        other.cause = "match"
        other.closed_at = func.clock_timestamp()
        session.execute(
            update(Upload)
            .where(
                Upload.content_id == other.content_id,
                Upload.state == State.REMOVED,
                Upload.access_applied.not_in([PURGED, PURGING]),
            )
            .values(purge_at=func.clock_timestamp() + timedelta(seconds=policy.removal_delay))
        )


def _in_doubt(session: Session, review: Review, since: str) -> bool:
    """Whether an overturn that counts has put it in doubt since then."""
    session.flush()
    overturn = (
        select(Appeal.id)
        .join(DecisionEffect, DecisionEffect.decision_id == Appeal.outcome_id)
        .where(
            Appeal.state == "overturned", DecisionEffect.review["reopened"][str(review.id)].astext == since
        )
        .limit(1)
    )
    return session.scalar(overturn) is not None
