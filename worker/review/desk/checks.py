"""What is checked before a decision: its texts, the claim or the right of who decides, and the number of uploads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.errors import HashwardenError
from config.words import _
from worker.domain import Verdict
from worker.review.desk import claims
from worker.review.desk.offers import open_to
from worker.store.desk import ClaimRow, Stage
from worker.store.models import Review, Upload

MAX_ACTOR, MAX_REQUEST_ID, MAX_REASON = 200, 200, 4000
"""Characters of what a caller may write into a decision."""

TYPED_OVER = 25
"""Uploads over which a decision needs their number, typed: a slip of a key must not move hundreds."""

_NAMED = {"name": _("name"), "request id": _("request id"), "reason": _("reason")}


class ReviewError(HashwardenError):
    """A review that does not exist, or a decision that can't be taken."""

    code: ClassVar[str] = "review"


class SecondPersonError(ReviewError):
    """The decision would release more uploads at once than one person may."""

    code = "second_person"


@dataclass(frozen=True, slots=True)
class Said:
    """Who says what, and by which right."""

    verdict: Verdict
    actor: str
    request_id: str
    reason: str
    claim: UUID | None
    force: bool
    typed: int | None
    most_released: int | None


def check_texts(said: Said) -> None:
    """Raises ReviewError for a name, a request id or a reason that can't be kept."""
    check_text("name", said.actor, MAX_ACTOR, needed=True)
    check_text("request id", said.request_id, MAX_REQUEST_ID, needed=True)
    check_text("reason", said.reason, MAX_REASON)


def check_text(name: str, value: str, longest: int, *, needed: bool = False) -> None:
    """Raises ReviewError for a text that can't be kept with a decision."""
    if needed and not value.strip():
        raise ReviewError(
            _("A decision needs a %(name)s.", name=_NAMED[name]), next_step=_("Give one and send it again.")
        )
    if len(value) > longest:
        raise ReviewError(
            _(
                "The %(name)s of the decision has %(number)s characters; it may have %(most)s.",
                name=_NAMED[name],
                number=len(value),
                most=longest,
            ),
            next_step=_("Shorten it and send it again."),
        )
    if any(not char.isprintable() and char not in "\r\n\t" for char in value):
        raise ReviewError(
            _("The %(name)s of the decision holds control characters.", name=_NAMED[name]),
            next_step=_("Remove them and send it again."),
        )


def check_right(session: Session, review: Review, said: Said) -> None:
    """The claim by compare-and-swap; and that this person took no part in what is asked.

    Raises ClaimError when the claim is gone, ReviewError when the review is not theirs to decide.
    """
    row = session.get(ClaimRow, review.id)
    if said.verdict is Verdict.SUSPECTED_MINOR:
        return
    if said.claim is not None:
        if review.state != "open" or row is None or (row.token, row.actor) != (said.claim, said.actor):
            raise claims.gone(review.id)
    elif not said.force and review.state == "open":
        held = claims.claim_of(session, review.id)
        if held is not None and held.actor != said.actor:
            raise ReviewError(
                _(
                    "Somebody has review %(review)s in hand for another %(seconds)s s.",
                    review=review.id,
                    seconds=round(held.left),
                ),
                next_step=_(
                    "Wait until it is decided or handed back, or decide it with --force and a --reason."
                ),
            )
    if review.state != "open" or review.stage == Stage.FIRST:
        return
    if session.scalar(select(Review.id).where(Review.id == review.id, open_to(said.actor))) is None:
        raise ReviewError(
            _("Review %(review)s needs another person than %(actor)s.", review=review.id, actor=said.actor),
            next_step=_("Have an adjudicator decide it who took no part in it before.")
            if review.stage == Stage.ADJUDICATION
            else _("Have somebody decide it who took no part in it before."),
        )


def check_open(reviews: Sequence[Review]) -> None:
    for review in reviews:
        if review.state != "open":
            raise ReviewError(
                _("Review %(review)s was decided since this was proposed.", review=review.id),
                next_step=_("Reject the proposal."),
            )


def check_typed(session: Session, content_ids: Sequence[int], typed: int | None) -> None:
    number = uploads_in(session, content_ids)
    if number <= TYPED_OVER:
        return
    # What came since the person looked is not theirs to have counted; that is why there is a bound and no equality.
    if typed is None or not number - TYPED_OVER <= typed <= number:
        raise ReviewError(
            _("This decides %(number)s uploads at once.", number=number),
            next_step=_("Give their number, %(number)s, to show that you mean all of them.", number=number),
        )


def uploads_in(session: Session, content_ids: Sequence[int]) -> int:
    """The blast radius of a decision: how many uploads these contents have."""
    return session.scalars(
        select(func.count()).select_from(Upload).where(Upload.content_id.in_(content_ids))
    ).one()


def minors_two(review_id: int) -> ReviewError:
    return ReviewError(
        _(
            "Review %(review)s is a suspected minor's: that is overturned by two persons of the role minor_safety.",
            review=review_id,
        ),
        next_step=_(
            "One of them proposes it on the page of its case, under /minors; another one approves it there."
        ),
    )


def used_before(request_id: str) -> ReviewError:
    return ReviewError(
        _("Request %(request)s has already decided something else.", request=request_id),
        next_step=_("Send each new decision with a request id of its own."),
    )


def undone_since(review_id: int) -> ReviewError:
    return ReviewError(
        _("This verdict on review %(review)s was undone since, and counts no more.", review=review_id),
        next_step=_("Look at the review, and decide it again with a new request id."),
    )
