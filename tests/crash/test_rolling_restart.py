"""Workers are restarted one after another while uploads stream in: each ends once, by one attempt, with one effect."""

from __future__ import annotations

import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from worker.domain import State
from worker.store.models import History, Upload, WebhookMessage

if TYPE_CHECKING:
    from tests.crash.conftest import Fleet

FIRST = 3
"""Uploads that wait before the first worker is told to end."""


@pytest.mark.parametrize("fleet", [{"lease_image": 90.0, "reannounce_after": 5.0}], indirect=True)
def test_no_upload_and_no_attempt_is_lost(fleet: Fleet, versioned_bucket: str) -> None:
    rig = fleet.rig
    bad = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(bad))
    bodies = [bad if number % 3 == 0 else rig.jpeg(rig.picture(2 + number % 3)) for number in range(3)]
    uploads: dict[int, State] = {}
    over = threading.Event()

    def stream() -> None:
        """Distinct bytes throughout: no upload is decided by another one's scan."""
        number = 0
        while not over.is_set():
            body = bodies[number % 3] + f"{number}".encode()
            upload_id = rig.put(versioned_bucket, f"u/{number}.jpg", body)
            uploads[upload_id] = State.HELD if number % 3 == 0 else State.CLEAR
            number += 1
            over.wait(0.4)

    old = [fleet.start(), fleet.start()]
    fleet.dispatch()
    streaming = threading.Thread(target=stream)
    streaming.start()
    try:
        for worker in old:
            so_far = len(uploads)
            fleet.wait_until(lambda most=so_far + FIRST: len(uploads) >= most, timeout=30)
            fleet.start()
            # In the middle of an upload at least: its bytes wait at the gate.
            fleet.gate.shut()
            fleet.wait_until(lambda busy=worker: _scans(fleet, busy), timeout=60)
            worker.send_signal(signal.SIGTERM)
            fleet.gate.open()
            assert worker.wait(60) == 0, fleet.log()
    finally:
        over.set()
        streaming.join()

    for upload_id, expected in uploads.items():
        assert fleet.wait_for(upload_id, State.HELD, State.CLEAR) is expected
        row = rig.row(upload_id)
        assert (row.attempts, row.faults) == (1, 0), _told(fleet, upload_id)
        assert rig.history(upload_id) == ["scanning", expected]
        versions = rig.s3.list_object_versions(Bucket=versioned_bucket, Prefix=row.key)
        markers = [marker for marker in versions.get("DeleteMarkers", []) if marker["Key"] == row.key]
        assert len(markers) == (expected is State.HELD)
    held = sum(state is State.HELD for state in uploads.values())
    with rig.sessions() as session:
        told = session.scalar(select(func.count()).where(WebhookMessage.type == "item.held"))
        scanned_by = set(session.scalars(select(History.actor).where(History.to_state == State.SCANNING)))
    assert told == held
    assert len(scanned_by) > 2, "several generations of workers took part"


def _scans(fleet: Fleet, worker: subprocess.Popen[bytes]) -> bool:
    """Whether an upload is in the hands of this worker now."""
    newest = (
        select(History.actor)
        .where(History.upload_id == Upload.id, History.to_state == State.SCANNING)
        .order_by(History.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    with fleet.rig.sessions() as session:
        actors = session.scalars(select(newest).where(Upload.state == State.SCANNING)).all()
    pids = {child.pid for child in fleet.children(worker)}
    return any(int(actor.rpartition(":")[2]) in pids for actor in actors)


def _told(fleet: Fleet, upload_id: int) -> list[tuple[str, ...]]:
    """An upload's history, for the eyes of whoever reads a failure."""
    query = select(History.to_state, History.reason, History.actor).where(History.upload_id == upload_id)
    with fleet.rig.sessions() as session:
        return [tuple(row) for row in session.execute(query.order_by(History.id))]
