"""Which source of event messages the settings name."""

from __future__ import annotations

from contextlib import closing

import structlog

from config.errors import SettingsError
from config.settings import Settings
from worker.errors import EventSourceError
from worker.events.redis_list import NotAListError, RedisListSource, open_list, waiting
from worker.events.source import EventSource
from worker.events.sqs import SqsSource

log = structlog.get_logger()


def open_source(settings: Settings) -> EventSource:
    """The one source; it need not answer yet.

    Raises SettingsError when none or two are named, NotAListError where MinIO writes a format that loses uploads.
    """
    events = settings.events
    if events.sqs_queue_url and events.redis_url.get_secret_value():
        raise SettingsError(
            "Both events.sqs_queue_url and events.redis_url are set.",
            next_step="Empty one: all buckets are of one store, and it tells each upload once.",
        )
    if events.sqs_queue_url:
        return SqsSource(events, settings.storage)
    if not events.redis_url.get_secret_value():
        raise SettingsError(
            "Neither events.sqs_queue_url nor events.redis_url is set, so there is nothing to take events from.",
            next_step="Set one, or leave `ingest` out: `hashwarden sweep` finds uploads by listing.",
        )
    with closing(open_list(events)) as client:
        try:
            waiting(client, events.redis_key)
        except NotAListError:
            raise
        except EventSourceError as fault:
            # It may come up later: the bridge tries until it does.
            log.warning("event_source_away", message=str(fault))
    return RedisListSource(events)
