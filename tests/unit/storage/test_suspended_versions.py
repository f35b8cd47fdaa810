"""Buckets whose versions are suspended: a plain DELETE there destroys the null version and leaves a null marker."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.domain import ObjectRef
from worker.storage.memory import MemoryStore
from worker.storage.protocol import Method, Receipt, ServedOutcome, Versioning

OLD, HELD, NEW = b"old", b"held", b"new"


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("quarantine")
    store.create_bucket("uploads", Versioning.ENABLED)
    return store


def served(store: MemoryStore) -> bytes | None:
    if store.head("uploads", "key") is None:
        return None
    with store.read("uploads", "key", None, "") as body:
        return b"".join(body)


def deny(store: MemoryStore, ref: ObjectRef) -> Receipt:
    return store.deny(ref, None, intent_at=datetime.now(UTC), quarantine_key="q", sha256=None)


def test_a_null_version_goes_to_quarantine_and_no_older_one_surfaces(store: MemoryStore) -> None:
    store.put_object("uploads", "key", OLD)
    store.create_bucket("uploads", Versioning.SUSPENDED)
    ref = store.put_object("uploads", "key", HELD)
    receipt = deny(store, ref)
    assert receipt.method is Method.QUARANTINE
    assert served(store) is None
    assert store.serve(ref, receipt).outcome is ServedOutcome.SERVED
    assert served(store) == HELD


def test_a_version_from_before_the_suspension_comes_back_over_an_older_one(store: MemoryStore) -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 9)]
    store._clock = lambda: moments.pop(0)
    store.put_object("uploads", "key", OLD)
    ref = store.put_object("uploads", "key", HELD)
    store.create_bucket("uploads", Versioning.SUSPENDED)
    receipt = deny(store, ref)
    assert served(store) == OLD
    result = store.serve(ref, receipt)
    assert (result.outcome, result.restored) == (ServedOutcome.SERVED, True)
    assert served(store) == HELD


def test_an_upload_since_the_denial_is_not_overwritten(store: MemoryStore) -> None:
    ref = store.put_object("uploads", "key", HELD)
    store.create_bucket("uploads", Versioning.SUSPENDED)
    receipt = deny(store, ref)
    store.put_object("uploads", "key", NEW)
    assert store.serve(ref, receipt).outcome is ServedOutcome.OCCUPIED
    assert served(store) == NEW


def test_held_by_marker_before_the_suspension_is_released_by_it(store: MemoryStore) -> None:
    ref = store.put_object("uploads", "key", HELD)
    receipt = deny(store, ref)
    store.create_bucket("uploads", Versioning.SUSPENDED)
    assert store.deny(ref, receipt, intent_at=None, quarantine_key="q", sha256=None) == receipt
    assert store.serve(ref, receipt).outcome is ServedOutcome.SERVED
    assert served(store) == HELD


def test_quarantined_before_versions_were_turned_on_is_released_from_quarantine(store: MemoryStore) -> None:
    store.create_bucket("uploads", Versioning.OFF)
    ref = store.put_object("uploads", "key", HELD)
    receipt = deny(store, ref)
    store.create_bucket("uploads", Versioning.ENABLED)
    assert store.deny(ref, receipt, intent_at=None, quarantine_key="q", sha256=None) == receipt
    result = store.serve(ref, receipt)
    assert (result.outcome, result.restored, served(store)) == (ServedOutcome.SERVED, True, HELD)


def test_a_null_version_is_hidden_by_a_marker_once_versions_are_on(store: MemoryStore) -> None:
    store.create_bucket("uploads", Versioning.OFF)
    ref = store.put_object("uploads", "key", HELD)
    store.create_bucket("uploads", Versioning.ENABLED)
    receipt = deny(store, ref)
    assert receipt.method is Method.DELETE_MARKER
    with store.open(ref, receipt) as body:
        assert b"".join(body) == HELD
    store.purge(ref, receipt)
    assert served(store) is None
    assert [version.is_marker for version in store.stack("uploads", "key")] == [True]


def test_erasing_from_a_quarantine_bucket_with_versions_leaves_none(store: MemoryStore) -> None:
    store.create_bucket("quarantine", Versioning.ENABLED)
    store.create_bucket("uploads", Versioning.OFF)
    ref = store.put_object("uploads", "key", HELD)
    receipt = deny(store, ref)
    store.purge(ref, receipt)
    assert store.stack("quarantine", "q") == []
