"""Alarms of the desk: deadlines that have passed, and duties that nobody can do."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.words import _, ngettext
from worker.operate.age import seconds_since, words
from worker.operate.alarms.alarm import Alarm, AlarmCode
from worker.store.adjudication import number_stuck
from worker.store.minor_cases import number_lost
from worker.store.models import Review


def overdue(session: Session) -> Iterator[Alarm]:
    number, age = session.execute(
        select(func.count(), seconds_since(func.min(Review.due_at))).where(
            Review.state == "open", Review.due_at < func.clock_timestamp()
        )
    ).one()
    if number:
        yield Alarm(
            AlarmCode.REVIEW_OVERDUE,
            ngettext(
                "%(num)s review is past the deadline, the oldest by %(time)s.",
                "%(num)s reviews are past the deadline, the oldest by %(time)s.",
                number,
                time=words(age),
            ),
            _("`hashwarden reviews` lists them first: have them decided."),
        )


def duties(session: Session) -> Iterator[Alarm]:
    stuck = number_stuck(session)
    if stuck:
        yield Alarm(
            AlarmCode.NO_ADJUDICATOR,
            ngettext(
                "Two persons disagree on %(num)s open review, and nobody may decide between them.",
                "Two persons disagree on %(num)s open reviews, and nobody may decide between them.",
                stuck,
            ),
            _("`hashwarden people roles NAME adjudicator` lets somebody who took no part."),
        )
    lost = number_lost(session)
    if lost:
        yield Alarm(
            AlarmCode.NOT_PRESERVED,
            ngettext(
                "%(num)s file that must be preserved is deleted at the platform, or can't be copied.",
                "%(num)s files that must be preserved are deleted at the platform, or can't be copied.",
                lost,
            ),
            _(
                "Somebody of the role minor_safety finds them on /minors; restore or copy them by hand, at once."
            ),
        )
