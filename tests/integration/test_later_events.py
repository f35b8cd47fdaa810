"""What comes after a decision: late events, overwrites while held, deletion and re-upload, our own writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from worker.domain import EventKind, ObjectRef, State, UploadEvent, Verdict
from worker.events.inbox import Inbox
from worker.review.desk.reviews import decide_review
from worker.store.models import Review, Upload

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture(params=["versioned", "plain"])
def bucket(request: pytest.FixtureRequest) -> str:
    """A bucket with versions and one without."""
    return str(request.getfixturevalue(f"{request.param}_bucket"))


class Platform:
    """Uploads, tells of it as S3 does (moto: without version ids), and lets the workers work."""

    def __init__(self, rig: Rig, bucket: str) -> None:
        self.rig = rig
        self.bucket = bucket
        self.inbox = Inbox(rig.sessions, rig.stages.store, rig._announce, rig.settings.storage)

    def upload(self, key: str, body: bytes) -> State:
        put = self.rig.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        self.tell(key, put["ETag"].strip('"'))
        self.work()
        return self.states(key)[-1]

    def tell(self, key: str, etag: str) -> None:
        self.inbox.take([UploadEvent(EventKind.CREATED, ObjectRef(self.bucket, key, etag=etag))], "event")

    def work(self) -> None:
        """Twice: what the first round's effects made due is done in the second."""
        for _ in range(2):
            for upload in self.rows():
                self.rig.process(upload.id)

    def rows(self) -> list[Upload]:
        with self.rig.sessions() as session:
            return list(session.scalars(select(Upload).order_by(Upload.id)))

    def states(self, key: str) -> list[State]:
        return [State(row.state) for row in self.rows() if row.key == key]

    def decide(self, key: str, verdict: Verdict, request: str = "r1") -> None:
        row = next(row for row in self.rows() if row.key == key)
        with self.rig.sessions() as session:
            review = session.scalars(select(Review).where(Review.content_id == row.content_id)).one()
        decide_review(
            self.rig.sessions, self.rig.settings.policy, review.id, verdict, actor="ann", request_id=request
        )
        self.work()

    def get(self, key: str) -> bytes | None:
        return self.rig.get(self.bucket, key)


@pytest.fixture
def platform(rig: Rig, bucket: str) -> Platform:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    return Platform(rig, bucket)


def bad(rig: Rig, quality: int = 90) -> bytes:
    return rig.jpeg(rig.picture(1), quality)


def test_a_late_or_doubled_event_of_a_held_object_makes_no_further_row(platform: Platform, rig: Rig) -> None:
    assert platform.upload("u/a.jpg", bad(rig)) is State.HELD
    (row,) = platform.rows()
    for _ in range(2):
        platform.tell("u/a.jpg", row.etag)
        platform.work()
    assert platform.states("u/a.jpg") == [State.HELD]
    assert platform.get("u/a.jpg") is None


def test_a_held_object_overwritten_while_held(platform: Platform, rig: Rig) -> None:
    assert platform.upload("u/a.jpg", bad(rig)) is State.HELD
    innocent = rig.jpeg(rig.picture(2))
    assert platform.upload("u/a.jpg", innocent) is State.CLEAR
    assert platform.get("u/a.jpg") == innocent
    platform.decide("u/a.jpg", Verdict.NOT_A_MATCH)
    assert platform.states("u/a.jpg") == [State.RELEASED, State.CLEAR]
    assert platform.get("u/a.jpg") == innocent, "what the owner put there since is not replaced"


def test_a_held_object_overwritten_by_another_copy_stays_withheld(platform: Platform, rig: Rig) -> None:
    assert platform.upload("u/a.jpg", bad(rig)) is State.HELD
    assert platform.upload("u/a.jpg", bad(rig, 70)) is State.HELD
    assert platform.get("u/a.jpg") is None
    platform.decide("u/a.jpg", Verdict.CONFIRMED)
    assert platform.states("u/a.jpg") == [State.REMOVED, State.HELD]
    assert platform.get("u/a.jpg") is None


def test_a_removed_picture_deleted_and_uploaded_again_is_removed_again(platform: Platform, rig: Rig) -> None:
    body = bad(rig)
    platform.upload("u/a.jpg", body)
    platform.decide("u/a.jpg", Verdict.CONFIRMED)
    for row in platform.rows():
        rig.make_due(row.id)
    platform.work()
    assert platform.upload("u/a.jpg", body) is State.REMOVED
    assert platform.upload("v/elsewhere.jpg", body) is State.REMOVED
    assert platform.get("u/a.jpg") is None
    assert platform.get("v/elsewhere.jpg") is None


def test_what_we_write_ourselves_makes_no_further_work(platform: Platform, rig: Rig) -> None:
    body = bad(rig)
    platform.upload("u/a.jpg", body)
    platform.decide("u/a.jpg", Verdict.NOT_A_MATCH)
    assert platform.get("u/a.jpg") == body
    etag = rig.s3.head_object(Bucket=platform.bucket, Key="u/a.jpg")["ETag"].strip('"')
    platform.tell("u/a.jpg", etag)
    platform.work()
    assert platform.states("u/a.jpg") == [State.RELEASED], "the restored object is the row that it came from"
    assert platform.get("u/a.jpg") == body


def test_a_release_and_a_new_hold_of_the_same_object_by_another_entry(platform: Platform, rig: Rig) -> None:
    body = bad(rig)
    platform.upload("u/a.jpg", body)
    platform.decide("u/a.jpg", Verdict.NOT_A_MATCH)
    near = bytes([rig.hash_of(body)[0] ^ 1]) + rig.hash_of(body)[1:]
    rig.bank_pdq(near)
    assert platform.upload("v/b.jpg", body) is State.HELD, "another entry is another claim"
    assert platform.get("v/b.jpg") is None


def test_removed_bytes_put_back_as_the_very_same_version_are_deleted_again(
    rig: Rig, plain_bucket: str
) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    platform = Platform(rig, plain_bucket)
    body = bad(rig)
    platform.upload("u/a.jpg", body)
    platform.decide("u/a.jpg", Verdict.CONFIRMED)
    (row,) = platform.rows()
    rig.make_due(row.id)
    platform.work()
    rig.s3.put_object(Bucket=plain_bucket, Key="u/a.jpg", Body=body)
    head = rig.s3.head_object(Bucket=plain_bucket, Key="u/a.jpg")
    with rig.sessions.begin() as session:
        # As if it had been put within the second of the first.
        session.get_one(Upload, row.id).last_modified = head["LastModified"]
    platform.tell("u/a.jpg", row.etag)
    platform.work()
    assert platform.states("u/a.jpg") == [State.REMOVED]
    assert platform.get("u/a.jpg") is None
