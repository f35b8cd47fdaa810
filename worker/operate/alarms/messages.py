"""Alarms of messages: webhooks and feedback that do not arrive, and events that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from bank_sync.bank import Feedback
from config.settings import Settings
from config.words import _, ngettext
from worker.operate.age import seconds_since, words
from worker.operate.alarms.alarm import Alarm, AlarmCode
from worker.store.models import InboxReject, Upload, WebhookMessage

RECENT_UPLOADS = 100_000
"""Uploads among which lost events are looked for: the newest ones."""

LATE_EVENT = timedelta(minutes=2)
"""An object that the sweep saw first, this long after it was written: its event was lost, not just slow."""


def outboxes(session: Session, settings: Settings) -> Iterator[Alarm]:
    overdue = WebhookMessage.created_at < func.clock_timestamp() - timedelta(
        seconds=settings.alarms.pending_after
    )
    number, age = session.execute(
        select(func.count(), seconds_since(func.min(WebhookMessage.created_at))).where(
            WebhookMessage.delivered_at.is_(None), or_(WebhookMessage.dead, overdue)
        )
    ).one()
    if number and settings.webhook.url:
        yield Alarm(
            AlarmCode.WEBHOOK_BACKLOG,
            ngettext(
                "%(num)s webhook has not reached the platform, the oldest for %(time)s.",
                "%(num)s webhooks have not reached the platform, the oldest for %(time)s.",
                number,
                time=words(age),
            ),
            _("Check webhook.url and what answers there; they are sent until they arrive."),
        )
    waiting = (
        select(Feedback.bank, func.count().label("number"), func.max(Feedback.last_error).label("fault"))
        .where(
            Feedback.sent_at.is_(None),
            Feedback.dropped.is_(None),
            Feedback.attempts > 0,
            Feedback.created_at
            < func.clock_timestamp() - timedelta(seconds=settings.alarms.bank_stale_after),
        )
        .group_by(Feedback.bank)
        .order_by(Feedback.bank)
    )
    for row in session.execute(waiting):
        yield Alarm(
            AlarmCode.FEEDBACK_BACKLOG,
            ngettext(
                "%(num)s decision has not reached bank %(bank)s (last error: %(fault)s).",
                "%(num)s decisions have not reached bank %(bank)s (last error: %(fault)s).",
                row.number,
                bank=row.bank,
                fault=row.fault,
            ),
            _("`hashwarden doctor` checks the bank's settings; they are sent until they arrive."),
            subject=row.bank,
        )


def events(session: Session, settings: Settings) -> Iterator[Alarm]:
    day = func.clock_timestamp() - timedelta(days=1)
    rejects = session.scalar(select(func.count()).select_from(InboxReject).where(InboxReject.at > day))
    if rejects:
        yield Alarm(
            AlarmCode.INBOX_REJECTS,
            ngettext(
                "%(num)s event message of the last day was not understood; its uploads are found by the sweep.",
                "%(num)s event messages of the last day were not understood; their uploads are found by the sweep.",
                rejects,
            ),
            _("Look at the table inbox_rejects, and at what writes to the queue."),
        )
    if not settings.told_of_uploads:
        return
    newest = select(func.max(Upload.id)).scalar_subquery()
    lost = session.scalar(
        select(func.count())
        .select_from(Upload)
        .where(
            and_(
                Upload.id > newest - RECENT_UPLOADS,
                Upload.source == "sweep",
                Upload.first_seen_at > day,
                Upload.first_seen_at > Upload.last_modified + LATE_EVENT,
            )
        )
    )
    if lost:
        yield Alarm(
            AlarmCode.EVENTS_LOST,
            ngettext(
                "The sweep found %(num)s upload in the last day that no event had told of.",
                "The sweep found %(num)s uploads in the last day that no event had told of.",
                lost,
            ),
            _("Check the buckets' notifications and that `hashwarden ingest` or `inbox-app` runs."),
        )
