"""Clocks of reviews: which one counts, when it is told of, and that each warning is told once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, update

from bank_sync.epoch import Pointer
from config.deadlines import DeadlineProfile, DeadlineSettings
from config.errors import SettingsError
from config.settings import load_settings
from worker import deadlines
from worker.operate.alarms.alarm import AlarmCode
from worker.operate.health import alarms
from worker.review.desk.listing import Urgency, list_reviews
from worker.store.models import Review, WebhookMessage

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

CLOCKS = DeadlineSettings(
    profiles={
        "default": DeadlineProfile(hours=48),
        "day": DeadlineProfile(hours=24),
        "india": DeadlineProfile(hours=2),
    },
    places={"uploads/in/": "india"},
)


@pytest.fixture
def review(rig: Rig, versioned_bucket: str) -> int:
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    rig.scan(versioned_bucket, "one.jpg", body)
    with rig.sessions() as session:
        return session.scalars(select(Review.id)).one()


def test_the_earliest_of_the_clocks_counts() -> None:
    assert CLOCKS.hours([], "uploads", "a") == 48
    assert CLOCKS.hours(["default", "day"], "uploads", "a") == 24
    assert CLOCKS.hours(["day"], "uploads", "in/a") == 2


def test_names_of_clocks_must_be_there() -> None:
    with pytest.raises(ValidationError, match="'nowhere'"):
        DeadlineSettings(places={"a/": "nowhere"})
    with pytest.raises(SettingsError, match="bank own names the deadline 'nowhere'"):
        load_settings(banks={"own": {"exchange": "own", "deadline": "nowhere"}})


def test_a_review_is_due_by_its_banks_clock_and_a_stricter_bank_only_brings_it_nearer(
    rig: Rig, versioned_bucket: str
) -> None:
    strict = rig.settings.banks["stopncii"].model_copy(update={"deadline": "india"})
    rig.settings = rig.settings.model_copy(
        update={"deadlines": CLOCKS, "banks": {**rig.settings.banks, "strict": strict}}
    )
    rig.parts.settings = rig.settings
    rig.stages = rig.parts.stages(rig._announce)
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    rig.scan(versioned_bucket, "one.jpg", body)
    with rig.sessions() as session:
        review = session.scalars(select(Review)).one()
        assert abs(review.due_at - review.opened_at - timedelta(hours=48)) < timedelta(seconds=1)
    rig.bank_pdq(rig.hash_of(body), bank="strict")
    rig.scan(versioned_bucket, "two.jpg", body)
    with rig.sessions() as session:
        review = session.scalars(select(Review)).one()
        assert review.due_at - review.opened_at < timedelta(hours=2, minutes=5)


def pointer() -> Pointer:
    return Pointer(7, "0" * 64, datetime.now(UTC), "1:1:")


def told(rig: Rig) -> list[int]:
    with rig.sessions() as session:
        query = select(WebhookMessage.payload).where(WebhookMessage.type == "review.due_soon")
        return [payload["percent"] for payload in session.scalars(query.order_by(WebhookMessage.id))]


def pass_time(rig: Rig, share: float) -> None:
    """The review has used this share of an hour."""
    now = func.clock_timestamp()
    with rig.sessions.begin() as session:
        session.execute(
            update(Review).values(
                opened_at=now - timedelta(hours=share), due_at=now + timedelta(hours=1 - share)
            )
        )


def test_each_warning_is_told_once(rig: Rig, review: int) -> None:
    for share in (0.4, 0.51, 0.7, 0.81, 0.96, 0.97, 1.01, 1.5):
        pass_time(rig, share)
        deadlines.warn(rig.sessions)
        deadlines.warn(rig.sessions)
    assert told(rig) == [50, 80, 95, 100]
    assert review


def test_after_a_stop_only_the_newest_warning_is_told(rig: Rig, review: int) -> None:
    pass_time(rig, 0.96)
    assert deadlines.warn(rig.sessions) == 1
    assert told(rig) == [95]
    assert review


def test_a_decided_review_is_not_warned_of(rig: Rig, review: int) -> None:
    pass_time(rig, 1.2)
    with rig.sessions.begin() as session:
        session.execute(update(Review).values(state="decided"))
    assert deadlines.warn(rig.sessions) == 0
    assert review


def test_a_breach_is_an_alarm_and_a_word(rig: Rig, review: int) -> None:
    pass_time(rig, 1.2)
    with rig.sessions() as session:
        raised = {alarm.code: alarm for alarm in alarms(session, rig.settings, pointer)}
        assert "1 review is past the deadline" in raised[AlarmCode.REVIEW_OVERDUE].message
        (line,) = list_reviews(session)
    assert (line.id, line.urgency) == (review, Urgency.OVERDUE)
    assert line.left < 0


@pytest.mark.parametrize(
    ("used", "urgency"),
    [
        (0, "calm"),
        (49.9, "calm"),
        (50, "half"),
        (80, "soon"),
        (95, "last"),
        (100, "overdue"),
        (900, "overdue"),
    ],
)
def test_urgency_has_the_steps_of_the_warnings(used: float, urgency: str) -> None:
    assert Urgency.of(used) == urgency
