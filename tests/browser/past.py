"""A month of work that lies behind: decided reviews with their claims, looks and appeals, as rows alone.

No media belongs to them: they are there for what is counted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.database import Sessions
from worker.domain import Effect, Kind, State, Verdict
from worker.media.rungs import Rung
from worker.store.appeal_rows import Appeal
from worker.store.desk import Opinion
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload
from worker.store.views import View

DAYS = 30

_BANKS = ("stopncii", "stopncii", "stopncii", "own", "partner")
_LOOKS = {Rung.MOSAIC: (0.8, 12), Rung.GREY: (0.6, 9), Rung.PEEK: (0.25, 3), Rung.WHOLE: (0.15, 4)}
"""How often each rung is looked at, and for how many seconds."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """One review that somebody decided."""

    at: datetime
    actor: str
    second: str
    distance: int
    verdict: Verdict


def work_behind(sessions: Sessions, people: Sequence[str]) -> None:
    """What these people, at least two, decided on each of the last days; the same whenever it is asked for."""
    chance = random.Random(7)  # noqa: S311 (no secret)
    with sessions.begin() as session:
        now = session.scalars(select(func.clock_timestamp())).one()
        for day in range(1, DAYS):
            for _ in range(chance.randint(3, 9)):
                actor, second = chance.sample(people, 2)
                distance = min(int(chance.expovariate(1 / 12)), 31)
                at = now - timedelta(days=day, hours=chance.uniform(-6, 6))
                _add(session, chance, _Decided(at, actor, second, distance, _verdict(chance, distance)))


def _verdict(chance: random.Random, distance: int) -> Verdict:
    """The nearer a match is, the more often it is right."""
    if chance.random() > 0.95 - distance / 60:
        return chance.choice((Verdict.NOT_A_MATCH, Verdict.NOT_A_MATCH, Verdict.HASH_WRONG))
    return chance.choices((Verdict.CONFIRMED, Verdict.LAWFUL, Verdict.SUSPECTED_MINOR), (20, 4, 1))[0]


def _add(session: Session, chance: random.Random, made: _Decided) -> None:
    opened = made.at - timedelta(hours=min(chance.expovariate(1 / 9), 60))
    content = Content(sha256=uuid4().bytes * 2, size=200_000, kind=Kind.IMAGE, fingerprint=[])
    session.add(content)
    session.flush()
    upload = Upload(
        bucket="photos",
        key=uuid4().hex,
        version_id="1",
        state=State.REMOVED if made.verdict is Verdict.CONFIRMED else State.RELEASED,
        content_id=content.id,
        first_seen_at=opened - timedelta(seconds=2),
    )
    match = MatchRow(
        content_id=content.id,
        entry_id=content.id,
        bank=chance.choice(_BANKS),
        signal_type="pdq",
        distance=made.distance,
        effect=Effect.HOLD,
        index_epoch=1,
    )
    claimed_at = made.at - timedelta(seconds=chance.uniform(15, 140))
    decision = DecisionRow(
        content_id=content.id,
        verdict=made.verdict,
        actor=made.actor,
        at=made.at,
        request_id=uuid4().hex,
        claimed_at=claimed_at,
    )
    session.add_all((upload, match, decision))
    session.flush()
    review = Review(
        content_id=content.id,
        cause="match",
        nearest=made.distance,
        state="decided",
        verdict=made.verdict,
        decision_id=decision.id,
        opened_at=opened,
        due_at=opened + timedelta(hours=48 if chance.random() < 0.7 else 24),
        closed_at=made.at,
    )
    session.add(review)
    session.flush()
    _look(session, chance, made, review)
    if made.distance > 24:
        _ask_second(session, chance, made, review)
    if made.verdict is Verdict.CONFIRMED and chance.random() < 0.12:
        _appeal(session, chance, made, upload, review)


def _look(session: Session, chance: random.Random, made: _Decided, review: Review) -> None:
    for rung, (often, seconds) in _LOOKS.items():
        if chance.random() < often:
            session.add(
                View(
                    at=made.at - timedelta(seconds=20),
                    actor=made.actor,
                    review_id=review.id,
                    content_id=review.content_id,
                    rung=rung,
                    stills=1,
                    seconds=chance.uniform(0.5, 2) * seconds,
                )
            )


def _ask_second(session: Session, chance: random.Random, made: _Decided, review: Review) -> None:
    """The first person's verdict, which the decision shares or not."""
    session.add(
        Opinion(
            review_id=review.id,
            actor=made.second,
            verdict=made.verdict if chance.random() < 0.85 else Verdict.LAWFUL,
            at=made.at - timedelta(hours=1),
            request_id=uuid4().hex,
            claimed_at=made.at - timedelta(hours=1, seconds=40),
            decision_id=review.decision_id,
        )
    )


def _appeal(session: Session, chance: random.Random, made: _Decided, upload: Upload, review: Review) -> None:
    session.add(
        Appeal(
            review_id=review.id,
            upload_id=upload.id,
            decision_id=review.decision_id,
            state="overturned" if chance.random() < 0.25 else "upheld",
            source="api",
            reason="It is allowed.",
            opened_by=made.actor,
            opened_at=made.at + timedelta(minutes=10),
            decided_by=made.second,
            decided_at=made.at + timedelta(minutes=40),
        )
    )
