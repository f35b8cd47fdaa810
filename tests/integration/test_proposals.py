"""The two-person rule: nobody approves their own, one approval does it once, and what waits is on a page."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from tests.integration.console import Console, hidden
from worker.domain import State
from worker.review.desk import proposals
from worker.review.faults import ProposalError
from worker.store.audit_log import AuditEntry
from worker.store.desk import ClaimRow
from worker.store.hunts import HuntState, RetroHunt
from worker.store.models import DecisionRow, Demotion, Review, Upload
from worker.store.people import Role
from worker.store.proposals import Proposal, ProposalKind

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def console(rig: Rig) -> Iterator[Console]:
    with ExitStack() as ending:
        ledger = rig.settings.ledger.model_copy(update={"enabled": True})
        yield Console(rig.settings.model_copy(update={"ledger": ledger}), rig.sessions, ending)


@pytest.fixture
def demotion(rig: Rig) -> int:
    with rig.sessions.begin() as session:
        row = Demotion(entry_id=1, bank="stopncii", uploaders=30)
        session.add(row)
        session.flush()
        return row.id


@pytest.fixture
def hunt(rig: Rig) -> int:
    with rig.sessions.begin() as session:
        row = RetroHunt(
            state=HuntState.STOPPED,
            epoch=1,
            from_snapshot="1:1:",
            to_snapshot="2:2:",
            entries=3,
            contents=1000,
            counts={"stopncii": 400},
            whole=True,
        )
        session.add(row)
        session.flush()
        return row.id


def post(client: httpx.Client, address: str, **fields: object) -> int:
    token = hidden(client.get("/proposals").text)["token"]
    return client.post(address, data={"token": token, **fields}).status_code


def actions(console: Console) -> list[str]:
    with console.sessions() as session:
        query = (
            select(AuditEntry.action).where(AuditEntry.subject_kind == "proposal").order_by(AuditEntry.seq)
        )
        return list(session.scalars(query))


def test_one_proposes_and_another_one_approves(console: Console, demotion: int, hunt: int) -> None:
    maria, marias = console.signed_in("Maria", Role.LEAD)
    jo, jos = console.signed_in("Jo", Role.LEAD)
    assert "it hit 30 uploaders" in marias.get("/proposals").text
    assert post(marias, "/proposals", kind="lift_demotion", subject_id=demotion) == 303
    assert post(marias, "/proposals", kind="approve_hunt", subject_id=hunt) == 303
    assert post(jos, "/proposals", kind="lift_demotion", subject_id=demotion) == 409
    assert "Take back" in marias.get("/proposals").text
    assert "400 of stopncii" in jos.get("/proposals").text
    with console.sessions() as session:
        first, second = session.scalars(select(Proposal.id).order_by(Proposal.id))
    assert post(marias, f"/proposals/{first}/approve") == 409
    for proposal in (first, second):
        assert post(jos, f"/proposals/{proposal}/approve") == 303
        assert post(jos, f"/proposals/{proposal}/approve") == 409
    with console.sessions() as session:
        lifted = session.get_one(Demotion, demotion)
        assert lifted.lifted_by == f"{maria}, approved by {jo}"
        assert session.get_one(RetroHunt, hunt).state == HuntState.ACTING
    assert actions(console) == ["proposal", "proposal", "approval", "approval"]
    assert "Nothing is proposed." in jos.get("/proposals").text


def test_the_database_refuses_who_approves_their_own(console: Console, demotion: int) -> None:
    with console.sessions.begin() as session:
        made = proposals.propose(session, ProposalKind.LIFT_DEMOTION, demotion, actor="a").id
    with pytest.raises(IntegrityError, match="two_persons"), console.sessions.begin() as session:
        session.execute(update(Proposal).where(Proposal.id == made).values(approved_by="a"))


def test_two_who_approve_at_once_do_it_once(console: Console, rig: Rig, hunt: int) -> None:
    with rig.sessions.begin() as session:
        made = proposals.propose(session, ProposalKind.APPROVE_HUNT, hunt, actor="a").id

    def approve(name: str) -> bool:
        try:
            with rig.sessions.begin() as session:
                proposals.approve(session, rig.settings.policy, made, actor=name)
        except ProposalError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(approve, "bcde")) == 1
    assert actions(console) == ["proposal", "approval"]


def test_a_proposal_is_taken_back_rejected_or_too_old(console: Console, demotion: int) -> None:
    _, jo = console.signed_in("Jo", Role.REVIEWER)
    _, kim = console.signed_in("Kim", Role.REVIEWER)
    _, lead = console.signed_in("Lee", Role.LEAD)
    for who, status in ((kim, 409), (jo, 303)):
        post(jo, "/proposals", kind="lift_demotion", subject_id=demotion)
        with console.sessions() as session:
            newest = session.scalar(select(func.max(Proposal.id)))
        assert post(who, f"/proposals/{newest}/reject") == status
    assert post(jo, "/proposals", kind="lift_demotion", subject_id=demotion) == 303
    with console.sessions.begin() as session:
        newest = session.scalar(select(func.max(Proposal.id)))
        session.execute(update(Proposal).values(expires_at=func.clock_timestamp()))
    assert post(lead, f"/proposals/{newest}/approve") == 409
    assert post(jo, "/proposals", kind="lift_demotion", subject_id=demotion) == 303
    with console.sessions() as session:
        assert session.get_one(Demotion, demotion).lifted_at is None


def test_what_is_not_there_is_not_proposed(console: Console) -> None:
    _, jo = console.signed_in("Jo", Role.LEAD)
    for kind in ("lift_demotion", "approve_hunt"):
        assert post(jo, "/proposals", kind=kind, subject_id=99) == 409
    for elsewhere in ("bulk_restore", "overturn_minor"):
        assert post(jo, "/proposals", kind=elsewhere, subject_id=99) == 400
    assert post(jo, "/proposals", kind="anything", subject_id=99) == 400
    assert post(jo, "/proposals/99/approve") == 409


def test_many_uploads_are_released_by_two(
    console: Console, rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "BULK", 1)
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    uploads = [rig.scan(versioned_bucket, f"{name}.jpg", body)[0] for name in "ab"]
    with rig.sessions() as session:
        review = session.scalars(select(Review.id)).one()
    maria, marias = console.signed_in("Maria", Role.REVIEWER)
    _, jos = console.signed_in("Jo", Role.LEAD)
    form = console.form_of(marias, review) | {"verdict": "lawful", "reason": "consent"}
    answer = marias.post(f"/reviews/{review}", data=form)
    assert answer.headers["location"] == "/proposals"
    assert {rig.row(upload).state for upload in uploads} == {State.HELD}
    with rig.sessions() as session:
        assert session.scalars(select(DecisionRow)).all() == []
        assert session.scalars(select(ClaimRow)).all() == []
        proposal = session.scalars(select(Proposal.id)).one()
    assert "Release 2 uploads at once: lawful" in jos.get("/proposals").text
    assert post(marias, f"/proposals/{proposal}/approve") == 403
    assert post(jos, f"/proposals/{proposal}/approve") == 303
    assert {rig.row(upload).state for upload in uploads} == {State.RELEASED}
    assert {upload for upload, _ in console.woken} == set(uploads)
    with rig.sessions() as session:
        decision = session.scalars(select(DecisionRow)).one()
        assert (decision.actor, decision.reason) == (maria, "consent")
        assert session.scalars(select(Upload.state).distinct()).all() == ["released"]


def test_what_was_decided_since_is_not_released(
    console: Console, rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "BULK", 0)
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    upload, _ = rig.scan(versioned_bucket, "a.jpg", body)
    with rig.sessions() as session:
        review = session.scalars(select(Review.id)).one()
    _, marias = console.signed_in("Maria", Role.REVIEWER)
    _, jos = console.signed_in("Jo", Role.LEAD)
    for client, verdict in ((marias, "lawful"), (jos, "confirmed")):
        form = console.form_of(client, review) | {"verdict": verdict}
        assert client.post(f"/reviews/{review}", data=form).status_code == 303
    with rig.sessions() as session:
        proposal = session.scalars(select(Proposal.id)).one()
    assert post(jos, f"/proposals/{proposal}/approve") == 409
    assert rig.row(upload).state == State.REMOVED


def test_a_leads_undo_that_serves_many_again_needs_another_person(
    console: Console, rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "BULK", 1)
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    uploads = [rig.scan(versioned_bucket, f"{name}.jpg", body)[0] for name in "ab"]
    with rig.sessions.begin() as session:
        review = session.scalars(select(Review.id)).one()
        session.execute(update(Upload).values(state=State.FLAGGED))
    _, marias = console.signed_in("Maria", Role.REVIEWER)
    _, jos = console.signed_in("Jo", Role.LEAD)
    _, kims = console.signed_in("Kim", Role.LEAD)

    def confirm() -> None:
        form = console.form_of(marias, review) | {"verdict": "confirmed"}
        assert marias.post(f"/reviews/{review}", data=form).status_code == 303
        assert {rig.row(upload).state for upload in uploads} == {State.REMOVED}

    def undo(client: httpx.Client) -> str:
        token = hidden(client.get("/proposals").text)["token"]
        form = {"token": token, "request_id": uuid4().hex}
        return client.post(f"/reviews/{review}/undo", data=form).headers["location"]

    # One's own slip of a moment ago is put right alone.
    confirm()
    assert undo(marias) == f"/reviews/{review}#decide"
    confirm()
    assert undo(jos) == "/proposals"
    assert {rig.row(upload).state for upload in uploads} == {State.REMOVED}
    assert "Release 2 uploads at once: undo of a decision" in kims.get("/proposals").text
    with rig.sessions() as session:
        proposal = session.scalars(select(Proposal.id)).one()
    assert post(jos, f"/proposals/{proposal}/approve") == 409
    assert post(kims, f"/proposals/{proposal}/approve") == 303
    assert {rig.row(upload).state for upload in uploads} == {State.FLAGGED}
    assert set(uploads) <= {upload for upload, _ in console.woken}
