"""The API over HTTP: who may call what, claims and verdicts, appeals by the platform, people, proposals and the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from config.database import make_engine, make_sessions
from tests.integration.api import BASE, Caller, caller
from tests.integration.console import Console
from tests.integration.test_desk_pages import add_review
from tests.integration.test_people import OWN, ROUTES, WHO
from worker.domain import State
from worker.review.api.openapi import ANY_TOKEN, needed, operations
from worker.review.audit_verify import verify_export
from worker.review.desk.desk import Desk
from worker.review.desk.queue import Counts
from worker.review.people import people, throttle, tokens
from worker.review.people.permissions import May
from worker.store.appeal_rows import Appeal
from worker.store.audit_log import AuditEntry
from worker.store.models import DecisionRow, Demotion, Review, Upload
from worker.store.people import ApiToken, Role

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def console(rig: Rig) -> Iterator[Console]:
    with ExitStack() as ending:
        yield Console(rig.settings, rig.sessions, ending)


@pytest.fixture
def maria(console: Console) -> Caller:
    return caller(console, "maria", Role.REVIEWER)


def uploads_of(rig: Rig, review_id: int) -> list[Upload]:
    with rig.sessions() as session:
        query = select(Upload).join(Review, Review.content_id == Upload.content_id)
        return list(session.scalars(query.where(Review.id == review_id).order_by(Upload.id)))


def test_every_role_at_every_operation(console: Console) -> None:
    callers = {role: caller(console, f"a {role}", role) for role in Role}
    description = console.nobody.get(f"{BASE}/openapi.json").json()
    seen = 0
    for path, methods in description["paths"].items():
        address = BASE + re.sub(r"\{\w+\}", "999", path.replace("{address}", "x" * 43))
        for method, operation in methods.items():
            seen += 1
            needs = operation["x-needs"]
            allowed = set(Role) if needs == ANY_TOKEN else WHO[May(needs)]
            nobody = console.nobody.request(method, address)
            assert nobody.status_code == 401
            assert nobody.headers["www-authenticate"] == "Bearer"
            for role, each in callers.items():
                status = each.client.request(method, address).status_code
                assert status < 500
                assert (status != 403) == (role in allowed), (method, path, role)
    assert seen > 50


PAGES_ELSEWHERE = {
    ("GET", "/break"): "GET /exposure",
    ("GET", "/"): "GET /queue",
    ("POST", "/next"): "POST /queue/next",
    ("POST", "/reviews/{review_id}"): "POST /reviews/{review_id}/verdict",
    ("POST", "/reviews/{review_id}/take"): "POST /reviews/{review_id}/claim",
    ("POST", "/reviews/{review_id}/alive"): "POST /reviews/{review_id}/renew",
    ("POST", "/uploads/{upload_id}/appeal"): "POST /appeals",
    ("POST", "/people/sessions/{session_id}/end"): "DELETE /sessions/{session_id}",
    ("POST", "/me/keys"): "PUT /me/keys",
    ("POST", "/me/sessions/{session_id}/end"): "DELETE /me/sessions/{session_id}",
}

LEFT_OUT = {
    ("GET", "/start"): "It leads a browser to its first page.",
    ("POST", "/me/password"): "Who finds a token must not become its person by a new password.",
}
"""Why. Signing in and out is left out too: it is about cookies, and no cookie counts for the API."""


def test_whatever_the_pages_do_the_api_does_with_the_same_permission(console: Console) -> None:
    (api,) = [route.app for route in console.app.routes if getattr(route, "path", "") == BASE]  # type: ignore[attr-defined]
    found = {
        f"{method} {route.path}": needed(route)
        for route in operations(api.routes)
        for method in route.methods or ()
    }
    asked: dict[tuple[str, str], May | None] = {**ROUTES, **dict.fromkeys(OWN - LEFT_OUT.keys())}
    for (method, path), what in asked.items():
        assert found[PAGES_ELSEWHERE.get((method, path), f"{method} {path}")] == what


def test_claim_verdict_undo(rig: Rig, console: Console, maria: Caller) -> None:
    review = add_review(rig, uploads=2)
    (line,) = maria.get("/queue").json()["reviews"]
    assert (line["id"], line["in_hand"], line["matches"][0]["bank"]) == (review, False, "stopncii")
    claim = maria.post("/queue/next", bank="").json()["claim"]
    assert claim["reviews"] == [review]
    seen = maria.get(f"/reviews/{review}").json()
    assert (seen["claim"]["token"], seen["blast"], seen["review"]["mine"]) == (claim["token"], 2, True)
    assert maria.post(f"/reviews/{review}/renew", claim=claim["token"]).json()["left"] > 290
    body = {"verdict": "confirmed", "request_id": str(uuid4()), "claim": claim["token"], "reason": "seen"}
    first = maria.post(f"/reviews/{review}/verdict", **body).json()
    assert (first["became"], first["moved"], first["repeated"]) == ("decided", 2, False)
    assert maria.post(f"/reviews/{review}/verdict", **body).json()["repeated"] is True
    assert len(console.woken) == 2
    assert maria.get("/undoable").json() == {"reviews": [review]}
    undone = maria.post(f"/reviews/{review}/undo", request_id=str(uuid4())).json()
    assert (undone["moved"], undone["kept"]) == (2, 0)
    seen = maria.get(f"/reviews/{review}").json()
    assert [each["kind"] for each in seen["decisions"]] == ["verdict", "undo"]
    assert {each["actor"] for each in seen["decisions"]} == {maria.pseudonym}
    assert {upload.state for upload in uploads_of(rig, review)} == {State.HELD}


def test_a_page_and_the_api_are_one_persons_desk(rig: Rig, console: Console, maria: Caller) -> None:
    review = add_review(rig)
    maria.claim(review)
    _, jo = console.signed_in("jo", Role.REVIEWER)
    assert "in other hands" in jo.get(f"/reviews/{review}").text or "in hand" in jo.get("/").text
    other = caller(console, "ann", Role.REVIEWER)
    refused = other.post(f"/reviews/{review}/claim")
    assert (refused.status_code, refused.json()["code"]) == (409, "claim")


def test_one_verdict_sent_by_many_at_once_is_taken_once(rig: Rig, maria: Caller) -> None:
    review = add_review(rig)
    body = {"verdict": "lawful", "request_id": str(uuid4()), "claim": maria.claim(review)}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: maria.post(f"/reviews/{review}/verdict", **body), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["repeated"] for answer in answers) == [False] + [True] * 5
    with rig.sessions() as session:
        assert session.scalars(select(DecisionRow.actor)).all() == [maria.pseudonym]


def test_callers_who_take_the_next_at_once_never_get_the_same(rig: Rig, console: Console) -> None:
    reviews = {add_review(rig) for _ in range(4)}
    callers = [caller(console, f"p{number}", Role.REVIEWER) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        claims = [
            answer.json()["claim"] for answer in pool.map(lambda c: c.post("/queue/next", bank=""), callers)
        ]
    assert sorted(each["reviews"][0] for each in claims if each) == sorted(reviews)
    assert claims.count(None) == 2


@pytest.mark.parametrize("how", ["back", "recused", "asked", "skipped"])
def test_every_way_of_leaving_ends_the_claim(rig: Rig, maria: Caller, how: str) -> None:
    review = add_review(rig)
    claim = maria.claim(review)
    assert maria.post(f"/reviews/{review}/leave", how=how, claim=claim).status_code == 204
    again = maria.post("/queue/next", bank="").json()["claim"]
    assert (again is None) == (how != "back")
    gone = maria.post(f"/reviews/{review}/renew", claim=claim)
    assert (gone.status_code, gone.json()["code"]) == (409, "claim")


def test_lists_are_read_to_their_end_by_cursors(rig: Rig, maria: Caller) -> None:
    made = [add_review(rig) for _ in range(5)]
    with rig.sessions.begin() as session:
        session.execute(update(Review).values(due_at=func.now()))
        session.execute(update(Review).where(Review.id == made[3]).values(priority=90))
        session.execute(update(Review).where(Review.id == made[4]).values(nearest=1))

    def read(address: str, rows: str) -> list[int]:
        found: list[int] = []
        cursor: dict[str, int] = {}
        while True:
            page = maria.get(address, limit=2, **cursor).json()
            assert len(page[rows]) <= 2
            found += [row["id"] for row in page[rows]]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    assert read("/queue", "reviews") == [made[3], made[4], *made[:3]]
    assert read("/reviews", "reviews") == made[::-1]
    assert read("/uploads", "uploads") == [uploads_of(rig, review)[0].id for review in made[::-1]]


def test_a_suspected_minor_is_nowhere_for_who_may_not_see_it(
    rig: Rig, console: Console, maria: Caller
) -> None:
    review = add_review(rig)
    (upload,) = uploads_of(rig, review)
    body = {"verdict": "suspected_minor", "request_id": str(uuid4())}
    for repeated in (False, True):
        answer = maria.post(f"/reviews/{review}/verdict", **body)
        assert (answer.status_code, answer.json()["repeated"]) == (200, repeated)
    jo = caller(console, "jo", Role.REVIEWER, Role.LEAD)
    platform = caller(console, "platform", Role.PLATFORM)
    for each in (maria, jo):
        for address in (f"/reviews/{review}", f"/uploads/{upload.id}"):
            assert each.get(address).json()["code"] == "not_there"
        for address in ("/reviews", "/uploads", "/queue"):
            assert str(upload.key) not in each.get(address).text
            assert f'"id":{review},' not in each.get(address).text
        assert each.post(f"/reviews/{review}/claim").status_code == 404
        assert each.post(f"/reviews/{review}/leave", how="recused").status_code == 404
        wrong = each.post(f"/reviews/{review}/verdict", verdict="lawful", request_id="r", claim=str(uuid4()))
        assert wrong.status_code == 404
    for each in (jo, platform):
        hidden = each.post("/appeals", upload_id=upload.id, reason="mine")
        absent = each.post("/appeals", upload_id=10**6, reason="mine")
        assert (hidden.status_code, hidden.json()["code"]) == (409, "appeal")
        assert hidden.json()["detail"].replace(str(upload.id), "") == absent.json()["detail"].replace(
            "1000000", ""
        )
    mina = caller(console, "mina", Role.MINOR_SAFETY)
    assert [line["review_id"] for line in mina.get("/minors").json()["cases"]] == [review]
    assert mina.get(f"/reviews/{review}").json()["review"]["verdict"] == "suspected_minor"
    assert maria.post(f"/reviews/{review}/undo", request_id=str(uuid4())).status_code == 404
    assert mina.post(f"/reviews/{review}/undo", request_id=str(uuid4())).json()["code"] == "review"


def test_the_platform_appeals_by_key_and_reads_what_became_of_it(
    rig: Rig, console: Console, maria: Caller
) -> None:
    review = add_review(rig)
    (upload,) = uploads_of(rig, review)
    platform = caller(console, "platform", Role.PLATFORM)
    early = platform.post("/appeals", bucket="b", key=upload.key, reason="mine")
    assert (early.status_code, early.json()["code"]) == (409, "appeal")
    assert upload.key not in early.text
    assert maria.decide(review, "confirmed").json()["became"] == "decided"
    with ThreadPoolExecutor(4) as pool:
        bodies = [{"upload_id": upload.id}, {"bucket": "b", "key": upload.key}] * 2
        answers = list(pool.map(lambda body: platform.post("/appeals", **body, reason="mine"), bodies))
    assert {answer.status_code for answer in answers} == {200}
    (appeal,) = {answer.json()["id"] for answer in answers}
    assert platform.get(f"/appeals/{appeal}").json()["state"] == "open"
    assert maria.post(f"/reviews/{review}/claim").status_code == 409
    jo = caller(console, "jo", Role.REVIEWER)
    seen = jo.get(f"/reviews/{review}").json()
    assert (seen["blind"], seen["history"], seen["appeal"]["reason"]) == (True, [], "mine")
    assert {each["actor"] for each in seen["decisions"]} == {""}
    assert jo.decide(review, "lawful").json()["became"] == "decided"
    ended = platform.get(f"/appeals/{appeal}").json()
    assert (ended["state"], ended["decided_at"] is None) == ("overturned", False)
    with rig.sessions() as session:
        row = session.scalars(select(Appeal)).one()
        assert (row.source, row.opened_by) == ("api", platform.pseudonym)


def test_many_releases_are_proposed_and_approved_by_another(
    rig: Rig, console: Console, maria: Caller
) -> None:
    review = add_review(rig, uploads=30)
    untyped = maria.decide(review, "lawful")
    assert (untyped.status_code, untyped.json()["code"]) == (409, "review")
    body = {"verdict": "lawful", "request_id": str(uuid4()), "typed": 30, "claim": maria.claim(review)}
    proposed = maria.post(f"/reviews/{review}/verdict", **body).json()
    assert (proposed["became"], proposed["moved"], proposed["repeated"]) == ("proposed", 0, False)
    again = maria.post(f"/reviews/{review}/verdict", **body).json()
    assert again == proposed | {"repeated": True}
    other = maria.post(f"/reviews/{review}/verdict", **body | {"verdict": "hash_wrong"})
    assert (other.status_code, other.json()["code"]) == (409, "claim")
    (waiting,) = maria.get("/proposals").json()["waiting"]
    assert (waiting["id"], waiting["proposed_by"]) == (proposed["proposal_id"], maria.pseudonym)
    assert maria.post(f"/proposals/{waiting['id']}/approve").status_code == 403
    lead = caller(console, "lead", Role.LEAD)
    assert lead.post(f"/proposals/{waiting['id']}/approve").json() == {"moved": 30}
    late = lead.post(f"/proposals/{waiting['id']}/reject")
    assert (late.status_code, late.json()["code"]) == (409, "proposal")


def test_an_undo_of_many_is_proposed_once_and_approved_by_another(
    rig: Rig, console: Console, maria: Caller
) -> None:
    review = add_review(rig, uploads=30)
    with rig.sessions.begin() as session:
        session.execute(update(Upload).values(state=State.FLAGGED))
    assert maria.decide(review, "confirmed", typed=30).json()["moved"] == 30
    lead, other = (caller(console, name, Role.LEAD) for name in ("lead", "other"))
    request = str(uuid4())
    first = lead.post(f"/reviews/{review}/undo", request_id=request, reason="wrong").json()
    assert (first["moved"], first["proposal_id"] is None, first["repeated"]) == (0, False, False)
    again = lead.post(f"/reviews/{review}/undo", request_id=request, reason="wrong").json()
    assert again == first | {"repeated": True}
    assert lead.post(f"/proposals/{first['proposal_id']}/approve").status_code == 409
    assert other.post(f"/proposals/{first['proposal_id']}/approve").json() == {"moved": 30}
    assert {upload.state for upload in uploads_of(rig, review)} == {State.FLAGGED}


def test_a_demotion_is_proposed(rig: Rig, maria: Caller) -> None:
    with rig.sessions.begin() as session:
        session.add(Demotion(entry_id=77, bank="stopncii", uploaders=30))
    (offered,) = maria.get("/proposals").json()["proposable"]
    assert offered["about"] == "stopncii, it hit 30 uploaders"
    asked = {"kind": "lift_demotion", "subject_id": offered["subject_id"]}
    made = maria.post("/proposals", **asked)
    assert made.status_code == 201
    assert maria.post("/proposals", **asked).json()["code"] == "proposal"
    assert maria.post(f"/proposals/{made.json()['id']}/reject").status_code == 204


def test_an_admin_invites_changes_and_suspends(rig: Rig, console: Console) -> None:
    admin = caller(console, "admin", Role.ADMIN)
    made = admin.post("/people", name="Ann Other", roles=["reviewer"])
    assert made.status_code == 201
    person = made.json()
    assert admin.post("/people", name="ann other", roles=["lead"]).json()["code"] == "people"
    one = f"/people/{person['id']}"
    assert admin.put(f"{one}/roles", roles=["lead", "reviewer"]).json()["roles"] == ["lead", "reviewer"]
    with rig.sessions.begin() as session:
        token, _ = tokens.add(session, people.get(session, "ann other"), [Role.LEAD], 1, actor="test")
    ann = console.client()
    ann.headers["authorization"] = f"Bearer {token}"
    assert ann.get(f"{BASE}/audit").status_code == 200
    assert admin.put(f"{one}/roles", roles=["reviewer"]).status_code == 200
    assert ann.get(f"{BASE}/audit").status_code == 403
    assert admin.post(f"{one}/disable").json()["disabled"] is True
    assert ann.get(f"{BASE}/queue").status_code == 401
    assert admin.post(f"{one}/enable").json()["disabled"] is False
    assert ann.get(f"{BASE}/queue").status_code == 401
    assert admin.put("/people/999/roles", roles=["lead"]).json()["code"] == "not_there"
    console.signed_in("jo", Role.REVIEWER)
    (session_line,) = admin.get("/sessions").json()["sessions"]
    assert admin.delete(f"/sessions/{session_line['id']}").status_code == 204
    assert admin.delete(f"/sessions/{session_line['id']}").json()["code"] == "people"
    (own,) = admin.get("/tokens").json()["tokens"]
    assert (own["pseudonym"], own["used_at"] is None) == (admin.pseudonym, False)
    assert admin.delete(f"/tokens/{own['id']}").status_code == 204
    assert admin.get("/tokens").status_code == 401


def test_the_log_is_read_verified_and_exported(console: Console) -> None:
    auditor = caller(console, "auditor", Role.AUDITOR)
    page = auditor.get("/audit", limit=1).json()
    assert page["entries"][0]["action"] == "token_added"
    assert auditor.get("/audit", cursor=page["next_cursor"]).json()["entries"][0]["action"] == "person_added"
    verified = auditor.post("/audit/verify", heads=[page["head"]]).json()
    assert (verified["fault"], verified["head"]) == (None, page["head"])
    forged = auditor.post("/audit/verify", heads=[{"seq": 1, "hash": "0" * 64}]).json()
    assert forged["fault"]["seq"] == 1
    export = auditor.get("/audit/export")
    assert export.headers["content-type"] == "application/x-ndjson"
    head, fault, _ = verify_export(export.content.splitlines(keepends=True))
    assert (head.seq, fault) == (page["head"]["seq"] + 1, None)
    assert json.loads(export.content.splitlines()[-2])["action"] == "export"


def test_a_token_is_kept_as_a_digest_and_its_use_is_known(rig: Rig, maria: Caller) -> None:
    assert maria.token.startswith("hw_")
    assert maria.get("/counts").status_code == 200
    with rig.sessions() as session:
        row = session.scalars(select(ApiToken)).one()
        assert row.used_at is not None
        assert row.used_at.second == 0
        assert maria.token.encode() not in row.token_hash
        assert maria.token not in str(session.scalars(select(AuditEntry.details)).all())


@pytest.mark.parametrize("what", ["expires_at", "revoked_at"])
def test_a_token_that_is_over_lets_nobody_in(rig: Rig, maria: Caller, what: str) -> None:
    with rig.sessions.begin() as session:
        session.execute(update(ApiToken).values({what: func.clock_timestamp()}))
    answer = maria.get("/queue")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["content-type"] == "application/problem+json"


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(console: Console, maria: Caller) -> None:
    wrong = {"authorization": "Bearer hw_" + "x" * 43}
    answers = [console.nobody.get(f"{BASE}/queue", headers=wrong) for _ in range(throttle.PER_ADDRESS + 1)]
    assert [answer.status_code for answer in answers] == [401] * throttle.PER_ADDRESS + [429]
    assert maria.get("/queue").status_code == 200
    assert console.try_password("nobody", "x" * 12).status_code == 401


def test_a_cookie_of_the_pages_opens_nothing_here(console: Console) -> None:
    _, jo = console.signed_in("jo", Role.REVIEWER)
    assert jo.get("/").status_code == 200
    assert jo.get(f"{BASE}/queue").status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid"),
        (b'{"verdict": "maybe", "request_id": "r"}', 422, "invalid"),
        (b'{"verdict": "lawful", "request_id": "r\\u0000"}', 422, "invalid"),
        (b'{"verdict": "lawful", "request_id": "\\ud800"}', 422, "invalid"),
        (b'{"verdict": "lawful", "request_id": "r", "\\ud800": 1}', 422, "invalid"),
        (b'{"verdict": "lawful", "request_id": "r", "typed": "30"}', 422, "invalid"),
        (b'{"verdict": "suspected_minor", "request_id": "r", "code": "nothing"}', 422, "unknown_reason"),
        (b'{"verdict": "suspected_minor", "request_id": "r", "also": [999]}', 404, "not_there"),
        (b'{"verdict": "lawful", "request_id": "r"}', 409, "claim"),
        (b" " * 70_000, 413, "too_long"),
    ],
)
def test_bad_input_is_told_as_a_problem(rig: Rig, maria: Caller, body: bytes, status: int, code: str) -> None:
    review = add_review(rig)
    answer = maria.client.post(
        f"{BASE}/reviews/{review}/verdict", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["next_step"]


def test_addresses_that_are_none_are_problems(console: Console, maria: Caller) -> None:
    for address, code in (
        ("/nowhere", "no_operation"),
        ("/uploads/one%0A", "invalid"),
        (f"/reviews/{2**63}", "invalid"),
    ):
        assert maria.get(address).json()["code"] == code
    assert maria.get("/queue", bank="\0").json()["code"] == "invalid"
    for query in ("curser=5", "cursor=5&cursor=6"):
        (fault,) = maria.get(f"/queue?{query}").json()["faults"]
        assert fault["where"] == f"query.{query[:6]}"
    assert maria.delete("/queue").json()["code"] == "method"
    chunked = maria.client.post(f"{BASE}/queue/next", content=iter([b"{}"]))
    assert (chunked.status_code, chunked.json()["code"]) == (411, "length_needed")
    assert console.nobody.get(f"{BASE}/openapi.json").json()["openapi"].startswith("3.1")


def test_a_fault_inside_tells_nothing_of_itself(
    console: Console, maria: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_desk: Desk) -> Counts:
        raise RuntimeError("case 12345")

    monkeypatch.setattr(Desk, "counts", fails)
    answer = maria.get("/counts")
    assert (answer.status_code, answer.json()["code"]) == (500, "broken")
    assert "12345" not in answer.text
    assert console.nobody.get("/health/live").status_code == 200


def test_without_the_database_the_api_says_so(rig: Rig) -> None:
    away = rig.settings.database.model_copy(update={"url": SecretStr("postgresql://127.0.0.1:1/x")})
    engine = make_engine(away)
    with ExitStack() as ending:
        client = Console(rig.settings, make_sessions(engine), ending).client()
        answer = client.get(f"{BASE}/queue", headers={"authorization": "Bearer hw_" + "x" * 43})
        assert (answer.status_code, answer.json()["code"]) == (503, "database")
        assert client.get(f"{BASE}/openapi.json").status_code == 200
    engine.dispose()
