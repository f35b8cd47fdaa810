"""What the API tells of reviews. Nothing here names a hash, a bank entry or a case."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from worker.domain import State, Verdict
from worker.review.api.upload_answers import Step, UploadAnswer
from worker.review.api.values import NextCursor, Strict
from worker.review.desk.claims import Claim
from worker.review.desk.listing import ReviewLine, Urgency
from worker.review.desk.look import Look
from worker.review.desk.queue import Show
from worker.review.reveal.access import Need
from worker.review.reveal.reveals import Panel
from worker.store.desk import Stage

BITS = "Bits in which two 256-bit hashes differ, 0 to 256"


class Match(Strict):
    """One match of the content with a bank."""

    bank: str
    signal_type: str = Field(description="pdq, vpdq or video_md5.")
    distance: int = Field(description=f"{BITS}; 0 for an MD5.", ge=0, le=256)
    view: str = Field(description="By which view of the upload it was found, as a word of Hashwarden's.")
    view_words: str = Field(description="The same in words.")
    frame_time: float | None = Field(description="Seconds into the video or animation; null for a picture.")
    effect: str = Field(description="hold, flag or shadow.")
    withdrawn: bool = Field(description="The bank has taken the hash back since.")
    dismissed: bool = Field(description="A decision said that this is no match.")
    quality: int = Field(description="Quality of the upload's hash, 0 to 100; under 50 it is plain.")
    region: tuple[float, float, float, float] | None = Field(
        description="Left, top, width and height of the matched part in fractions of the picture; null: the whole."
    )


class ReviewSummary(Strict):
    """One review, as a list shows it."""

    id: int
    state: str = Field(description="open, decided, or withdrawn: closed because the banks took hashes back.")
    stage: Stage = Field(description="What an open one waits for.")
    cause: str = Field(description="match, unscannable, unsupported or reopened.")
    reason: str = Field(description="Why it could not be compared; empty where it was.")
    retro: bool = Field(description="The uploads were clear until a bank got the hash.")
    kind: str = Field(description="image, video, unsupported or unscannable.")
    priority: int = Field(description="Higher is more severe.")
    opened_at: datetime
    due_at: datetime = Field(description="The deadline.")
    left: float = Field(description="Seconds until the deadline; under 0 once it has passed.")
    urgency: Urgency = Field(description="How much of its time has passed, in the steps of the warnings.")
    closed_at: datetime | None
    verdict: str = Field(description="What was decided; empty while nothing was.")
    asked: bool = Field(description="Somebody asked for another person.")
    in_hand: bool = Field(description="Somebody has it now.")
    mine: bool = Field(description="The caller has it now.")
    uploads: int = Field(description="Uploads of this content.")
    states: dict[State, int] = Field(description="The same by their state.")
    copies: int = Field(description="Open reviews of near copies, this one not counted.")
    matches: list[Match] = Field(description="The nearest first.")


class ReviewList(Strict):
    reviews: list[ReviewSummary]
    next_cursor: NextCursor


class CountsAnswer(Strict):
    """How many open reviews there are."""

    parts: dict[Show, int] = Field(description="By part of the queue, as the caller sees it.")
    banks: dict[str, int] = Field(description="By bank; a review of two banks counts for both.")
    causes: dict[str, int]


class ClaimAnswer(Strict):
    """What the caller has in hand. A claim ends by itself; a sign of life extends it."""

    token: UUID = Field(description="Send it as `claim`.")
    reviews: list[int] = Field(description="The review, and near copies that were taken with it.")
    lease_until: datetime
    left: float = Field(description="Seconds until the claim ends by itself.")


class NextAnswer(Strict):
    claim: ClaimAnswer | None = Field(description="null where nothing free waits for the caller.")


class Evidence(Strict):
    """What is known of the match without a picture."""

    banks: list[str]
    independent: int = Field(description="Banks other than the own one whose entries match and stand.")
    others: dict[str, int] = Field(description="What other platforms told the banks, by their word.")
    before: dict[str, int] = Field(
        description="Earlier decisions on this content and near copies, by verdict."
    )
    radius: int | None = Field(description="Bits up to which the nearest match counts; null for an MD5.")


class Copy(Strict):
    """A near copy whose review is open too."""

    review_id: int
    kind: str
    size: int = Field(description="Bytes.")
    apart: int | None = Field(description=f"{BITS}, from this content; null where that can't be told.")
    held: bool = Field(description="The caller has it in hand with this one.")


class Decision(Strict):
    at: datetime
    actor: str = Field(description="A pseudonym; empty where the caller judges anew and must not know.")
    kind: str = Field(description="verdict, or undo: then `verdict` is what counts again.")
    verdict: str
    reason: str


class OpenAppeal(Strict):
    id: int
    upload_id: int
    opened_at: datetime
    reason: str = Field(description="What the person who appeals says.")


class ReviewAnswer(Strict):
    """One review with all that is known before a picture is asked for."""

    review: ReviewSummary
    size: int = Field(description="Bytes of the content.")
    evidence: Evidence
    copies: list[Copy] = Field(description="Near copies that wait as well, the nearest first.")
    claim: ClaimAnswer | None = Field(description="The caller's own.")
    blast: int = Field(
        description="Uploads that a verdict by this claim decides; over 25 send it as `typed`."
    )
    contents: int = Field(description="Contents that a verdict by this claim decides.")
    undo_until: datetime | None = Field(
        description="Until when the caller may undo; null when they may not; the year 9999: while the bytes are there."
    )
    together: list[int] = Field(
        description="Reviews decided together with it: send them as `also` to undo them too."
    )
    blind: bool = Field(description="The caller judges for themselves: names and history are left out.")
    opinions: list[Verdict] = Field(description="Two verdicts that differ, where a third person decides.")
    appeal: OpenAppeal | None
    pictures: bool = Field(description="A picture can be asked for; never of a suspected minor.")
    reveal_needs: Need | None = Field(
        description=(
            "What a picture takes: nothing; a stated purpose; or a claim. null where there is no picture."
        )
    )
    regions: list[str] = Field(description="Regions of matches that can be peeked at, the nearest first.")
    decisions: list[Decision] = Field(description="The oldest first.")
    uploads: list[UploadAnswer] = Field(description="The newest 200 of this content.")
    history: list[Step] = Field(description="The oldest first; empty where `blind`.")


def summary_of(line: ReviewLine, pseudonym: str) -> ReviewSummary:
    matches = [Match.model_validate(match) for match in line.matches]
    names = ReviewSummary.model_fields.keys() - {"in_hand", "mine", "matches"}
    return ReviewSummary(
        **{name: getattr(line, name) for name in names},
        in_hand=bool(line.held_by),
        mine=line.held_by == pseudonym,
        matches=matches,
    )


def claim_of(claim: Claim) -> ClaimAnswer:
    return ClaimAnswer(
        token=claim.token, reviews=list(claim.reviews), lease_until=claim.lease_until, left=claim.left
    )


def review_of(look: Look, pseudonym: str, panel: Panel | None) -> ReviewAnswer:
    """`panel`: what can be shown of it; None where no pictures are shown."""
    detail, known = look.detail, look.evidence
    return ReviewAnswer(
        review=summary_of(detail.line, pseudonym),
        size=detail.size,
        evidence=Evidence(
            banks=list(known.banks),
            independent=known.independent,
            others=known.others,
            before=known.before,
            radius=known.scale.radius if known.scale is not None else None,
        ),
        copies=[
            Copy(
                review_id=copy.review_id,
                kind=copy.kind,
                size=copy.size,
                apart=copy.apart,
                held=copy.review_id in look.held,
            )
            for copy in look.copies
        ],
        claim=claim_of(look.claim) if look.claim is not None else None,
        blast=look.blast,
        contents=look.contents,
        undo_until=look.undo_until,
        together=list(look.together),
        blind=look.blind,
        opinions=[Verdict(verdict) for verdict in look.opinions],
        appeal=OpenAppeal.model_validate(look.appeal) if look.appeal is not None else None,
        pictures=panel is not None and not panel.withheld,
        reveal_needs=panel.needs if panel is not None and not panel.withheld else None,
        regions=list(panel.matched) if panel is not None and not panel.withheld else [],
        decisions=[Decision.model_validate(decision) for decision in detail.decisions],
        uploads=[UploadAnswer.model_validate(upload) for upload in detail.uploads],
        history=[Step.model_validate(step) for step in detail.history],
    )
