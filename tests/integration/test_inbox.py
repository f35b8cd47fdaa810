"""The inbox on a real database: each version one row, whatever order and however often events come."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, func, select, update

from config.database import Sessions, make_engine, make_sessions
from config.settings import DatabaseSettings, StorageSettings
from worker.domain import EventKind, Lane, ObjectRef, State, UploadEvent
from worker.errors import StorageError
from worker.events.arrivals import BACKFILL, EPOCH
from worker.events.inbox import Inbox
from worker.storage.memory import MemoryStore
from worker.storage.protocol import Listed, Versioning
from worker.store.models import History, InboxReject, Upload
from worker.store.transitions import transition

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Place:
    sessions: Sessions
    store: MemoryStore
    inbox: Inbox
    announced: list[tuple[int, Lane]] = field(default_factory=list)
    broken: bool = False

    def announce(self, calls: Iterable[tuple[int, Lane]]) -> None:
        if self.broken:
            raise ConnectionError
        self.announced += calls

    def put(self, bucket: str = "versioned", key: str = "a.jpg", data: bytes = b"picture") -> ObjectRef:
        return self.store.put_object(bucket, key, data)

    def take(self, *refs: ObjectRef) -> object:
        return self.inbox.take([UploadEvent(EventKind.CREATED, ref) for ref in refs], "event")

    def removed(self, ref: ObjectRef, *, marker: bool = False) -> None:
        self.inbox.take([UploadEvent(EventKind.REMOVED, ref, marker=marker)], "event")

    def rows(self) -> list[Upload]:
        with self.sessions() as session:
            return list(session.scalars(select(Upload).order_by(Upload.id)))

    def row(self) -> Upload:
        (row,) = self.rows()
        return row

    def history(self, upload_id: int) -> list[tuple[str, str, str]]:
        with self.sessions() as session:
            told = session.scalars(select(History).where(History.upload_id == upload_id).order_by(History.id))
            return [(line.from_state, line.to_state, line.actor) for line in told]

    def move(self, upload_id: int, *states: State) -> None:
        """Brings a row to a state by the allowed ways; its effect is made."""
        with self.sessions.begin() as session:
            upload = session.get_one(Upload, upload_id, with_for_update=True)
            for state in states:
                transition(session, upload, state, actor="test")
            upload.access_due_at = None
            upload.announced_at = None
        self.announced.clear()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(DatabaseSettings(url=database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def place(engine: Engine) -> Place:
    store = MemoryStore("quarantine", clock=itertools.cycle([DAY]).__next__)
    store.create_bucket("versioned", Versioning.ENABLED)
    store.create_bucket("plain")
    store.create_bucket("foreign")
    settings = StorageSettings(buckets=["versioned", "plain"], quarantine_bucket="quarantine")
    sessions = make_sessions(engine)
    place = Place(sessions, store, None)  # type: ignore[arg-type]
    place.inbox = Inbox(sessions, store, place.announce, settings)
    return place


def told(ref: ObjectRef) -> ObjectRef:
    """What an event without version id and last-modified says of it."""
    return replace(ref, version_id="", last_modified=None)


def test_an_event_becomes_a_pending_row_that_is_announced(place: Place) -> None:
    ref = place.put()
    place.take(ref)
    row = place.row()
    assert (row.ref, row.state, row.source, row.priority) == (ref, State.PENDING, "event", 0)
    assert place.announced == [(row.id, Lane.IMAGE)]
    assert row.announced_at is not None
    assert place.history(row.id) == [("", "pending", "event")]


@pytest.mark.parametrize("bucket", ["versioned", "plain"])
def test_an_incomplete_event_a_complete_one_and_the_listing_meet_in_one_row(
    place: Place, bucket: str
) -> None:
    ref = place.put(bucket)
    place.take(told(ref), told(ref))
    place.take(ref)
    place.inbox.take_listed(place.store.list_versions(bucket).refs, "sweep", BACKFILL)
    assert place.row().ref == ref


def test_any_order_of_a_storm_gives_the_same_rows(place: Place) -> None:
    refs = [place.put(key=f"{number}.jpg", data=bytes([number])) for number in range(4)]
    refs += [place.put("plain", "b.png"), place.put(key="0.jpg", data=b"again")]
    for order in itertools.islice(itertools.permutations(refs), 0, 720, 97):
        place.take(*order, *order)
    assert {row.ref for row in place.rows()} == set(refs)
    assert len(place.rows()) == len(refs)
    assert all(len(place.history(row.id)) == 1 for row in place.rows())


def test_videos_go_to_their_own_lane(place: Place) -> None:
    place.take(place.put(key="clips/A.MP4"))
    assert place.row().lane == Lane.VIDEO


def test_many_rows_at_once(place: Place) -> None:
    refs = [place.put(key=f"{number}.jpg") for number in range(1500)]
    place.take(*refs)
    place.take(*refs)
    assert len(place.rows()) == len(place.announced) == 1500


def test_overwritten_before_the_event_came(place: Place) -> None:
    ref = place.put("plain")
    place.put("plain", data=b"newer")
    place.take(told(ref))
    row = place.row()
    assert (row.state, row.etag, row.last_modified) == (State.SUPERSEDED, ref.etag, EPOCH)
    assert place.history(row.id) == [("", "pending", "event"), ("pending", "superseded", "inbox")]
    assert place.announced == []
    place.take(told(ref))
    assert place.row().state == State.SUPERSEDED


def test_deleted_before_the_event_came(place: Place) -> None:
    ref = place.put("plain")
    place.store.delete_object("plain", "a.jpg")
    place.take(told(ref))
    assert place.row().state == State.GONE


def test_a_to_b_to_a(place: Place) -> None:
    first = place.put("plain", data=b"A")
    place.put("plain", data=b"B")
    place.take(told(first))
    place.put("plain", data=b"A")
    place.take(told(first))
    assert sorted(row.state for row in place.rows()) == [State.PENDING, State.SUPERSEDED]


def test_a_failing_store_leaves_the_message(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = place.put("plain")

    def fail(_: ObjectRef) -> ObjectRef:
        raise StorageError("The object store answered 503.")

    monkeypatch.setattr(place.store, "complete", fail)
    with pytest.raises(StorageError):
        place.take(place.put(key="fine.jpg"), told(ref))
    assert place.rows() == []


def test_a_failing_broker_loses_nothing(place: Place) -> None:
    place.broken = True
    place.take(place.put())
    row = place.row()
    assert (row.state, row.announced_at) == (State.PENDING, None)


@pytest.mark.parametrize(
    "states", [(State.CLEAR,), (State.HELD,), (State.HELD, State.RELEASED), (State.HELD, State.REMOVED)]
)
def test_a_further_event_rechecks_the_effect_of_a_final_row(place: Place, states: tuple[State, ...]) -> None:
    ref = place.put()
    place.take(ref)
    row = place.row()
    place.move(row.id, State.SCANNING, *states)
    place.take(ref)
    again = place.row()
    assert (again.state, again.access_due_at is not None) == (states[-1], True)
    assert place.announced == [(row.id, Lane.IMAGE)]


def test_an_event_for_a_row_in_work_only_notes_that_it_was_seen(place: Place) -> None:
    ref = place.put()
    place.take(ref)
    place.move(place.row().id, State.SCANNING)
    before = place.row()
    place.take(ref)
    assert place.row().last_seen_at > before.last_seen_at
    assert (place.row().state, place.announced) == (State.SCANNING, [])


@pytest.mark.parametrize("left", [State.SUPERSEDED, State.GONE])
@pytest.mark.parametrize("bucket", ["versioned", "plain"])
def test_what_was_left_behind_is_scanned_when_it_is_seen_again(
    place: Place, bucket: str, left: State
) -> None:
    ref = place.put(bucket)
    place.take(ref)
    place.move(place.row().id, left)
    place.take(ref)
    row = place.row()
    assert (row.state, place.announced) == (State.PENDING, [(row.id, Lane.IMAGE)])
    assert place.history(row.id)[-1] == (left, "pending", "inbox")


def test_an_old_event_does_not_revive_what_does_not_exist(place: Place) -> None:
    ref = place.put()
    place.take(ref)
    place.store.delete("versioned", "a.jpg", ref.version_id)
    place.removed(ref)
    place.take(ref)
    assert (place.row().state, place.row().deleted_at is not None) == (State.GONE, True)


def test_deletion_of_exactly_that_version(place: Place) -> None:
    old, new = place.put(data=b"old"), place.put(data=b"new")
    place.take(old, new)
    place.removed(old)
    assert [row.state for row in sorted(place.rows(), key=lambda row: row.version_id == new.version_id)] == [
        State.GONE,
        State.PENDING,
    ]


def test_a_deletion_is_noted_on_a_decided_row_and_what_it_may_uncover_is_checked(place: Place) -> None:
    held, newer = place.put(data=b"held"), place.put(data=b"newer")
    place.take(held, newer)
    by_version = {row.version_id: row.id for row in place.rows()}
    place.move(by_version[held.version_id], State.SCANNING, State.HELD)
    place.move(by_version[newer.version_id], State.SCANNING, State.CLEAR)
    place.removed(newer)
    rows = {row.version_id: row for row in place.rows()}
    assert rows[newer.version_id].deleted_at is not None
    assert rows[newer.version_id].state == State.CLEAR
    assert rows[held.version_id].access_due_at is not None
    assert place.announced == [(by_version[held.version_id], Lane.IMAGE)]


def test_our_own_removal_is_not_somebody_elses_deletion(place: Place) -> None:
    ref = place.put()
    place.take(ref)
    place.move(place.row().id, State.SCANNING, State.HELD, State.REMOVED)
    place.removed(ref)
    assert place.row().deleted_at is None


def test_a_delete_marker_changes_nothing(place: Place) -> None:
    ref = place.put()
    place.take(ref)
    before = place.row()
    place.removed(ref, marker=True)
    assert (place.row().state, place.row().deleted_at) == (before.state, None)


def test_a_deletion_without_versions_lets_the_scan_find_out(place: Place) -> None:
    ref = place.put("plain")
    place.take(ref)
    with place.sessions.begin() as session:
        session.execute(
            update(Upload).values(next_attempt_at=func.clock_timestamp() + func.make_interval(0, 0, 0, 1))
        )
    place.announced.clear()
    place.removed(told(ref))
    row = place.row()
    assert (row.state, place.announced) == (State.PENDING, [(row.id, Lane.IMAGE)])
    assert row.next_attempt_at <= row.announced_at  # type: ignore[operator]


def test_our_own_markers_and_scratch_keys_and_foreign_buckets_make_no_rows(place: Place) -> None:
    ref = place.put()
    place.take(ref)
    with place.sessions.begin() as session:
        session.execute(update(Upload).values(receipt={"method": "delete_marker", "marker_version_id": "m1"}))
    place.take(
        replace(ref, version_id="m1"),
        ObjectRef("foreign", "x", "v"),
        ObjectRef("quarantine", "held/1", "", "e", 1, DAY),
        ObjectRef("versioned", ".hashwarden-doctor/x", "v"),
    )
    assert place.row().ref == ref


def test_test_events_are_taken_and_make_no_row(place: Place) -> None:
    taken = place.inbox.take([UploadEvent(EventKind.TEST, ObjectRef("versioned", ""))], "event")
    assert (taken.ignored, place.rows()) == (1, [])


def listed(place: Place, *, latest: bool) -> list[Listed]:
    return [Listed(found.ref, latest) for found in place.store.list_versions("versioned").refs]


def test_a_listing_rechecks_denied_rows_only_where_they_are_served(place: Place) -> None:
    place.take(place.put())
    place.move(place.row().id, State.SCANNING, State.HELD)
    place.inbox.take_listed(listed(place, latest=False), "sweep", BACKFILL)
    assert place.row().access_due_at is None
    place.inbox.take_listed(listed(place, latest=True), "sweep", BACKFILL)
    assert place.row().access_due_at is not None


def test_a_listing_leaves_other_final_rows_alone(place: Place) -> None:
    place.take(place.put())
    place.move(place.row().id, State.SCANNING, State.CLEAR)
    place.inbox.take_listed(listed(place, latest=True), "sweep", BACKFILL)
    assert (place.row().access_due_at, place.announced) == (None, [])


def test_what_a_backfill_finds_waits_for_the_dispatcher(place: Place) -> None:
    place.put()
    place.inbox.take_listed(listed(place, latest=True), "backfill", BACKFILL)
    row = place.row()
    assert (row.priority, row.source, row.announced_at, place.announced) == (BACKFILL, "backfill", None, [])


def rejects(place: Place) -> list[tuple[str, str, str, int]]:
    with place.sessions() as session:
        return [
            (reject.source, reject.reason, reject.body, reject.seen)
            for reject in session.scalars(select(InboxReject).order_by(InboxReject.id))
        ]


def test_rejects_are_kept_once_and_counted(place: Place) -> None:
    for _ in range(3):
        place.inbox.reject("event", "what\x00 is \ud800 this", "not_json")
    assert rejects(place) == [("event", "not_json", "what\ufffd is ? this", 3)]


def test_a_huge_reject_is_cut(place: Place) -> None:
    place.inbox.reject("event", "é" * 100_000, "not_json")
    assert len(rejects(place)[0][2].encode()) == 64 * 1024


def test_a_key_that_no_row_can_hold_is_kept_as_a_reject(place: Place) -> None:
    found = Listed(ObjectRef("versioned", "a\x00b", "v1"), is_latest=True)
    place.inbox.take_listed([found], "sweep", BACKFILL)
    assert (place.rows(), [reject[1] for reject in rejects(place)]) == ([], ["name_not_storable"])


@pytest.fixture
def in_threads() -> Callable[[list[Callable[[], object]]], None]:
    from concurrent.futures import ThreadPoolExecutor

    def run(calls: list[Callable[[], object]]) -> None:
        with ThreadPoolExecutor(len(calls)) as pool:
            for result in [pool.submit(call) for call in calls]:
                result.result()

    return run


def test_two_inboxes_at_once(place: Place, in_threads: Callable[[list[Callable[[], object]]], None]) -> None:
    refs = [place.put(key=f"{number}.jpg") for number in range(60)]
    in_threads([lambda: place.take(*refs), lambda: place.take(*reversed(refs)), lambda: place.take(*refs)])
    assert len(place.rows()) == 60
    assert sorted(upload_id for upload_id, _ in place.announced) == [row.id for row in place.rows()]
