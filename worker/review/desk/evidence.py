"""What is known of a match before anybody looks at a picture: values and counts, no entry, hash or case."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from bank_sync.bank import OWN_BANK, BankEntry
from config.policy import MAX_RADIUS, PolicySettings
from config.words import _
from worker.domain import Effect, Verdict
from worker.review.desk.listing import MatchLine, ReviewLine
from worker.store import clusters
from worker.store.models import Content, MatchRow, Review

MAX_VALUES = 12
"""Kinds of other platforms' feedback that are shown; a bank that invents more is not given the page."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A distance on a line from 0 to the widest radius, in pixels of a drawing; `words` says it."""

    distance: int
    radius: int
    at: float
    threshold: float
    words: str

    WIDTH = 160


@dataclass(frozen=True, slots=True)
class Evidence:
    """The panel of one review. `nearest` is its closest match; None where there was nothing to compare."""

    nearest: MatchLine | None
    scale: Scale | None
    banks: tuple[str, ...]
    independent: int
    """Banks other than the own one whose entries match and are live."""
    others: dict[str, int]
    """What other platforms told the banks of these entries, by value."""
    before: dict[str, int]
    """Standing decisions on near copies and on this content, by verdict."""


@dataclass(frozen=True, slots=True)
class Copy:
    """An open review of a near copy. `apart` is how many bits it differs by; None where that can't be told."""

    review_id: int
    content_id: int
    kind: str
    size: int
    apart: int | None
    nearest: int


def evidence(session: Session, policy: PolicySettings, content_id: int, line: ReviewLine) -> Evidence:
    standing = [match for match in line.matches if not match.withdrawn]
    nearest = next(iter(standing or line.matches), None)
    return Evidence(
        nearest=nearest,
        scale=_scale(policy, nearest) if nearest is not None else None,
        banks=tuple(dict.fromkeys(match.bank for match in line.matches)),
        independent=len({match.bank for match in standing} - {OWN_BANK}),
        others=_others(session, content_id),
        before=_before(session, content_id),
    )


def copies(session: Session, content: Content) -> list[Copy]:
    """The near copies that wait as well, the nearest first."""
    rows = session.execute(
        select(Review.id, Review.nearest, Content)
        .join(Content, Content.id == Review.content_id)
        .where(Review.content_id.in_(clusters.copies_of(content.id)), Review.state == "open")
        .order_by(Review.id)
    ).all()
    found = [
        Copy(
            review_id=row.id,
            content_id=row.Content.id,
            kind=row.Content.kind,
            size=row.Content.size,
            apart=clusters.distance(content.fingerprint, row.Content.fingerprint),
            nearest=row.nearest,
        )
        for row in rows
    ]
    return sorted(found, key=lambda copy: (copy.apart is None, copy.apart, copy.review_id))


def _scale(policy: PolicySettings, match: MatchLine) -> Scale | None:
    if match.signal_type == "video_md5":
        return None
    radius = policy.rule(match.bank, match.signal_type).radius
    return Scale(
        distance=match.distance,
        radius=radius,
        at=round(Scale.WIDTH * min(match.distance, MAX_RADIUS) / MAX_RADIUS, 1),
        threshold=round(Scale.WIDTH * radius / MAX_RADIUS, 1),
        words=_(
            "%(distance)s of 256 bits differ; up to %(radius)s counts as a match",
            distance=match.distance,
            radius=radius,
        ),
    )


def _others(session: Session, content_id: int) -> dict[str, int]:
    told: Counter[str] = Counter()
    rows = session.scalars(
        select(BankEntry.feedback)
        .join(MatchRow, MatchRow.entry_id == BankEntry.id)
        .where(MatchRow.content_id == content_id, MatchRow.effect != Effect.SHADOW, BankEntry.live)
    )
    for feedback in rows:
        told.update(value for value in map(_value, feedback) if value)
    return dict(told.most_common(MAX_VALUES))


def _value(untrusted: Any) -> str:  # noqa: ANN401 (as the bank wrote it)
    """A value of the bank's own list of words; anything else is not shown."""
    value = untrusted.get("feedbackValue") if isinstance(untrusted, dict) else None
    return (
        value if isinstance(value, str) and value.isalpha() and len(value) <= 20 and value != "None" else ""
    )


def _before(session: Session, content_id: int) -> dict[str, int]:
    # One list of ids: an OR would read every review there is.
    together = clusters.copies_of(content_id).union_all(select(literal(content_id)))
    rows = session.scalars(
        select(Review.verdict).where(
            Review.content_id.in_(together),
            Review.verdict.not_in(["", Verdict.SUSPECTED_MINOR]),
        )
    )
    return dict(Counter(rows).most_common())
