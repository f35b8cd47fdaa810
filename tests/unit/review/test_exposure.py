from datetime import UTC, datetime, timedelta

import pytest

from config.errors import SettingsError
from config.exposure import ExposureSettings
from config.settings import load_settings
from worker.review.reveal.exposure import Look, judge

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SETTINGS = ExposureSettings(
    soft_looks_hour=3,
    hard_looks_hour=5,
    soft_seconds_hour=20,
    hard_seconds_hour=40,
    soft_seconds_week=100,
    hard_seconds_week=200,
    cool_down=600,
)


def ago(seconds: float, shown: float = 1.0) -> Look:
    return Look(NOW - timedelta(seconds=seconds), shown)


def test_nothing_seen_is_nothing_due() -> None:
    found = judge([], NOW, SETTINGS)
    assert (found.hour_looks, found.week_seconds, found.due, found.until) == (0, 0, False, None)


@pytest.mark.parametrize(
    ("looks", "due", "stopped"),
    [
        ([ago(50), ago(40)], False, False),
        ([ago(50), ago(40), ago(30)], True, False),
        ([ago(50), ago(40), ago(30), ago(20), ago(10)], True, True),
        ([ago(50, 8), ago(40, 8), ago(30, 3.9)], True, False),
        ([ago(90, 19.9)], False, False),
        ([ago(90, 20)], True, False),
        ([ago(90, 40)], True, True),
    ],
)
def test_looks_and_seconds_of_the_hour_have_limits(looks: list[Look], due: bool, stopped: bool) -> None:
    found = judge(looks, NOW, SETTINGS)
    assert (found.due, found.until is not None) == (due, stopped)


def test_the_cool_down_begins_when_the_last_look_ends() -> None:
    assert judge([ago(300, 40)], NOW, SETTINGS).until == NOW + timedelta(seconds=340)


def test_after_a_break_the_hour_is_counted_from_zero() -> None:
    over = [ago(50 + 10 * at + 700) for at in range(5)][::-1]
    found = judge(over, NOW, SETTINGS)
    assert (found.hour_looks, found.week_looks, found.due, found.until) == (0, 5, False, None)
    again = judge([*over, ago(5)], NOW, SETTINGS)
    assert (again.hour_looks, again.until) == (1, None)


def test_looks_of_an_hour_ago_count_for_the_week_only() -> None:
    day = 86_400.0
    looks = [ago(6 * day, 90), ago(5 * day, 60), ago(day, 60)]
    found = judge(looks, NOW, SETTINGS)
    assert (found.hour_looks, found.week_seconds, found.due) == (0, 210, True)
    # Without the oldest it is 120 seconds, which is under the limit.
    assert found.until == NOW + timedelta(days=1)


def test_a_soft_limit_over_its_hard_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="soft_looks_hour is over hard_looks_hour"):
        load_settings(exposure={"soft_looks_hour": 9, "hard_looks_hour": 8})
