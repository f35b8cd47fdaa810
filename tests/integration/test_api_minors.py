"""Cases of suspected minors by the API: listed, looked at, reported, preserved for longer, overturned by two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import select

from tests.integration.api import Caller, caller
from tests.integration.console import Console
from tests.integration.test_desk_pages import add_review
from worker.domain import State
from worker.store.audit_log import AuditEntry
from worker.store.models import Upload
from worker.store.people import Role
from worker.store.views import View

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def console(rig: Rig) -> Iterator[Console]:
    with ExitStack() as ending:
        yield Console(rig.settings, rig.sessions, ending)


@pytest.fixture
def maria(console: Console) -> Caller:
    return caller(console, "maria", Role.REVIEWER)


@pytest.fixture
def mina(console: Console) -> Caller:
    return caller(console, "mina", Role.MINOR_SAFETY)


def mark(rig: Rig, who: Caller, mina: Caller, uploads: int = 1) -> tuple[int, int]:
    """A review that somebody marked, and its case."""
    review = add_review(rig, uploads=uploads)
    body = {"verdict": "suspected_minor", "request_id": str(uuid4())}
    assert who.post(f"/reviews/{review}/verdict", **body).status_code == 200
    (case,) = [each["id"] for each in mina.get("/minors").json()["cases"] if each["review_id"] == review]
    return review, case


def test_cases_are_read_to_their_end_those_that_wait_for_a_report_first(
    rig: Rig, maria: Caller, mina: Caller
) -> None:
    made = [mark(rig, maria, mina)[1] for _ in range(5)]
    for case in (made[0], made[2]):
        assert mina.post(f"/minors/{case}/reported", reference="CT-1").status_code == 200
    found: list[int] = []
    cursor: dict[str, int] = {}
    while True:
        page = mina.get("/minors", limit=2, **cursor).json()
        found += [each["id"] for each in page["cases"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == [made[1], made[3], made[4], made[2], made[0]]
    assert [each["id"] for each in mina.get("/reviews").json()["reviews"]] == []


def test_a_case_tells_facts_files_and_looks_and_no_name(rig: Rig, maria: Caller, mina: Caller) -> None:
    review, case = mark(rig, maria, mina, uploads=2)
    with rig.sessions.begin() as session:
        uploads = session.scalars(select(Upload).order_by(Upload.id)).all()
        content = uploads[0].content_id
        session.add(
            View(actor="reviewer-1", review_id=review, content_id=content, rung=4, stills=1, seconds=1.5)
        )
    answer = mina.get(f"/minors/{case}")
    seen = answer.json()
    assert (seen["case"]["review_id"], seen["case"]["state"], seen["opened_by"]) == (
        review,
        "open",
        maria.pseudonym,
    )
    assert [file["upload_id"] for file in seen["files"]] == [upload.id for upload in uploads]
    assert [(look["by"], look["shown"], look["entire"]) for look in seen["looks"]] == [
        ("reviewer-1", "whole", True)
    ]
    assert (seen["viewed"], seen["overturn"]) == (True, [])
    assert not any(upload.key in answer.text for upload in uploads)
    report = mina.get(f"/minors/{case}/report").json()
    assert report["format"] == "hashwarden-minor-report-1"
    assert [file["locationOfFile"]["key"] for file in report["fileDetails"]] == [
        upload.key for upload in uploads
    ]
    with rig.sessions() as session:
        rows = session.execute(
            select(AuditEntry.action, AuditEntry.actor).where(AuditEntry.subject_kind == "minor_case")
        )
        assert [tuple(row) for row in rows] == [
            ("minor_case_look", mina.pseudonym),
            ("minor_report", mina.pseudonym),
        ]
    for address in (f"/minors/{case + 1}", f"/minors/{case + 1}/report"):
        assert mina.get(address).json()["code"] == "not_there"


def test_a_case_is_reported_once_and_preserved_for_longer(rig: Rig, maria: Caller, mina: Caller) -> None:
    _, case = mark(rig, maria, mina)
    began = datetime.fromisoformat(mina.get(f"/minors/{case}").json()["case"]["preserve_until"])
    until = mina.post(f"/minors/{case}/reported", reference="CT-4711").json()["preserve_until"]
    assert datetime.fromisoformat(until) > began
    again = mina.post(f"/minors/{case}/reported", reference="CT-4712")
    assert (again.status_code, again.json()["code"]) == (409, "minor_case")
    seen = mina.get(f"/minors/{case}").json()
    assert (seen["case"]["reference"], seen["reported_by"]) == ("CT-4711", mina.pseudonym)
    later = mina.post(f"/minors/{case}/prolong", days=400).json()["preserve_until"]
    assert datetime.fromisoformat(later) > datetime.fromisoformat(until)
    earlier = mina.post(f"/minors/{case}/prolong", days=1)
    assert (earlier.status_code, earlier.json()["code"]) == (409, "minor_case")
    for address, body in (("reported", {"reference": "x"}), ("prolong", {"days": 500})):
        absent = mina.post(f"/minors/{case + 1}/{address}", **body)
        assert (absent.status_code, absent.json()["code"]) == (404, "not_there")


def test_two_of_the_role_overturn(rig: Rig, console: Console, maria: Caller, mina: Caller) -> None:
    review, case = mark(rig, maria, mina, uploads=2)
    _, other_case = mark(rig, maria, mina)
    lead = caller(console, "lead", Role.LEAD, Role.ADMIN)
    mona = caller(console, "mona", Role.MINOR_SAFETY)
    assert mina.post(f"/minors/{case}/overturn", reason=" ").json()["code"] == "invalid"
    assert mina.post("/minors/4711/overturn", reason="a slip").json()["code"] == "not_there"
    made = mina.post(f"/minors/{case}/overturn", reason="a slip of a key")
    assert made.status_code == 201
    proposal = made.json()["id"]
    assert mina.post(f"/minors/{case}/overturn", reason="again").json()["code"] == "proposal"
    (waiting,) = mona.get(f"/minors/{case}").json()["overturn"]
    assert (waiting["id"], waiting["proposed_by"]) == (proposal, mina.pseudonym)
    assert lead.get("/proposals").json()["waiting"] == []
    assert lead.post(f"/proposals/{proposal}/approve").json()["code"] == "proposal"
    one = f"overturn/{proposal}/approve"
    assert lead.post(f"/minors/{case}/{one}").status_code == 403
    assert mina.post(f"/minors/{case}/{one}").json()["code"] == "proposal"
    # The address names another case: nothing is done by mistake.
    assert mona.post(f"/minors/{other_case}/{one}").json()["code"] == "proposal"
    assert mona.post(f"/minors/{case}/{one}").json() == {"moved": 0}
    assert mona.post(f"/minors/{case}/{one}").json()["code"] == "proposal"
    seen = mina.get(f"/minors/{case}").json()
    assert (seen["case"]["state"], seen["closed_by"], seen["closed_with"]) == (
        "closed",
        mina.pseudonym,
        mona.pseudonym,
    )
    assert mina.get(f"/reviews/{review}").json()["review"]["mine"] is True
    with rig.sessions() as session:
        assert set(session.scalars(select(Upload.state))) == {State.HELD}


def test_an_overturn_is_rejected(rig: Rig, console: Console, maria: Caller, mina: Caller) -> None:
    _, case = mark(rig, maria, mina)
    mona = caller(console, "mona", Role.MINOR_SAFETY)
    proposal = mina.post(f"/minors/{case}/overturn", reason="a slip").json()["id"]
    assert mona.post(f"/minors/{case}/overturn/{proposal}/reject").status_code == 204
    seen = mina.get(f"/minors/{case}").json()
    assert (seen["case"]["state"], seen["overturn"]) == ("open", [])


def test_nobody_proposes_an_overturn_as_any_other_proposal(rig: Rig, maria: Caller, mina: Caller) -> None:
    _, case = mark(rig, maria, mina)
    for subject in (case, case + 1):
        answer = maria.post("/proposals", kind="overturn_minor", subject_id=subject)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_entries_of_a_suspected_minor_are_restricted(
    rig: Rig, console: Console, maria: Caller, mina: Caller
) -> None:
    review, case = mark(rig, maria, mina)
    mina.get(f"/minors/{case}")
    auditor = caller(console, "auditor", Role.AUDITOR)
    both = caller(console, "both", Role.AUDITOR, Role.MINOR_SAFETY)
    found = auditor.get("/audit").json()["entries"]
    hidden = [entry for entry in found if entry["restricted"]]
    assert {entry["actor"] for entry in hidden} == {maria.pseudonym, mina.pseudonym}
    for entry in hidden:
        assert entry["details"] == {}
        names = ("action", "subject_kind", "subject_id", "previous", "hash")
        assert [entry[name] for name in names] == [""] * 5
    assert not any(entry["subject_id"] == str(review) for entry in found if entry["subject_kind"] == "review")
    whole = both.get("/audit").json()["entries"]
    assert not any(entry["restricted"] for entry in whole)
    assert ("minor_case", str(case)) in {(entry["subject_kind"], entry["subject_id"]) for entry in whole}
