"""What the API tells of cases of suspected minors. Nothing here names a hash, a bank, a key or a file."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from worker.domain import State
from worker.review.api.proposals import ProposalAnswer
from worker.review.api.values import NextCursor, Strict
from worker.review.desk.minor_desk import CaseLook
from worker.store.minor_cases import CaseState


class CaseSummary(Strict):
    """One case, as the list shows it."""

    id: int
    review_id: int
    state: CaseState = Field(
        description="open; reported: an authority has it; closed: two persons overturned it."
    )
    kind: str = Field(description="image, video, unsupported or unscannable.")
    opened_at: datetime
    preserve_until: datetime
    left: float = Field(description="Seconds until that date; under 0 once it has passed.")
    reference: str = Field(description="The authority's number; empty while it is not reported.")
    files: int
    copied: int = Field(description="Files with an encrypted copy.")


class CaseList(Strict):
    cases: list[CaseSummary]
    next_cursor: NextCursor


class Found(Strict):
    """One match, as it was known when the case was opened."""

    signal_type: str = Field(description="pdq, vpdq or video_md5.")
    distance: int = Field(description="Bits in which two 256-bit hashes differ; 0 for an MD5.", ge=0, le=256)
    view: str = Field(description="By which view of the upload it was found.")


class CaseFile(Strict):
    """One upload of a case."""

    upload_id: int
    state: State
    access: str = Field(description="What holds in the storage; empty: not touched yet.")
    uploaded_at: datetime
    size: int = Field(description="Bytes.")
    copied_at: datetime | None = Field(description="null: no encrypted copy was made.")
    copy_error: str = Field(description="Why the last try to copy it failed.")
    deleted: bool = Field(description="The platform deleted that version.")


class CaseLookAnswer(Strict):
    """One look at a picture of it, from the ledger of looks."""

    by: str = Field(description="A pseudonym.")
    at: datetime
    shown: str = Field(description="mosaic, grey, peek or whole.")
    region: str = Field(description="Which part; empty: all of it.")
    stills: int = Field(description="Pictures in the answer; of a video several.")
    seconds: float | None = Field(description="For how long it was shown, in seconds; null: never told.")
    entire: bool = Field(description="It showed the entire file.", validation_alias="entireFile")


class CaseAnswer(Strict):
    """One case: the facts as they were known when it was opened, its files, and who has looked."""

    case: CaseSummary
    opened_by: str = Field(description="Who suspected a minor, by pseudonym.")
    size: int = Field(description="Bytes of the content.")
    cause: str = Field(description="Of the review: match, unscannable, unsupported or reopened.")
    found: list[Found] = Field(description="The nearest first.")
    reported_by: str | None
    reported_at: datetime | None
    closed_by: str | None = Field(description="Who proposed to overturn it.")
    closed_with: str | None = Field(description="Who approved it.")
    closed_at: datetime | None
    files: list[CaseFile]
    looks: list[CaseLookAnswer] = Field(description="The oldest first.")
    viewed: bool = Field(description="Somebody has viewed an entire file: `fileViewedByEsp` of the report.")
    overturn: list[ProposalAnswer] = Field(description="What waits for a second person; at most one.")


def case_of(look: CaseLook) -> CaseAnswer:
    detail, row = look.detail, look.detail.row
    return CaseAnswer(
        case=CaseSummary.model_validate(detail.line),
        opened_by=row.opened_by,
        size=row.facts["size"],
        cause=row.facts["cause"],
        found=[Found.model_validate(each) for each in row.facts["found"]],
        reported_by=row.reported_by,
        reported_at=row.reported_at,
        closed_by=row.closed_by,
        closed_with=row.closed_with,
        closed_at=row.closed_at,
        files=[CaseFile.model_validate(each) for each in detail.files],
        looks=[CaseLookAnswer.model_validate(each) for each in look.looks],
        viewed=look.viewed,
        overturn=[ProposalAnswer.model_validate(line) for line in look.waiting],
    )
