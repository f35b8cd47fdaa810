"""Suspected minors: what is kept and until when, who may see a case, its report, and its overturn by two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from config.minors import MinorSettings
from tests.integration.test_review_pages import Pages
from worker.domain import PURGED, State, Verdict
from worker.preservation import Preserver
from worker.review import audit
from worker.store.audit_log import AuditEntry
from worker.store.minor_cases import MinorCase, MinorFile, number_lost
from worker.store.models import Review, Upload
from worker.store.people import Role
from worker.store.proposals import Proposal
from worker.store.views import View

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.integration.conftest import Rig


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Suspicion:
    """A held upload that maria has marked, and two people of the role."""

    def __init__(self, rig: Rig, pages: Pages, bucket: str) -> None:
        self.rig = rig
        self.pages = pages
        self.bucket = bucket
        self.body = rig.jpeg(rig.picture(1))
        rig.bank_pdq(rig.hash_of(self.body))
        self.upload, state = rig.scan(bucket, "ann/holiday.jpg", self.body)
        assert state is State.HELD
        with rig.sessions() as session:
            self.review, self.content = session.execute(select(Review.id, Review.content_id)).one()
        self.pseudonym, self.mina = pages.signed_in("mina", Role.MINOR_SAFETY)
        self.other, self.mona = pages.signed_in("mona", Role.MINOR_SAFETY)

    def mark(self) -> int:
        """Marks it; the case."""
        page = f"/reviews/{self.review}"
        fields = self.pages.fields(page, f'action="{page}"')
        answer = self.pages.maria.post(page, data=fields | {"verdict": "suspected_minor"})
        assert answer.status_code == 303, answer.text
        with self.rig.sessions() as session:
            return session.scalars(select(MinorCase.id).order_by(MinorCase.id.desc())).first() or 0

    def case(self) -> MinorCase:
        with self.rig.sessions() as session:
            return session.scalars(select(MinorCase).order_by(MinorCase.id.desc())).first() or MinorCase()

    def press(self, case: int, action: str, client: httpx.Client, **more: str) -> httpx.Response:
        return self.pages.press(f"/minors/{case}", action, client, **more)

    def overturn(self, case: int) -> None:
        assert self.press(case, "overturn", self.mina, reason="a slip of a key").status_code == 303
        with self.rig.sessions() as session:
            proposal = session.scalars(select(Proposal.id).order_by(Proposal.id.desc())).first()
        assert self.press(case, f"overturn/{proposal}/approve", self.mona).status_code == 303

    def look(self, rung: int, seconds: float | None = 2.0) -> None:
        with self.rig.sessions.begin() as session:
            session.add(
                View(
                    actor="reviewer-0001",
                    review_id=self.review,
                    content_id=self.content,
                    rung=rung,
                    stills=1,
                    seconds=seconds,
                )
            )

    def report(self, case: int) -> dict[str, Any]:
        answer = self.mina.get(f"/minors/{case}/report")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == f'attachment; filename="case-{case}.json"'
        assert answer.headers["cache-control"] == "no-store"
        report: dict[str, Any] = json.loads(answer.text)
        return report


@pytest.fixture
def suspicion(rig: Rig, ending: ExitStack, versioned_bucket: str) -> Suspicion:
    return Suspicion(rig, Pages(rig, ending), versioned_bucket)


def test_a_case_is_seen_by_the_role_alone_and_shows_no_picture_name_or_hash(suspicion: Suspicion) -> None:
    case = suspicion.mark()
    page = suspicion.mina.get(f"/minors/{case}")
    assert page.status_code == 200
    assert "for another 1 year" in page.text or "365" in page.text or "day" in page.text
    assert "<img" not in page.text
    assert "holiday" not in page.text
    assert f'href="/minors/{case}"' in suspicion.mina.get("/minors").text
    lead = suspicion.pages.person("lea", Role.LEAD, Role.ADMIN, Role.AUDITOR, Role.ADJUDICATOR)
    for address in ("/minors", f"/minors/{case}", f"/minors/{case}/report"):
        assert suspicion.pages.maria.get(address).status_code == 403
        assert lead.get(address).status_code == 403
    assert suspicion.mina.get("/minors/4711").status_code == 404


def test_the_report_tells_what_the_ledger_says_and_no_more(suspicion: Suspicion) -> None:
    suspicion.look(1)
    case = suspicion.mark()
    report = suspicion.report(case)
    [file] = report["fileDetails"]
    assert file["originalFileName"] == "holiday.jpg"
    assert len(file["originalFileHash"]["value"]) == 64
    assert (file["fileViewedByEsp"], file["exifViewedByEsp"]) == (False, False)
    assert file["publiclyAvailable"] is None
    assert [look["shown"] for look in report["looks"]] == ["mosaic"]
    written = json.dumps(report)
    assert "stopncii" not in written
    assert suspicion.rig.hash_of(suspicion.body).hex() not in written


@pytest.mark.parametrize(
    ("rung", "seconds", "viewed"),
    [(2, 9.0, False), (3, 4.0, False), (4, 0.0, True), (4, 1.5, True), (4, None, True)],
)
def test_viewed_is_only_who_was_shown_the_entire_file(
    suspicion: Suspicion, rung: int, seconds: float | None, viewed: bool
) -> None:
    suspicion.look(rung, seconds)
    [file] = suspicion.report(suspicion.mark())["fileDetails"]
    assert file["fileViewedByEsp"] is viewed


def test_a_report_is_written_down_once_and_the_time_begins_anew(suspicion: Suspicion) -> None:
    case = suspicion.mark()
    before = suspicion.case().preserve_until
    form = suspicion.pages.fields(f"/minors/{case}", "/reported", suspicion.mina)
    address = f"/minors/{case}/reported"
    assert suspicion.mina.post(address, data=form | {"reference": " "}).status_code == 409
    assert suspicion.mina.post(address, data=form | {"reference": "CT-1234"}).status_code == 303
    assert suspicion.mina.post(address, data=form | {"reference": "CT-9"}).status_code == 409
    row = suspicion.case()
    assert (row.state, row.reference, row.reported_by) == ("reported", "CT-1234", suspicion.pseudonym)
    assert row.preserve_until > before
    assert "CT-1234" in suspicion.mina.get(f"/minors/{case}").text
    assert suspicion.press(case, "prolong", suspicion.mina, days="10").status_code == 409
    assert suspicion.press(case, "prolong", suspicion.mina, days="900").status_code == 303
    assert suspicion.case().preserve_until - row.preserve_until > timedelta(days=500)
    with suspicion.rig.sessions() as session:
        done = session.scalars(
            select(AuditEntry.action).where(AuditEntry.subject_kind == "minor_case").order_by(AuditEntry.seq)
        ).all()
        assert "CT-1234" not in json.dumps([entry.details for entry in audit.newest(session, 100)])
    assert [each for each in done if each != "minor_case_look"] == [
        "minor_case_reported",
        "minor_case_prolonged",
    ]


def test_it_takes_two_of_the_role_to_overturn(suspicion: Suspicion) -> None:
    case = suspicion.mark()
    assert suspicion.press(case, "overturn", suspicion.mina, reason="a slip").status_code == 303
    with suspicion.rig.sessions() as session:
        proposal = session.scalars(select(Proposal.id)).one()
    address = f"/minors/{case}/overturn/{proposal}/approve"
    own = suspicion.pages.fields(f"/minors/{case}", "/reject", suspicion.mina)
    assert suspicion.mina.post(address, data=own).status_code == 409
    # It is in no list of others, and their right to approve does not reach it.
    lead = suspicion.pages.person("lea", Role.LEAD)
    listed = lead.get("/proposals")
    assert f"<td>{proposal}</td>" not in listed.text
    form = suspicion.pages.fields("/proposals", "/sign-out", lead)
    assert lead.post(f"/proposals/{proposal}/approve", data=form).status_code == 409
    assert suspicion.press(case, f"overturn/{proposal}/approve", suspicion.mona).status_code == 303
    row = suspicion.case()
    assert (row.state, row.closed_by, row.closed_with) == ("closed", suspicion.pseudonym, suspicion.other)
    with suspicion.rig.sessions() as session:
        review = session.get_one(Review, suspicion.review)
        assert (review.state, review.verdict, review.preserve_until) == ("open", "", None)
    assert suspicion.pages.maria.get(f"/reviews/{suspicion.review}").status_code == 200
    assert suspicion.mark() != case


def test_nobody_decides_or_undoes_a_suspected_minor_alone(suspicion: Suspicion) -> None:
    from worker.review.desk.reviews import ReviewError, decide_review
    from worker.review.desk.undo import undo

    suspicion.mark()
    rig = suspicion.rig
    for actor in (suspicion.pages.pseudonym, suspicion.pseudonym, "operator:root"):
        with pytest.raises(ReviewError, match="two persons of the role minor_safety"):
            undo(
                rig.sessions, rig.settings.policy, suspicion.review, actor=actor, request_id=actor, lead=True
            )
        with pytest.raises(ReviewError, match="two persons of the role minor_safety"):
            decide_review(
                rig.sessions,
                rig.settings.policy,
                suspicion.review,
                Verdict.CONFIRMED,
                actor=actor,
                request_id=actor,
                force=True,
                reason="really",
            )
    assert rig.row(suspicion.upload).state == State.HELD


def test_what_was_reported_is_not_deleted_before_its_date_even_when_it_is_overturned(
    suspicion: Suspicion,
) -> None:
    from worker.act import ensure

    case, rig = suspicion.mark(), suspicion.rig
    suspicion.press(case, "reported", suspicion.mina, reference="CT-1")
    suspicion.overturn(case)
    rig.with_policy(removal_delay=0)
    claimed = suspicion.pages.form_of(suspicion.mina, suspicion.review)
    page = f"/reviews/{suspicion.review}"
    assert suspicion.mina.post(page, data=claimed | {"verdict": "confirmed"}).status_code == 303
    rig.make_due(suspicion.upload)
    assert ensure(rig.sessions, rig.parts.store, rig.settings.policy, suspicion.upload)
    row = rig.row(suspicion.upload)
    assert (row.state, row.access_applied) == (State.REMOVED, "removed")
    assert row.purge_at == suspicion.case().preserve_until
    assert rig.get(suspicion.bucket, "ann/holiday.jpg") is None
    versions = rig.s3.list_object_versions(Bucket=suspicion.bucket, Prefix="ann/")["Versions"]
    assert len(versions) == 1


def test_what_was_overturned_before_any_report_is_deleted_like_any_other(suspicion: Suspicion) -> None:
    from worker.act import ensure

    case, rig = suspicion.mark(), suspicion.rig
    suspicion.overturn(case)
    claimed = suspicion.pages.form_of(suspicion.mina, suspicion.review)
    suspicion.mina.post(f"/reviews/{suspicion.review}", data=claimed | {"verdict": "confirmed"})
    rig.make_due(suspicion.upload)
    assert ensure(rig.sessions, rig.parts.store, rig.settings.policy, suspicion.upload)
    assert rig.row(suspicion.upload).access_applied == PURGED


@pytest.mark.parametrize("kind", ["versioned", "plain"])
def test_a_copy_is_made_encrypted_once_and_noted(
    rig: Rig,
    ending: ExitStack,
    s3: S3Client,
    kind: str,
    versioned_bucket: str,
    plain_bucket: str,
    quarantine_bucket: str,
) -> None:
    bucket = {"versioned": versioned_bucket, "plain": plain_bucket}[kind]
    suspicion = Suspicion(rig, Pages(rig, ending), bucket)
    case = suspicion.mark()
    kept = "kept-" + quarantine_bucket
    s3.create_bucket(Bucket=kept)
    s3.put_bucket_versioning(Bucket=kept, VersioningConfiguration={"Status": "Enabled"})
    again, state = rig.scan(bucket, "bob/again.jpg", suspicion.body)
    assert state is State.HELD
    preserver = Preserver(rig.sessions, rig.parts.store, MinorSettings(bucket=kept))
    assert preserver.round() == 2
    assert preserver.round() == 0
    with rig.sessions() as session:
        files = session.scalars(select(MinorFile).order_by(MinorFile.id)).all()
    assert [file.upload_id for file in files] == [suspicion.upload, again]
    for file in files:
        found = s3.get_object(Bucket=kept, Key=file.copy_key, VersionId=file.copy_version_id)
        assert found["Body"].read() == suspicion.body
        assert found["ServerSideEncryption"] == "AES256"
        assert "jpg" not in file.copy_key
    assert suspicion.mina.get(f"/minors/{case}").text.count("copied and encrypted") == 2
    # Still there where it lies, and denied.
    assert rig.get(bucket, "ann/holiday.jpg") is None
    assert rig.row(suspicion.upload).access_applied == "denied"


def test_a_copy_that_fails_is_tried_again_and_told(suspicion: Suspicion) -> None:
    suspicion.mark()
    rig = suspicion.rig
    preserver = Preserver(rig.sessions, rig.parts.store, MinorSettings(bucket="no-such-bucket-at-all"))
    for tries in range(1, 5):
        assert preserver.round() == 0
        with rig.sessions.begin() as session:
            assert session.scalars(select(MinorFile.attempts)).one() == tries
            session.execute(update(MinorFile).values(next_attempt_at=func.clock_timestamp()))
    with rig.sessions() as session:
        assert number_lost(session) == 1


def test_what_the_platform_deletes_is_an_alarm(suspicion: Suspicion) -> None:
    suspicion.mark()
    with suspicion.rig.sessions.begin() as session:
        session.execute(update(Upload).values(deleted_at=func.clock_timestamp()))
    with suspicion.rig.sessions() as session:
        assert number_lost(session) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM minor_files",
        "DELETE FROM minor_cases",
        "UPDATE minor_cases SET preserve_until = clock_timestamp()",
        "UPDATE minor_cases SET facts = '{}'",
        "UPDATE minor_cases SET state = 'closed', closed_by = 'a', closed_with = 'a'",
        "UPDATE minor_cases SET state = 'closed', closed_by = 'a'",
        "UPDATE minor_cases SET state = 'reported', reference = 'x', reported_at = NULL",
        "UPDATE minor_files SET key = ''",
        "TRUNCATE minor_cases CASCADE",
        "DELETE FROM uploads",
        "DELETE FROM contents",
    ],
)
def test_the_database_keeps_a_case_from_its_owner_too(suspicion: Suspicion, statement: str) -> None:
    suspicion.mark()
    with pytest.raises(DBAPIError), suspicion.rig.sessions.begin() as session:
        session.execute(text(statement))
    assert suspicion.case().state == "open"


def test_others_read_entries_of_suspected_minors_as_restricted(suspicion: Suspicion) -> None:
    lead = suspicion.pages.person("lea", Role.LEAD)
    both = suspicion.pages.person("bo", Role.LEAD, Role.MINOR_SAFETY)
    suspicion.pages.maria.get(f"/reviews/{suspicion.review}")
    before = lead.get("/audit").text
    assert f"review {suspicion.review}" in before
    case = suspicion.mark()
    suspicion.report(case)
    after = lead.get("/audit").text
    for word in ("suspected", "minor case", f"<td>review {suspicion.review}</td>"):
        assert word not in after
    assert "restricted" in after
    assert "suspected minor" in both.get("/audit").text
    with suspicion.rig.sessions() as session:
        assert audit.verify_log(session, []).fault is None
