"""The console under attack: people who reach for what is not theirs, retries, races, and bytes that must be kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.orm import Session

from bank_sync.bank import OWN_BANK, BankEntry, Feedback
from bank_sync.own_bank import retire_unsupported_own
from config.exposure import ExposureSettings
from tests.integration.api import BASE, Caller, caller
from tests.integration.console import Console, hidden
from tests.integration.test_claims import Desk
from tests.integration.test_minors import Suspicion
from tests.integration.test_reveal import SIZE, held_picture, review_of
from tests.integration.test_review_pages import Pages
from worker import act
from worker.domain import PURGED, Kind, State, Verdict
from worker.errors import StorageError
from worker.media.media import Media
from worker.media.rungs import Showing, Shown
from worker.media.sandbox import ZygoteSandbox
from worker.review import audit
from worker.review.audit_verify import verify_export
from worker.review.desk import appeals, claims
from worker.review.desk.evidence import evidence
from worker.review.desk.listing import list_reviews, review_detail
from worker.review.desk.reviews import Decided, ReviewError, decide_review
from worker.review.desk.undo import undo, undoable
from worker.review.minors.report import entire
from worker.review.reveal.reveals import Reveals
from worker.store.desk import Opinion
from worker.store.minor_cases import MinorCase
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload
from worker.store.people import Person, Role
from worker.store.views import View

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as made:
        yield made


@pytest.fixture
def pictures(rig: Rig, sandbox: ZygoteSandbox) -> Reveals:
    return Reveals(rig.settings, rig.sessions, rig.parts.store, sandbox, sandbox)


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def suspicion(rig: Rig, ending: ExitStack, versioned_bucket: str) -> Suspicion:
    return Suspicion(rig, Pages(rig, ending), versioned_bucket)


@pytest.fixture
def desk(rig: Rig) -> Desk:
    return Desk(rig)


@pytest.fixture
def console(rig: Rig, ending: ExitStack) -> Console:
    return Console(rig.settings, rig.sessions, ending)


def decisions_on(rig: Rig, review_id: int) -> list[str]:
    with rig.sessions() as session:
        query = select(DecisionRow.verdict).join(Review, Review.content_id == DecisionRow.content_id)
        return list(session.scalars(query.where(Review.id == review_id).order_by(DecisionRow.id)))


def test_nobody_without_the_role_finds_or_blocks_a_case_by_proposing_its_overturn(
    suspicion: Suspicion,
) -> None:
    case = suspicion.mark()
    maria = suspicion.pages.maria
    token = hidden(maria.get("/proposals").text)["token"]
    answers = [
        maria.post("/proposals", data={"token": token, "kind": "overturn_minor", "subject_id": str(each)})
        for each in (case, case + 1)
    ]
    assert {answer.status_code for answer in answers} == {400}
    suspicion.overturn(case)
    assert suspicion.case().state == "closed"


def test_a_suspected_minor_is_marked_with_near_copies_alone(desk: Desk, rig: Rig) -> None:
    marked, copy, other = desk.review(), desk.review(), desk.review()
    desk.near_copies(marked, copy)
    with pytest.raises(ReviewError, match="near cop"):
        desk.decide(marked, "maria", None, Verdict.SUSPECTED_MINOR, also=[copy, other])
    assert decisions_on(rig, marked) == decisions_on(rig, other) == []
    desk.decide(marked, "maria", None, Verdict.SUSPECTED_MINOR, also=[copy])
    assert decisions_on(rig, copy) == ["suspected_minor"]


def test_two_who_mark_the_same_suspected_minor_open_one_case_that_one_overturn_closes(
    suspicion: Suspicion,
) -> None:
    case = suspicion.mark()
    again = decide_review(
        suspicion.rig.sessions,
        suspicion.rig.settings.policy,
        suspicion.review,
        Verdict.SUSPECTED_MINOR,
        actor="reviewer-0002",
        request_id="late",
    )
    assert again.repeated
    assert decisions_on(suspicion.rig, suspicion.review) == ["suspected_minor"]
    suspicion.overturn(case)
    with suspicion.rig.sessions() as session:
        assert session.get_one(Review, suspicion.review).state == "open"


def test_bytes_of_a_case_are_kept_though_their_deletion_had_begun_and_failed(
    suspicion: Suspicion, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, upload = suspicion.rig, suspicion.upload
    decide_review(
        rig.sessions, rig.settings.policy, suspicion.review, Verdict.CONFIRMED, actor="jo", request_id="1"
    )
    rig.make_due(upload)

    def away(*_arguments: object) -> None:
        raise StorageError("The store does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(rig.stages.store, "purge", away)
        act.ensure(rig.sessions, rig.stages.store, rig.settings.policy, upload)
    assert rig.row(upload).access_applied == act.PURGING
    decide_review(
        rig.sessions,
        rig.settings.policy,
        suspicion.review,
        Verdict.SUSPECTED_MINOR,
        actor="jo",
        request_id="2",
    )
    rig.make_due(upload)
    act.ensure(rig.sessions, rig.stages.store, rig.settings.policy, upload)
    versions = rig.s3.list_object_versions(Bucket=suspicion.bucket).get("Versions", [])
    assert [version["Key"] for version in versions] == ["ann/holiday.jpg"]
    assert rig.row(upload).access_applied != PURGED


def test_who_may_not_see_a_suspected_minor_can_not_tell_it_from_what_is_not_there(
    suspicion: Suspicion, console: Console, desk: Desk
) -> None:
    jo = caller(console, "jo", Role.REVIEWER)
    mine = desk.review()
    claim = jo.claim(mine)
    suspicion.mark()
    answers = {}
    for review in (suspicion.review, 4711):
        minor = {"verdict": "suspected_minor", "request_id": str(uuid4())}
        lawful = minor | {"verdict": "lawful", "claim": claim}
        told = [
            jo.get(f"/reviews/{review}"),
            jo.post(f"/reviews/{review}/leave", how="recused"),
            jo.post(f"/reviews/{review}/leave", how="recused", claim=claim),
            jo.post(f"/reviews/{review}/leave", how="skipped", claim=str(uuid4())),
            jo.post(f"/reviews/{review}/renew", claim=claim),
            jo.post(f"/reviews/{review}/verdict", **minor),
            jo.post(f"/reviews/{review}/verdict", **lawful),
            jo.post(f"/reviews/{mine}/verdict", **minor, also=[review]),
            jo.post(f"/reviews/{mine}/verdict", **lawful, also=[review]),
            jo.post(f"/reviews/{review}/undo", request_id=str(uuid4())),
            jo.post(f"/reviews/{review}/reveal", rung="mosaic"),
        ]
        answers[review] = [
            (each.status_code, each.text.replace(str(review), "N")) for each in told if each.status_code
        ]
    assert answers[suspicion.review] == answers[4711]


def test_an_address_of_a_picture_does_not_tell_that_a_minor_is_suspected_since(
    rig: Rig, ending: ExitStack, pictures: Reveals, versioned_bucket: str
) -> None:
    console = Console(rig.settings, rig.sessions, ending, pictures)
    review = held_picture(rig, versioned_bucket)
    maria = caller(console, "maria", Role.REVIEWER)
    maria.claim(review)
    address = maria.post(f"/reviews/{review}/reveal", rung="whole").json()["address"]
    decide_review(
        rig.sessions, rig.settings.policy, review, Verdict.SUSPECTED_MINOR, actor="jo", request_id="1"
    )
    answer = maria.get(f"/reveal/{address}")
    assert (answer.status_code, "minor" in answer.text) == (410, False)


def test_a_near_copy_of_a_suspected_minor_is_shown_at_no_rung(
    rig: Rig, ending: ExitStack, pictures: Reveals, versioned_bucket: str
) -> None:
    console = Console(rig.settings, rig.sessions, ending, pictures)
    review = held_picture(rig, versioned_bucket)
    decide_review(
        rig.sessions, rig.settings.policy, review, Verdict.SUSPECTED_MINOR, actor="jo", request_id="1"
    )
    body = rig.jpeg(rig.picture(1, SIZE), quality=60)
    later, state = rig.scan(versioned_bucket, "ben/again.jpg", body)
    assert state is State.HELD
    maria = caller(console, "maria", Role.REVIEWER)
    copy = review_of(rig, later)
    maria.claim(copy)
    assert maria.get(f"/reviews/{copy}").json()["pictures"] is False
    assert maria.post(f"/reviews/{copy}/reveal", rung="mosaic").status_code == 403


def test_looks_at_once_do_not_pass_the_limit_together(
    rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox, versioned_bucket: str
) -> None:
    limited = {"hard_looks_hour": 1, "soft_looks_hour": 1}
    settings = rig.settings.model_copy(update={"exposure": ExposureSettings.model_validate(limited)})
    together = threading.Barrier(2)

    class Viewer:
        """The sandbox, which has the pictures of both at the same moment."""

        def show(self, media: Media, showing: Showing) -> Shown:
            shown = sandbox.show(media, showing)
            together.wait(30)
            return shown

        def close(self) -> None:
            """The module's sandbox goes on."""

    reveals = Reveals(settings, rig.sessions, rig.parts.store, Viewer(), Viewer())
    review = held_picture(rig, versioned_bucket)
    console = Console(settings, rig.sessions, ending, reveals)
    maria = caller(console, "maria", Role.REVIEWER)
    maria.claim(review)
    addresses = [maria.post(f"/reviews/{review}/reveal", rung="whole").json()["address"] for _ in range(2)]

    def get(address: str) -> int:
        return httpx.get(
            f"{console.address}{BASE}/reveal/{address}", headers=dict(maria.client.headers), timeout=30
        ).status_code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(get, addresses)) == [200, 429]


def test_a_request_id_of_a_proposal_can_not_be_taken_up_before(console: Console, desk: Desk) -> None:
    jo = caller(console, "jo", Role.REVIEWER)
    taken = jo.decide(desk.review(), "confirmed", request_id="proposal:1")
    assert (taken.status_code, taken.json()["code"]) == (409, "review")
    many = desk.review(uploads=26)
    proposed = jo.decide(many, "lawful", typed=26).json()
    assert proposed["proposal_id"] == 1
    lea = caller(console, "lea", Role.LEAD)
    assert lea.post("/proposals/1/approve").json() == {"moved": 26}


def test_an_undo_by_a_request_id_that_decided_is_refused_and_not_a_fault(
    console: Console, desk: Desk
) -> None:
    jo = caller(console, "jo", Role.REVIEWER)
    review = desk.review()
    assert jo.decide(review, "confirmed", request_id="one").status_code == 200
    refused = jo.post(f"/reviews/{review}/undo", request_id="one")
    assert (refused.status_code, refused.json()["code"]) == (409, "review")
    assert jo.post(f"/reviews/{review}/undo", request_id="two").status_code == 200


def test_the_log_over_the_api_restricts_what_its_page_does(suspicion: Suspicion, console: Console) -> None:
    lea = caller(console, "lea", Role.LEAD)
    both = caller(console, "bo", Role.LEAD, Role.MINOR_SAFETY)
    suspicion.mark()
    assert "suspected_minor" in both.get("/audit").text
    entries = lea.get("/audit").json()["entries"]
    assert any(entry["restricted"] for entry in entries)
    about = {entry["subject_id"] for entry in entries if entry["subject_kind"] in {"review", "minor_case"}}
    assert str(suspicion.review) not in about
    assert "suspected_minor" not in lea.get("/audit").text


def test_an_admin_gives_nobody_themselves_a_role(console: Console, rig: Rig) -> None:
    admin = caller(console, "admin", Role.ADMIN)
    with rig.sessions() as session:
        number = session.scalars(select(Person.id).where(Person.pseudonym == admin.pseudonym)).one()
    refused = admin.put(f"/people/{number}/roles", roles=["admin", "lead", "minor_safety"])
    assert (refused.status_code, refused.json()["code"]) == (409, "people")
    with rig.sessions() as session:
        assert session.get_one(Person, number).roles == ["admin"]


def plans_of(session: Session, run: Callable[[], object]) -> list[dict[str, Any]]:
    """The plans of what `run` asks, where an index that fits is taken."""
    asked: list[tuple[str, Any]] = []

    def note(
        _connection: object, _cursor: object, statement: str, parameters: object, *_more: object
    ) -> None:
        asked.append((statement, parameters))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    run()
    event.remove(connection, "before_cursor_execute", note)
    session.execute(text("SET LOCAL enable_seqscan = off"))
    found = []
    for statement, parameters in asked:
        (((plan,),),) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).all()
        found.append(plan | {"statement": statement})
    return found


def reviews_read_whole(session: Session, run: Callable[[], object]) -> list[str]:
    """Plans of what `run` asks that read all reviews, though an index that fits would be taken."""
    found = []
    for plan in plans_of(session, run):
        nodes = [plan["Plan"]]
        for node in nodes:
            nodes += node.get("Plans", [])
            if node.get("Relation Name") == "reviews" and not {"Index Cond", "Recheck Cond"} & node.keys():
                found.append(f"{node['Node Type']}: {plan['statement']}")
    return found


def test_neither_the_queue_nor_a_review_reads_all_reviews_that_ever_were(rig: Rig, desk: Desk) -> None:
    with rig.sessions() as session:
        review = session.get_one(Review, desk.review())
        line = review_detail(session, review.id)
        assert line is not None
        policy = rig.settings.policy
        assert reviews_read_whole(session, lambda: undoable(session, "maria")) == []
        assert (
            reviews_read_whole(session, lambda: evidence(session, policy, review.content_id, line.line)) == []
        )


def test_a_claim_that_lapsed_comes_back_by_no_sign_of_life_once_three_others_are_open(desk: Desk) -> None:
    first = desk.review()
    lapsed = claims.take(desk.sessions, first, "maria")
    desk.expire(first)
    assert claims.renew(desk.sessions, first, "maria", lapsed.token) is not None
    desk.expire(first)
    for _ in range(claims.MOST):
        claims.take(desk.sessions, desk.review(), "maria")
    assert claims.renew(desk.sessions, first, "maria", lapsed.token) is None


def test_an_overturn_and_who_marks_the_same_case_as_reported_do_not_wait_for_each_other(
    suspicion: Suspicion,
) -> None:
    case, rig = suspicion.mark(), suspicion.rig
    with rig.sessions.begin() as reporting, ThreadPoolExecutor(1) as threads:
        reporting.get_one(MinorCase, case, with_for_update=True)
        overturn = threads.submit(suspicion.overturn, case)
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        deadline = time.monotonic() + 30
        while not reporting.scalar(waits) and time.monotonic() < deadline:
            overturn.done()
        audit.record(reporting, actor="mina", action="minor_case_reported", subject=("minor_case", case))
        reporting.commit()
        overturn.result()
    assert suspicion.case().state == "closed"


def test_a_lead_does_not_undo_the_overturn_of_their_own_removal(
    rig: Rig, console: Console, desk: Desk
) -> None:
    lea, other = caller(console, "lea", Role.LEAD), caller(console, "other", Role.LEAD)
    jo = caller(console, "jo", Role.REVIEWER)
    review = desk.review()
    assert lea.decide(review, "confirmed").status_code == 200
    with rig.sessions() as session:
        upload = session.scalars(select(Upload.id)).one()
    assert lea.post("/appeals", upload_id=upload, reason="it is mine").status_code == 200
    assert jo.decide(review, "lawful").json()["moved"] == 1
    refused = lea.post(f"/reviews/{review}/undo", request_id="1")
    assert (refused.status_code, refused.json()["code"]) == (409, "review")
    assert rig.row(upload).state == State.RELEASED
    assert other.post(f"/reviews/{review}/undo", request_id="2").json()["moved"] == 1


def test_near_copies_of_a_suspected_minor_are_held_whatever_the_banks_withdraw(
    rig: Rig, ending: ExitStack, pictures: Reveals, versioned_bucket: str
) -> None:
    review = held_picture(rig, versioned_bucket)
    for number, verdict in enumerate((Verdict.CONFIRMED, Verdict.SUSPECTED_MINOR)):
        decide_review(rig.sessions, rig.settings.policy, review, verdict, actor="jo", request_id=str(number))
    picture = rig.picture(1, SIZE)
    with rig.sessions.begin() as session:
        told = len(session.scalars(select(Feedback)).all())
        session.execute(update(BankEntry).where(BankEntry.bank != OWN_BANK).values(live=False))
        assert retire_unsupported_own(session) == []
    rig.publish()
    upload, state = rig.scan(versioned_bucket, "ben/again.jpg", rig.jpeg(picture, quality=60))
    assert state is State.HELD
    copy = review_of(rig, upload)
    maria = caller(Console(rig.settings, rig.sessions, ending, pictures), "maria", Role.REVIEWER)
    maria.claim(copy)
    assert maria.post(f"/reviews/{copy}/reveal", rung="mosaic").status_code == 403
    assert maria.get(f"/reviews/{copy}").json()["pictures"] is False
    decide_review(
        rig.sessions,
        rig.settings.policy,
        copy,
        Verdict.CONFIRMED,
        actor="jo",
        request_id="copy",
        force=True,
    )
    with rig.sessions() as session:
        assert len(session.scalars(select(Feedback)).all()) == told
        assert session.scalars(select(BankEntry.live).where(BankEntry.bank == OWN_BANK)).all() == [True]


def test_an_overturned_suspicion_leaves_nothing_in_the_own_bank(suspicion: Suspicion) -> None:
    case = suspicion.mark()
    own = select(BankEntry.live).where(BankEntry.bank == OWN_BANK, BankEntry.live)
    with suspicion.rig.sessions() as session:
        assert session.scalars(own).all() == [True]
    suspicion.overturn(case)
    with suspicion.rig.sessions() as session:
        assert session.scalars(own).all() == []


def test_a_verdict_taken_back_is_not_taken_back_again_by_the_same_request(
    rig: Rig, ending: ExitStack, desk: Desk
) -> None:
    rig.with_policy(second_review={"share": 1})
    maria = caller(Console(rig.settings, rig.sessions, ending), "maria", Role.REVIEWER)
    review = desk.review()
    assert maria.decide(review, "confirmed", request_id="v1").json()["waits"] == "second"
    assert maria.post(f"/reviews/{review}/undo", request_id="u1").status_code == 200
    assert maria.decide(review, "lawful", request_id="v2").json()["waits"] == "second"
    again = maria.post(f"/reviews/{review}/undo", request_id="u1")
    assert (again.status_code, again.json()["repeated"]) == (200, True)
    with rig.sessions() as session:
        standing = select(Opinion.verdict).where(Opinion.stands.is_(True))
        assert session.scalars(standing).all() == ["lawful"]


@pytest.mark.parametrize("share", [0, 1])
def test_a_verdict_sent_again_after_its_undo_is_told_that_it_counts_no_more(
    rig: Rig, desk: Desk, share: int
) -> None:
    rig.with_policy(second_review={"share": share})
    review = desk.review()
    policy = rig.settings.policy

    def decide(actor: str) -> Decided:
        return decide_review(
            rig.sessions, policy, review, Verdict.CONFIRMED, actor=actor, request_id="one", force=True
        )

    first = decide("maria")
    assert decide("maria").repeated
    with pytest.raises(ReviewError, match="something else"):
        decide("jo")
    undo(rig.sessions, policy, review, actor="maria", request_id="two")
    with pytest.raises(ReviewError, match="was undone since"):
        decide("maria")
    with pytest.raises(ReviewError, match="something else"):
        undo(rig.sessions, policy, review, actor="jo", request_id="two", lead=True)
    assert decisions_on(rig, review) == ([] if first.decision_id is None else ["confirmed", ""])


class Removals:
    """Reviews by one entry of the bank, each confirmed by maria and with an upload that can be appealed."""

    def __init__(self, rig: Rig, desk: Desk, number: int) -> None:
        self.rig = rig
        self.desk = desk
        self.reviews = [desk.review() for _ in range(number)]
        with rig.sessions.begin() as session:
            session.execute(update(MatchRow).values(entry_id=1))
        for review in self.reviews:
            desk.decide(review, "maria", None, Verdict.CONFIRMED)

    def appeal(self, review: int) -> None:
        with self.rig.sessions() as session:
            query = select(Upload.id).join(Review, Review.content_id == Upload.content_id)
            upload = session.scalars(query.where(Review.id == review)).one()
        appeals.open_appeal(
            self.rig.sessions, self.rig.settings, upload, reason="mine", actor="ops", source="api"
        )

    def overturn(self, review: int) -> None:
        self.desk.decide(review, "jo", None, Verdict.LAWFUL)

    def undo(self, review: int) -> None:
        policy = self.rig.settings.policy
        undo(self.rig.sessions, policy, review, actor="jo", request_id=uuid4().hex)

    def state(self, review: int) -> str:
        with self.rig.sessions() as session:
            return session.get_one(Review, review).state


@pytest.mark.parametrize("confirmed_between", [False, True])
def test_what_another_overturn_put_in_doubt_stays_open_when_one_is_undone(
    rig: Rig, desk: Desk, *, confirmed_between: bool
) -> None:
    removals = Removals(rig, desk, 3)
    first, second, other = removals.reviews
    removals.appeal(first)
    removals.appeal(second)
    removals.overturn(first)
    assert removals.state(other) == "open"
    if confirmed_between:
        desk.decide(other, "kim", None, Verdict.CONFIRMED)
    removals.overturn(second)
    removals.undo(first)
    assert removals.state(other) == "open"
    removals.undo(second)
    assert removals.state(other) == "decided"


def test_an_appeal_decided_along_with_another_review_waits_its_turn(rig: Rig, desk: Desk) -> None:
    removals = Removals(rig, desk, 2)
    appealed, _other = removals.reviews
    plain = desk.review()
    removals.appeal(appealed)
    with rig.sessions.begin() as holding, ThreadPoolExecutor(1) as threads:
        appeals.one_at_a_time(holding)
        decided = threads.submit(desk.decide, plain, "jo", None, Verdict.LAWFUL, also=[appealed])
        waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        deadline = time.monotonic() + 30
        while not holding.scalar(waits) and time.monotonic() < deadline:
            assert not decided.done()
        # Nothing of it is locked while it waits.
        holding.execute(select(Content.id).with_for_update(nowait=True))
        holding.commit()
        decided.result()
    assert removals.state(appealed) == "decided"


def test_indexes_give_all_reviews_in_their_order_and_the_opinions_of_a_decision(rig: Rig) -> None:
    with rig.sessions() as session:
        listed = plans_of(session, lambda: list_reviews(session, closed=True, limit=9))
        [whole] = [plan for plan in listed if plan["Plan"]["Node Type"] == "Limit"]
        assert "ix_reviews_all" in str(whole)
        assert "Sort" not in str(whole)
        [opinions] = plans_of(
            session, lambda: session.scalars(select(Opinion.id).where(Opinion.decision_id == 7))
        )
        assert "ix_review_opinions_decision_id" in str(opinions)


def told_of(caller: Caller, client: httpx.Client) -> str:
    """All that the API's log and its export and the page of the log tell somebody."""
    page = client.get("/audit")
    assert page.status_code == 200
    return caller.get("/audit").text + caller.get("/audit/export").text + page.text


def test_an_export_holds_what_tells_of_a_suspected_minor_as_links_of_the_chain(
    suspicion: Suspicion, console: Console
) -> None:
    lea = caller(console, "lea", Role.LEAD)
    both = caller(console, "bo", Role.AUDITOR, Role.MINOR_SAFETY)
    suspicion.mark()
    assert "suspected_minor" in both.get("/audit/export").text
    export = lea.get("/audit/export")
    assert "suspected_minor" not in export.text
    assert f'"subject_id":"{suspicion.review}","subject_kind":"review"' not in export.text
    head, fault, unchecked = verify_export(export.content.splitlines(keepends=True))
    assert fault is None
    assert head.seq > unchecked > 0
    assert export.text.count('"restricted":true') == unchecked


def test_a_first_verdict_is_hidden_from_who_may_give_the_second_until_it_is_given(
    rig: Rig, ending: ExitStack, desk: Desk
) -> None:
    rig.with_policy(second_review={"share": 1})
    console = Console(rig.settings, rig.sessions, ending)
    review = desk.review()
    lea = caller(console, "lea", Role.LEAD)
    auditor = caller(console, "auditor", Role.AUDITOR)
    _, lead_page = console.signed_in("lou", Role.LEAD)
    _, auditor_page = console.signed_in("alf", Role.AUDITOR)
    desk.decide(review, "maria", None, Verdict.HASH_WRONG)
    hidden_words = ("hash_wrong", "hash wrong", "Hash wrong")
    assert not any(word in told_of(lea, lead_page) for word in hidden_words)
    assert any(word in told_of(auditor, auditor_page) for word in hidden_words)
    desk.decide(review, "jo", None, Verdict.HASH_WRONG)
    assert any(word in told_of(lea, lead_page) for word in hidden_words)


def test_a_client_that_tells_no_seconds_meets_the_limits_by_seconds_and_has_viewed_the_file(
    rig: Rig, ending: ExitStack, pictures: Reveals, versioned_bucket: str
) -> None:
    console = Console(rig.settings, rig.sessions, ending, pictures)
    review = held_picture(rig, versioned_bucket)
    maria = caller(console, "maria", Role.REVIEWER)
    maria.claim(review)
    for _ in range(2):
        address = maria.post(f"/reviews/{review}/reveal", rung="whole").json()["address"]
        assert maria.get(f"/reveal/{address}").status_code == 200
        assert maria.post(f"/reveal/{address}/covered", seconds=0).status_code == 204
    exposure = maria.get("/exposure").json()
    assert (exposure["hour_seconds"], exposure["week_seconds"]) == (2, 2)
    with rig.sessions() as session:
        looks = session.scalars(select(View)).all()
        assert [entire(look, Kind.IMAGE) for look in looks] == [True, True]
