"""The whole way of an upload on real parts: what is withheld, for how long, and that every try has one effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from bank_sync.bank import BankRecord, Feedback
from bank_sync.own_bank import retire_unsupported_own
from worker.domain import HashedMedia, Kind, State, Verdict
from worker.fetch import Fetched
from worker.pipeline import conclude
from worker.review.desk.reviews import decide_review
from worker.store import leases
from worker.store.models import Content, DecisionRow, Review, Upload, WebhookMessage
from worker.withdrawals import release_withdrawn

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


def review_of(rig: Rig, upload_id: int) -> Review:
    with rig.sessions() as session:
        content_id = session.get_one(Upload, upload_id).content_id
        return session.scalars(select(Review).where(Review.content_id == content_id)).one()


def decide(rig: Rig, upload_id: int, verdict: Verdict, request: str = "r1") -> None:
    decide_review(
        rig.sessions,
        rig.settings.policy,
        review_of(rig, upload_id).id,
        verdict,
        actor="ann",
        request_id=request,
    )


def webhooks(rig: Rig) -> list[str]:
    with rig.sessions() as session:
        return list(session.scalars(select(WebhookMessage.type).order_by(WebhookMessage.id)))


@pytest.fixture(params=["versioned", "plain"])
def bucket(request: pytest.FixtureRequest) -> str:
    """Each test runs on a bucket with versions (delete markers) and on one without (quarantine)."""
    return str(request.getfixturevalue(f"{request.param}_bucket"))


def test_an_unrelated_upload_is_clear_and_served(rig: Rig, bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    body = rig.jpeg(rig.picture(2))
    _, state = rig.scan(bucket, "u/a.jpg", body)
    assert state is State.CLEAR
    assert rig.get(bucket, "u/a.jpg") == body


def test_a_copy_is_withheld_and_released_byte_for_byte(rig: Rig, bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    copy = rig.jpeg(rig.picture(1).resize((500, 375)), 60)
    upload_id, state = rig.scan(bucket, "u/a.jpg", copy)
    assert state is State.HELD
    assert rig.get(bucket, "u/a.jpg") is None

    decide(rig, upload_id, Verdict.NOT_A_MATCH)
    assert rig.process(upload_id) is State.RELEASED
    assert rig.get(bucket, "u/a.jpg") == copy
    head = rig.s3.head_object(Bucket=bucket, Key="u/a.jpg")
    assert (head["ContentType"], head["Metadata"]) == ("image/jpeg", {"by": "ann"})
    assert webhooks(rig) == ["item.held", "item.released"]


def test_removal_deletes_the_bytes_after_its_delay_and_can_be_undone_before(rig: Rig, bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    body = rig.jpeg(rig.picture(1))
    upload_id, _ = rig.scan(bucket, "u/a.jpg", body)
    decide(rig, upload_id, Verdict.CONFIRMED)
    assert rig.process(upload_id) is State.REMOVED
    assert rig.get(bucket, "u/a.jpg") is None

    decide(rig, upload_id, Verdict.NOT_A_MATCH, "r2")
    assert rig.process(upload_id) is State.RELEASED
    assert rig.get(bucket, "u/a.jpg") == body

    decide(rig, upload_id, Verdict.CONFIRMED, "r3")
    rig.process(upload_id)
    rig.make_due(upload_id)
    rig.process(upload_id)
    assert rig.row(upload_id).access_applied == "purged"
    versions = rig.s3.list_object_versions(Bucket=bucket, Prefix="u/").get("Versions", [])
    assert versions == []


def test_the_same_bytes_are_removed_again_and_a_near_copy_is_held_by_the_own_bank(
    rig: Rig, bucket: str
) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    body = rig.jpeg(rig.picture(1))
    first, _ = rig.scan(bucket, "u/a.jpg", body)
    decide(rig, first, Verdict.CONFIRMED)
    again, state = rig.scan(bucket, "v/b.jpg", body)
    assert state is State.REMOVED
    assert rig.history(again)[-2:] == ["held", "removed"]
    assert rig.get(bucket, "v/b.jpg") is None

    rig.publish()
    near, state = rig.scan(bucket, "w/c.jpg", rig.jpeg(rig.picture(1), 40))
    assert state is State.HELD
    with rig.sessions() as session:
        content = session.get_one(Upload, near).content
        assert content is not None
        assert {match.bank for match in content.matches} == {"stopncii", "own"}


def test_content_decided_no_match_is_not_held_again_by_the_same_entry(rig: Rig, bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    body = rig.jpeg(rig.picture(1))
    first, _ = rig.scan(bucket, "u/a.jpg", body)
    decide(rig, first, Verdict.NOT_A_MATCH)
    _, state = rig.scan(bucket, "v/b.jpg", body)
    assert state is State.CLEAR
    rig.bank_pdq(rig.hash_of(body), bank="another")
    _, state = rig.scan(bucket, "w/c.jpg", body)
    assert state is State.CLEAR, "a bank that is not configured does not match"


def test_a_withdrawal_releases_what_only_it_held(rig: Rig, bucket: str) -> None:
    value = rig.hash_of(rig.jpeg(rig.picture(1)))
    rig.bank_pdq(value)
    body = rig.jpeg(rig.picture(1))
    upload_id, _ = rig.scan(bucket, "u/a.jpg", body)
    assert release_withdrawn(rig.sessions) == 0
    rig.bank_records([BankRecord("pdq", value, raw_status="Withdrawn")])
    assert release_withdrawn(rig.sessions) == 1
    assert release_withdrawn(rig.sessions) == 0
    assert rig.process(upload_id) is State.RELEASED
    assert rig.get(bucket, "u/a.jpg") == body
    assert review_of(rig, upload_id).state == "withdrawn"
    _, state = rig.scan(bucket, "v/b.jpg", body)
    assert state is State.CLEAR


def test_a_withdrawn_case_takes_the_own_banks_entry_and_the_memory_with_it(rig: Rig, bucket: str) -> None:
    value = rig.hash_of(rig.jpeg(rig.picture(1)))
    rig.bank_pdq(value)
    body = rig.jpeg(rig.picture(1))
    first, _ = rig.scan(bucket, "u/a.jpg", body)
    decide(rig, first, Verdict.CONFIRMED)
    rig.bank_records([BankRecord("pdq", value, raw_status="Withdrawn")])
    with rig.sessions.begin() as session:
        retire_unsupported_own(session)
    rig.publish()
    _, state = rig.scan(bucket, "v/b.jpg", body)
    assert state is State.CLEAR
    assert State(rig.row(first).state) is State.REMOVED, "a person's decision about the first upload stands"


def test_running_it_again_and_again_changes_nothing(rig: Rig, bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    upload_id, _ = rig.scan(bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    before = rig.history(upload_id)
    versions = rig.s3.list_object_versions(Bucket=bucket)
    for _ in range(3):
        rig.process(upload_id)
    after = rig.s3.list_object_versions(Bucket=bucket)
    assert rig.history(upload_id) == before
    assert len(after.get("DeleteMarkers", [])) == len(versions.get("DeleteMarkers", []))
    assert webhooks(rig) == ["item.held"]
    with rig.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Feedback)) == 1


def test_an_effect_that_somebody_undid_is_made_to_hold_again(rig: Rig, versioned_bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    upload_id, _ = rig.scan(versioned_bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    (marker,) = rig.s3.list_object_versions(Bucket=versioned_bucket)["DeleteMarkers"]
    rig.s3.delete_object(Bucket=versioned_bucket, Key="u/a.jpg", VersionId=marker["VersionId"])
    assert rig.get(versioned_bucket, "u/a.jpg") is not None
    rig.make_due(upload_id)
    rig.process(upload_id)
    assert rig.get(versioned_bucket, "u/a.jpg") is None


def test_what_can_not_be_hashed_is_visible_and_reviewed_at_low_priority(rig: Rig, bucket: str) -> None:
    rig.publish()
    body = rig.jpeg(rig.picture(1))[:300]
    upload_id, state = rig.scan(bucket, "u/a.jpg", body)
    assert state is State.UNSCANNABLE
    assert rig.row(upload_id).reason
    review = review_of(rig, upload_id)
    assert (review.state, review.cause, review.priority) == ("open", "unscannable", 10)
    _, state = rig.scan(bucket, "u/b.txt", b"hello, world")
    assert state is State.UNSUPPORTED


def test_without_an_index_nothing_is_cleared(rig: Rig, bucket: str) -> None:
    upload_id, state = rig.scan(bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    assert state is State.PENDING
    row = rig.row(upload_id)
    assert (row.attempts, row.faults) == (0, 1)
    rig.publish()
    rig.make_due(upload_id)
    assert rig.process(upload_id) is State.CLEAR


def test_an_object_deleted_before_it_is_read_is_gone(rig: Rig, bucket: str) -> None:
    rig.publish()
    upload_id = rig.put(bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    version = rig.row(upload_id).version_id
    if version:
        rig.s3.delete_object(Bucket=bucket, Key="u/a.jpg", VersionId=version)
    else:
        rig.s3.delete_object(Bucket=bucket, Key="u/a.jpg")
    assert rig.process(upload_id) is State.GONE


def test_an_overwritten_object_is_superseded_or_read_in_its_own_version(rig: Rig, bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    first = rig.put(bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    innocent = rig.jpeg(rig.picture(2))
    second = rig.put(bucket, "u/a.jpg", innocent)
    versioned = bool(rig.row(first).version_id)
    assert rig.process(first) is (State.HELD if versioned else State.SUPERSEDED)
    assert rig.process(second) is State.CLEAR
    assert rig.get(bucket, "u/a.jpg") == innocent, "the version on top is innocent and stays served"


def test_a_b_a_overwrites_each_find_their_own_version(rig: Rig, versioned_bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    bad, good = rig.jpeg(rig.picture(1)), rig.jpeg(rig.picture(2))
    ids = [rig.put(versioned_bucket, "u/a.jpg", body) for body in (bad, good, bad)]
    assert len(set(ids)) == 3
    assert [rig.process(i) for i in ids] == [State.HELD, State.CLEAR, State.HELD]
    assert rig.get(versioned_bucket, "u/a.jpg") is None
    decide(rig, ids[0], Verdict.NOT_A_MATCH)
    assert [rig.process(i) for i in ids] == [State.RELEASED, State.CLEAR, State.RELEASED]
    assert rig.get(versioned_bucket, "u/a.jpg") == bad


def test_the_flood_breaker_demotes_an_entry_that_hits_many_uploaders(rig: Rig, versioned_bucket: str) -> None:
    rig.with_policy(flood={"uploaders": 3, "window": 3600})
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    states = [
        rig.scan(versioned_bucket, f"user{n}/a.jpg", rig.jpeg(rig.picture(1), 60 + n))[1] for n in range(5)
    ]
    assert states == [State.HELD] * 3 + [State.FLAGGED] * 2
    assert webhooks(rig).count("flood.tripped") == 1


def test_one_account_can_not_demote_a_hash_by_itself(rig: Rig, versioned_bucket: str) -> None:
    rig.with_policy(flood={"uploaders": 3, "window": 3600})
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    keys = [*(f"ann/{n}.jpg" for n in range(3)), *(f"{n}.jpg" for n in range(3))]
    bodies = [rig.jpeg(rig.picture(1), 60 + n) for n in range(6)]
    states = {rig.scan(versioned_bucket, key, body)[1] for key, body in zip(keys, bodies, strict=True)}
    assert states == {State.HELD}


def test_shadow_mode_records_and_does_nothing_else(rig: Rig, versioned_bucket: str) -> None:
    rig.with_policy(mode="shadow")
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    body = rig.jpeg(rig.picture(1))
    upload_id, state = rig.scan(versioned_bucket, "u/a.jpg", body)
    assert (state, rig.row(upload_id).reason) == (State.CLEAR, "shadow_held")
    assert rig.get(versioned_bucket, "u/a.jpg") == body
    assert webhooks(rig) == []
    with rig.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Review)) == 0
        assert session.scalar(select(func.count()).select_from(Feedback)) == 0


def test_after_scan_publishing_tags_every_upload(rig: Rig, versioned_bucket: str) -> None:
    rig.with_policy(publish="after_scan")
    rig.publish()
    rig.s3.put_object(Bucket=versioned_bucket, Key="u/a.jpg", Body=rig.jpeg(rig.picture(1)), Tagging="mine=1")
    assert rig.process(rig.row_for(versioned_bucket, "u/a.jpg")) is State.CLEAR
    tags = rig.s3.get_object_tagging(Bucket=versioned_bucket, Key="u/a.jpg")["TagSet"]
    values = {tag["Key"]: tag["Value"] for tag in tags}
    assert (values["mine"], values["content-scan-status"]) == ("1", "CLEAR")
    assert webhooks(rig) == ["scan.completed"]


def test_one_request_decides_once(rig: Rig, versioned_bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    upload_id, _ = rig.scan(versioned_bucket, "u/a.jpg", rig.jpeg(rig.picture(1)))
    decide(rig, upload_id, Verdict.CONFIRMED)
    decide(rig, upload_id, Verdict.CONFIRMED)
    with rig.sessions() as session:
        assert session.scalar(select(func.count()).select_from(DecisionRow)) == 1
        values = list(session.scalars(select(Feedback.value).order_by(Feedback.id)))
    assert values == ["PendingReview", "Blocked"]


def test_a_scan_whose_lease_was_lost_writes_nothing(rig: Rig, versioned_bucket: str) -> None:
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    upload_id = rig.put(versioned_bucket, "u/a.jpg", body)
    with rig.sessions.begin() as session:
        late = leases.claim(session, upload_id, rig.settings.queue, actor="late")
    rig.make_due(upload_id)
    with rig.sessions.begin() as session:
        assert leases.claim(session, upload_id, rig.settings.queue, actor="second") is not None
    assert late is not None
    fetched = Fetched(media=None, size=len(body), md5=b"m" * 16, sha256=b"s" * 32)
    media = HashedMedia(kind=Kind.IMAGE)
    assert conclude(rig.stages, late, fetched, media, (), 1) is False
    assert rig.row(upload_id).state == State.SCANNING
    with rig.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Content)) == 0
