"""What may die, dies: each upload still ends in one state, within its attempts, with one effect on the object."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from worker.domain import Lane, State
from worker.store.models import Upload, WebhookMessage

if TYPE_CHECKING:
    from tests.crash.conftest import Fleet
    from worker.demo.embedded import Embedded


def a_case(fleet: Fleet) -> bytes:
    """Puts a picture into the bank and returns a copy of it that will be held."""
    body = fleet.rig.jpeg(fleet.rig.picture(1))
    fleet.rig.bank_pdq(fleet.rig.hash_of(body))
    return body


def assert_held_once(fleet: Fleet, bucket: str, upload_id: int, attempts: int) -> None:
    """One end state, one hold in the history, one delete marker, one webhook, and the attempts that were needed."""
    row = fleet.rig.row(upload_id)
    assert (row.state, row.attempts, row.access_applied) == (State.HELD, attempts, "denied")
    assert fleet.rig.history(upload_id).count("held") == 1
    versions = fleet.rig.s3.list_object_versions(Bucket=bucket, Prefix=row.key)
    assert len(versions["DeleteMarkers"]) == 1
    assert len(versions["Versions"]) == 1
    assert fleet.rig.get(bucket, row.key) is None
    with fleet.rig.sessions() as session:
        assert list(session.scalars(select(WebhookMessage.type))) == ["item.held"]


def test_01_a_pool_child_killed_in_the_middle_is_made_up_for(fleet: Fleet, versioned_bucket: str) -> None:
    body = a_case(fleet)
    fleet.start()
    fleet.gate.shut()
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    os.kill(fleet.busy_child(upload_id), signal.SIGKILL)
    fleet.gate.open()
    fleet.wait_for(upload_id, State.HELD)
    assert_held_once(fleet, versioned_bucket, upload_id, attempts=2)


def test_02_an_upload_that_kills_every_child_ends_and_the_queue_goes_on(
    fleet: Fleet, versioned_bucket: str
) -> None:
    innocent_body = fleet.rig.jpeg(fleet.rig.picture(2))
    body = a_case(fleet)
    fleet.start()
    fleet.gate.shut()
    poison = fleet.rig.put(versioned_bucket, "u/poison.jpg", body)
    fleet.dispatch()
    for attempt in range(1, 4):
        fleet.wait_until(lambda wanted=attempt: fleet.rig.row(poison).attempts == wanted, timeout=40)
        os.kill(fleet.busy_child(poison), signal.SIGKILL)
    fleet.gate.open()
    assert fleet.wait_for(poison, State.UNSCANNABLE) is State.UNSCANNABLE
    row = fleet.rig.row(poison)
    assert (row.attempts, row.reason) == (3, "out_of_attempts")
    innocent = fleet.rig.put(versioned_bucket, "u/b.jpg", innocent_body)
    fleet.wait_for(innocent, State.CLEAR)


def test_03_a_killed_worker_is_made_up_for_by_another(fleet: Fleet, versioned_bucket: str) -> None:
    body = a_case(fleet)
    first = fleet.start()
    fleet.gate.shut()
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    fleet.busy_child(upload_id)
    os.killpg(first.pid, signal.SIGKILL)
    fleet.start()
    fleet.gate.open()
    fleet.wait_for(upload_id, State.HELD)
    assert_held_once(fleet, versioned_bucket, upload_id, attempts=2)


def test_04_a_memory_error_costs_attempts_and_not_the_worker(fleet: Fleet, versioned_bucket: str) -> None:
    body = a_case(fleet)
    worker = fleet.start("memory_error")
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    fleet.wait_for(upload_id, State.UNSCANNABLE)
    assert worker.poll() is None
    assert fleet.rig.row(upload_id).attempts == 3


@pytest.mark.parametrize(
    "fleet", [{"soft_limit_image": 0.5, "hard_limit_image": 1.0, "lease_image": 2.0}], indirect=True
)
def test_05_a_hard_time_limit_ends_without_a_loop(fleet: Fleet, versioned_bucket: str) -> None:
    body = a_case(fleet)
    worker = fleet.start("hang")
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    fleet.wait_for(upload_id, State.UNSCANNABLE, timeout=60)
    assert worker.poll() is None
    assert fleet.rig.history(upload_id).count("unscannable") == 1
    assert fleet.rig.history(upload_id).count("scanning") == 3


def test_06_a_broker_killed_and_restarted_costs_neither_worker_nor_upload(
    fleet: Fleet, versioned_bucket: str, embedded: Embedded
) -> None:
    body = a_case(fleet)
    worker = fleet.start()
    fleet.gate.shut()
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    fleet.busy_child(upload_id)
    embedded.valkey.kill()
    embedded.valkey.start()
    fleet.gate.open()
    fleet.wait_for(upload_id, State.HELD)
    second = fleet.rig.put(versioned_bucket, "u/b.jpg", fleet.rig.jpeg(fleet.rig.picture(2)))
    fleet.wait_for(second, State.CLEAR)
    assert worker.poll() is None
    assert_held_once(fleet, versioned_bucket, upload_id, attempts=fleet.rig.row(upload_id).attempts)
    assert fleet.rig.row(upload_id).attempts <= 2


def test_07_a_wiped_broker_loses_nothing(fleet: Fleet, versioned_bucket: str) -> None:
    fleet.rig.publish()
    bodies = [fleet.rig.jpeg(fleet.rig.picture(n)) for n in range(3)]
    ids = [fleet.rig.put(versioned_bucket, f"u/{n}.jpg", body) for n, body in enumerate(bodies)]
    fleet.dispatcher.announce_due()
    fleet.dispatcher._broker.flushall()
    fleet.start()
    fleet.dispatch()
    for upload_id in ids:
        fleet.wait_for(upload_id, State.CLEAR)
    assert [fleet.rig.row(i).attempts for i in ids] == [1, 1, 1]


@pytest.mark.parametrize("fleet", [{"lease_image": 60.0}], indirect=True)
def test_10_a_stopped_worker_ends_in_time_and_its_upload_goes_on_elsewhere(
    fleet: Fleet, versioned_bucket: str
) -> None:
    body = a_case(fleet)
    first = fleet.start()
    fleet.gate.shut()
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    fleet.busy_child(upload_id)
    started = time.monotonic()
    first.send_signal(signal.SIGTERM)
    fleet.start()
    fleet.gate.open()
    first.wait(timeout=60)
    assert time.monotonic() - started < 60
    fleet.wait_for(upload_id, State.HELD)
    assert_held_once(fleet, versioned_bucket, upload_id, attempts=fleet.rig.row(upload_id).attempts)


@pytest.mark.parametrize("fault", ["die_before_act", "die_after_storage"])
def test_11_a_death_between_commit_and_effect_makes_the_effect_once(
    fleet: Fleet, versioned_bucket: str, fault: str
) -> None:
    body = a_case(fleet)
    fleet.start(fault)
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    fleet.wait_for(upload_id, State.HELD)
    assert_held_once(fleet, versioned_bucket, upload_id, attempts=1)


@pytest.mark.parametrize("fleet", [{"lease_image": 60.0}], indirect=True)
def test_12_a_second_start_of_a_long_job_is_refused_by_the_lease(fleet: Fleet, versioned_bucket: str) -> None:
    body = a_case(fleet)
    fleet.start()
    fleet.gate.shut()
    upload_id = fleet.rig.put(versioned_bucket, "u/a.jpg", body)
    fleet.dispatch()
    fleet.busy_child(upload_id)
    for _ in range(3):
        # What the broker does with each message whose visibility time-out has passed.
        fleet._announcer([(upload_id, Lane.IMAGE)])
    fleet.wait_until(lambda: fleet.dispatcher._depth(Lane.IMAGE) == 0)
    fleet.gate.open()
    fleet.wait_for(upload_id, State.HELD)
    assert_held_once(fleet, versioned_bucket, upload_id, attempts=1)
    with fleet.rig.sessions() as session:
        assert session.scalars(select(Upload.id)).all() == [upload_id]
