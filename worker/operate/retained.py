"""What retention has done, as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import select
from sqlalchemy.orm import Session

from worker.operate.age import seconds_since
from worker.store.retention_mark import RetentionMark


def retention(session: Session) -> Iterator[Metric]:
    deleted, oldest, walked = session.execute(
        select(
            RetentionMark.deleted,
            seconds_since(RetentionMark.oldest_left),
            seconds_since(RetentionMark.finished_at),
        )
    ).one()
    told = {
        "deleted": ("Uploads whose rows retention has deleted.", deleted),
        "oldest_seconds": ("Age of the last sighting of the oldest upload that may go and is left.", oldest),
        "walk_seconds": ("Time since all uploads were last looked at; 0 before the first time.", walked),
    }
    for name, (text, value) in told.items():
        yield GaugeMetricFamily(f"hashwarden_retention_{name}", text, value=float(value or 0))
