"""Claims: one person has a review, by a lease that ends by itself, and gives it back in any way without a reason.

The row of `review_claims` is the claim: its key is the review, so that there is never a second one. Everything that
takes or uses a claim locks the review first. Time is the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from config.database import Sessions
from config.errors import HashwardenError
from config.words import _
from worker.review import audit
from worker.review.desk.offers import QUEUE_ORDER, in_hand, of_bank, offered_to, open_to
from worker.store import clusters
from worker.store.desk import ClaimRow, PassKind, PassRow, Stage
from worker.store.models import Review

LEASE = timedelta(minutes=5)
"""How long a claim lasts after its last sign of life."""

MOST = 3
"""Claims that a person may have at once; a cluster counts once."""

_TRIES = 10

_STEPS = {PassKind.SKIPPED: "skip", PassKind.RECUSED: "recusal", PassKind.ASKED: "second_person_asked"}
"""What the audit log calls each way of stepping back."""


class ClaimError(HashwardenError):
    """A review that can't be taken, or a claim that is gone."""

    code: ClassVar[str] = "claim"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a person has in hand. `reviews` begins with the one that was asked for; `left` is seconds."""

    token: UUID
    actor: str
    reviews: tuple[int, ...]
    lease_until: datetime
    left: float


def take(sessions: Sessions, review_id: int, actor: str) -> Claim:
    """Takes a review with the near copies that are free; one's own claim again is renewed.

    Raises ClaimError when it is not open, in other hands, not for this person, or when they have three already.
    """
    with sessions.begin() as session:
        _one_at_a_time(session, actor)
        review = session.scalar(select(Review).where(Review.id == review_id).with_for_update())
        if review is None or review.state != "open":
            raise ClaimError(
                _("Review %(review)s does not wait for a decision.", review=review_id),
                next_step=_("Take the next one of the queue."),
            )
        mine = _live(session, review_id)
        if mine is not None and mine.actor == actor:
            return _renew(session, mine.token, review_id)
        if session.scalar(select(Review.id).where(Review.id == review_id, open_to(actor))) is None:
            if review.stage == Stage.ADJUDICATION:
                raise ClaimError(
                    _(
                        "Two persons disagree on review %(review)s: an adjudicator decides who took no part in it.",
                        review=review_id,
                    ),
                    next_step=_("Take the next one of the queue."),
                )
            raise ClaimError(
                _(
                    "Review %(review)s is for somebody else: you decided it, stepped back or asked for another "
                    "person.",
                    review=review_id,
                ),
                next_step=_("Take the next one of the queue."),
            )
        _room(session, actor)
        claim = _write(session, review, actor)
        if claim is None:
            raise ClaimError(
                _("Somebody else has review %(review)s.", review=review_id),
                next_step=_("Take the next one of the queue; it comes back when they hand it back or leave."),
            )
        _record(session, actor, "claim", claim.reviews)
        return claim


def take_next(sessions: Sessions, actor: str, bank: str | None = None) -> Claim | None:
    """Takes the most urgent review that is free and for this person; None when there is none.

    Raises ClaimError when they have three already.
    """
    for _attempt in range(_TRIES):
        with sessions.begin() as session:
            _one_at_a_time(session, actor)
            _room(session, actor)
            query = select(Review).where(offered_to(actor)).order_by(*QUEUE_ORDER).limit(1)
            if bank is not None:
                query = query.where(of_bank(bank))
            review = session.scalar(query.with_for_update(skip_locked=True, of=Review))
            if review is None:
                return None
            claim = _write(session, review, actor)
            if claim is not None:
                _record(session, actor, "claim", claim.reviews)
                return claim
            # Taken between the look and the lock: the next look sees it.
    return None


def renew(sessions: Sessions, review_id: int, actor: str, token: UUID) -> Claim | None:
    """Extends a claim; None when somebody else has the review by now, or it is decided."""
    with sessions.begin() as session:
        _one_at_a_time(session, actor)
        review = session.scalar(select(Review).where(Review.id == review_id).with_for_update())
        row = session.get(ClaimRow, review_id)
        if (
            review is None
            or review.state != "open"
            or row is None
            or (row.token, row.actor) != (token, actor)
        ):
            return None
        if _live(session, review_id) is None and _in_hand_of(session, actor) >= MOST:
            # It lapsed, and they have taken others since.
            return None
        return _renew(session, token, review_id)


def hand_back(sessions: Sessions, actor: str, token: UUID) -> None:
    """Ends a claim. One that is gone already stays gone."""
    with sessions.begin() as session:
        handed = release(session, actor, token)
        if handed:
            _record(session, actor, "hand_back", handed)


def step_back(sessions: Sessions, review_id: int, actor: str, token: UUID | None, kind: PassKind) -> None:
    """Ends a claim, if it is given, and keeps the review and its near copies from being offered to this person.

    No reason is asked. With ASKED the review is marked: another person was asked for, and needs the claim.
    Raises ClaimError when a claim is needed and gone.
    """
    with sessions.begin() as session:
        held = session.scalars(
            select(ClaimRow.review_id).where(ClaimRow.token == token, ClaimRow.actor == actor)
        ).all()
        if kind is PassKind.ASKED and review_id not in held:
            raise gone(review_id)
        # Locked in the order in which a decision locks them.
        reviews = session.scalars(
            select(Review).where(Review.id.in_([review_id, *held])).order_by(Review.id).with_for_update()
        ).all()
        if not reviews:
            raise ClaimError(
                _("There is no review %(review)s.", review=review_id),
                next_step=_("Take the next one of the queue."),
            )
        for review in reviews:
            keep_from(session, review.id, actor, kind)
            if kind is PassKind.ASKED:
                review.asked = True
        if token is not None:
            release(session, actor, token)
        _record(session, actor, _STEPS[kind], [review.id for review in reviews])


def keep_from(session: Session, review_id: int, actor: str, kind: PassKind) -> None:
    """Writes that a review is not offered to a person; a skip never replaces what lasts."""
    statement = insert(PassRow).values(review_id=review_id, actor=actor, kind=kind)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["review_id", "actor"],
            set_={"kind": kind, "at": func.clock_timestamp()},
            where=PassRow.kind == PassKind.SKIPPED,
        )
    )


def release(session: Session, actor: str, token: UUID) -> Sequence[int]:
    """Ends a claim; the reviews that were in it."""
    ended = session.scalars(
        delete(ClaimRow).where(ClaimRow.token == token, ClaimRow.actor == actor).returning(ClaimRow.review_id)
    )
    return sorted(ended)


def end(session: Session, review_ids: Sequence[int]) -> None:
    """Ends whatever claims lie on reviews."""
    session.execute(delete(ClaimRow).where(ClaimRow.review_id.in_(review_ids)))


def gone(review_id: int) -> ClaimError:
    return ClaimError(
        _("Review %(review)s is not in your hands any more; nothing was changed.", review=review_id),
        next_step=_("Open it again: if nobody else has it, take it and decide."),
    )


def claim_of(session: Session, review_id: int) -> Claim | None:
    """Who has a review now; None when nobody does."""
    row = _live(session, review_id)
    return _told(session, row.token, review_id) if row is not None else None


def give(session: Session, review_id: int, actor: str, token: UUID) -> Claim:
    """Puts a review, locked by the caller, into a person's hands, whoever had it and however many they have.

    Reviews that are given by one `token` are in hand together.
    """
    statement = insert(ClaimRow).values(
        review_id=review_id, token=token, actor=actor, lease_until=func.clock_timestamp() + LEASE
    )
    row = session.execute(
        statement.on_conflict_do_update(
            index_elements=["review_id"],
            set_={
                "token": statement.excluded.token,
                "actor": actor,
                "claimed_at": func.clock_timestamp(),
                "lease_until": statement.excluded.lease_until,
            },
        ).returning(ClaimRow.token)
    ).scalar_one()
    return _told(session, row, review_id)


def _record(session: Session, actor: str, action: str, reviews: Sequence[int]) -> None:
    """One entry for all that were taken or given back together: about the first, with the others beside it."""
    first, *others = reviews
    details: dict[str, audit.Detail] = {"with": [str(each) for each in others]} if others else {}
    audit.record(session, actor=actor, action=action, subject=("review", first), details=details)


def _one_at_a_time(session: Session, actor: str) -> None:
    """Two pages of one person count their claims one after the other."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"claim:{actor}", 0))))


def _in_hand_of(session: Session, actor: str) -> int:
    """How many claims a person has, those that have lapsed not counted."""
    return session.scalars(
        select(func.count(ClaimRow.token.distinct()))
        .join(Review, Review.id == ClaimRow.review_id)
        .where(ClaimRow.actor == actor, ClaimRow.lease_until > func.clock_timestamp(), Review.state == "open")
    ).one()


def _room(session: Session, actor: str) -> None:
    number = _in_hand_of(session, actor)
    if number >= MOST:
        raise ClaimError(
            _("You have %(number)s reviews open; %(most)s is the most.", number=number, most=MOST),
            next_step=_("Decide one or hand one back."),
        )


def _write(session: Session, review: Review, actor: str) -> Claim | None:
    token = uuid4()
    if not _insert(session, review.id, token, actor):
        return None
    copies = clusters.copies_of(review.content_id)
    free = session.scalars(
        select(Review.id)
        .where(Review.content_id.in_(copies), Review.stage == review.stage, open_to(actor), ~in_hand())
        .order_by(Review.id)
        .with_for_update(skip_locked=True, of=Review)
    ).all()
    if review.stage != Stage.APPEAL:
        for each in free:
            _insert(session, each, token, actor)
    return _told(session, token, review.id)


def _insert(session: Session, review_id: int, token: UUID, actor: str) -> bool:
    now = func.clock_timestamp()
    statement = insert(ClaimRow).values(
        review_id=review_id, token=token, actor=actor, lease_until=now + LEASE
    )
    written = session.execute(
        statement.on_conflict_do_update(
            index_elements=["review_id"],
            set_={
                "token": token,
                "actor": actor,
                "claimed_at": now,
                "lease_until": statement.excluded.lease_until,
            },
            where=ClaimRow.lease_until <= now,
        ).returning(ClaimRow.review_id)
    )
    return written.scalar_one_or_none() is not None


def _live(session: Session, review_id: int) -> ClaimRow | None:
    return session.scalar(
        select(ClaimRow).where(ClaimRow.review_id == review_id, ClaimRow.lease_until > func.clock_timestamp())
    )


def _renew(session: Session, token: UUID, review_id: int) -> Claim:
    session.execute(
        update(ClaimRow).where(ClaimRow.token == token).values(lease_until=func.clock_timestamp() + LEASE)
    )
    return _told(session, token, review_id)


def _told(session: Session, token: UUID, review_id: int) -> Claim:
    left = func.extract("epoch", ClaimRow.lease_until - func.clock_timestamp())
    rows = session.execute(
        select(ClaimRow.review_id, ClaimRow.actor, ClaimRow.lease_until, left.label("left"))
        .where(ClaimRow.token == token)
        .order_by(ClaimRow.review_id)
    ).all()
    others = tuple(row.review_id for row in rows if row.review_id != review_id)
    return Claim(
        token=token,
        actor=rows[0].actor,
        reviews=(review_id, *others),
        lease_until=rows[0].lease_until,
        left=float(rows[0].left),
    )
