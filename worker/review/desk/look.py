"""One review as a signed-in person may see it: who may not see it is not told that it is there.

Where another person's judgement is asked, names and history are left out, so that it is a judgement of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from config.policy import PolicySettings
from config.words import _
from worker.domain import Verdict
from worker.review.desk import appeals, claims
from worker.review.desk.checks import uploads_in
from worker.review.desk.claims import Claim
from worker.review.desk.evidence import Copy, Evidence, copies, evidence
from worker.review.desk.listing import ReviewDetail, review_detail
from worker.review.desk.second import opinions_on
from worker.review.desk.together import decided_with
from worker.review.desk.undo import may_undo
from worker.review.faults import NotThereError
from worker.review.people.people import Visitor
from worker.review.people.permissions import May
from worker.store.appeal_rows import Appeal
from worker.store.desk import Stage
from worker.store.models import Content, Review


@dataclass(frozen=True, slots=True)
class Look:
    """What a person sees of one review, without any picture."""

    detail: ReviewDetail
    evidence: Evidence
    copies: tuple[Copy, ...]
    """Near copies that wait as well, the nearest first."""
    claim: Claim | None
    """This person's own."""
    taken: bool
    """Somebody else has it in hand."""
    claim_left: float
    """Seconds that whoever has it keeps it; 0 while nobody does."""
    blast: int
    """Uploads that a verdict by this claim decides."""
    contents: int
    """Contents that a verdict by this claim decides."""
    undo_until: datetime | None
    """Until when this person may undo what was last said; None when they may not."""
    together: tuple[int, ...]
    """Other reviews that the verdict which may be undone decided along with this one."""
    blind: bool
    """Names and history are left out."""
    opinions: tuple[str, ...]
    """Two verdicts that differ, without names and in no order that tells whose is whose; else none."""
    appeal: Appeal | None
    """The open one."""

    @property
    def held(self) -> frozenset[int]:
        """Reviews that this person has in hand together."""
        return frozenset(self.claim.reviews if self.claim is not None else ())


def look_at(session: Session, policy: PolicySettings, visitor: Visitor, review_id: int) -> Look:
    """Everything about one review that this person may see. Raises NotThereError."""
    check_seen(session, visitor, review_id)
    review = session.get_one(Review, review_id)
    detail = review_detail(session, review_id)
    assert detail is not None  # noqa: S101 (reviews are never deleted)
    content = session.get_one(Content, review.content_id)
    claim = claims.claim_of(session, review_id) if review.state == "open" else None
    mine = claim if claim is not None and claim.actor == visitor.pseudonym else None
    held = mine.reviews if mine is not None else ()
    near = copies(session, content)
    together = [content.id, *(copy.content_id for copy in near if copy.review_id in held)]
    blind = review.state == "open" and review.stage != Stage.FIRST
    said = opinions_on(session, review) if review.stage == Stage.ADJUDICATION else ()
    undo_until = may_undo(session, review, visitor.pseudonym, lead=visitor.may(May.UNDO_OTHERS))
    return Look(
        detail=_without_names(detail) if blind else detail,
        evidence=evidence(session, policy, content.id, detail.line),
        copies=tuple(near),
        claim=mine,
        taken=claim is not None and mine is None,
        claim_left=claim.left if claim is not None else 0.0,
        blast=uploads_in(session, together),
        contents=len(together),
        undo_until=undo_until,
        together=decided_with(session, review) if undo_until is not None else (),
        blind=blind,
        opinions=tuple(sorted(opinion.verdict for opinion in said)),
        appeal=appeals.open_appeal_of(session, review_id),
    )


def check_seen(session: Session, visitor: Visitor, review_id: int) -> None:
    """What a person may not see they may not touch, and are not told that it is there: raises NotThereError."""
    verdict = session.scalar(select(Review.verdict).where(Review.id == review_id))
    if verdict is None or (verdict == Verdict.SUSPECTED_MINOR and not visitor.may(May.SEE_MINORS)):
        raise NotThereError(
            _("There is no review %(review)s.", review=review_id), next_step=_("The queue lists what waits.")
        )


def _without_names(detail: ReviewDetail) -> ReviewDetail:
    decisions = tuple(replace(decision, actor="") for decision in detail.decisions)
    return replace(detail, decisions=decisions, history=())
