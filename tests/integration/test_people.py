"""People at the pages: how they come in, how long they stay, what their roles allow, and what is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import func, select, update
from starlette.routing import BaseRoute

from config.database import Sessions, make_engine, make_sessions
from config.settings import Settings
from tests.integration.console import Console, hidden
from worker.media.sandbox import ZygoteSandbox
from worker.review.faults import PeopleError, SignInError
from worker.review.pages.doors import Asks
from worker.review.people import entrance, people, sign_ins, throttle
from worker.review.people.permissions import ALLOWED, May
from worker.review.reveal.reveals import Reveals
from worker.storage.s3 import S3Store
from worker.store.audit_log import AuditEntry
from worker.store.people import Person, Role, SignedIn, SignInAttempt, SignInLink

PASSWORD = "correct hörse battery"  # noqa: S105 (of this test)


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sessions(settings: Settings, ending: ExitStack) -> Sessions:
    engine = make_engine(settings.database)
    ending.callback(engine.dispose)
    return make_sessions(engine)


@pytest.fixture
def console(settings: Settings, sessions: Sessions, ending: ExitStack) -> Console:
    return Console(settings, sessions, ending)


def with_password(sessions: Sessions, name: str = "Maria", role: Role = Role.REVIEWER) -> str:
    with sessions.begin() as session:
        person = people.add(session, name, [role], actor="test")
        people.set_password(session, person, PASSWORD, actor="test")
    return person.pseudonym


def actions(sessions: Sessions) -> list[tuple[str, str]]:
    with sessions() as session:
        rows = session.execute(select(AuditEntry.action, AuditEntry.actor).order_by(AuditEntry.seq))
        return [(row.action, row.actor) for row in rows]


def test_a_name_and_its_password_let_in(console: Console, sessions: Sessions) -> None:
    pseudonym = with_password(sessions)
    answer = console.try_password(" mARIA ", "correct ho\u0308rse battery")
    assert (answer.status_code, answer.headers["location"]) == (303, "/start")
    cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith("hashwarden="))
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()
    token = cookie.partition("=")[2].partition(";")[0]
    page = console.nobody.get("/")
    assert page.status_code == 200
    assert pseudonym in page.text
    assert "Maria" not in page.text
    with sessions() as session:
        row = session.scalars(select(SignedIn)).one()
        assert token.encode() not in row.token_hash
        assert session.scalar(select(func.count()).select_from(SignInAttempt)) == 0
    assert actions(sessions)[-1] == ("sign_in", pseudonym)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Maria", "wrong"),
        ("Maria", ""),
        ("Jo", PASSWORD),
        ("a\0b", PASSWORD),
        ("Maria", "x" * 5000),
        ("é" * 300, "x"),
    ],
)
def test_anything_else_does_not_and_says_no_more(
    console: Console, sessions: Sessions, name: str, password: str
) -> None:
    with_password(sessions)
    answer = console.try_password(name, password)
    assert answer.status_code in {400, 401}
    assert console.nobody.get("/").status_code == 303
    if answer.status_code == 401:
        assert "The name or the password is wrong." in answer.text
        with sessions() as session:
            entry = session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc())).first()
            assert entry is not None
            assert (entry.action, entry.actor, entry.details) == ("sign_in_failed", "nobody", {})


def test_a_sign_in_form_of_another_browser_lets_nobody_in(console: Console, sessions: Sessions) -> None:
    with_password(sessions)
    form = hidden(console.client().get("/sign-in").text) | {"name": "Maria", "password": PASSWORD}
    console.nobody.get("/sign-in")
    assert console.nobody.post("/sign-in", data=form).status_code == 403
    assert console.nobody.get("/").status_code == 303


def test_who_guesses_is_slowed_down_by_name_and_by_address(
    console: Console, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password(sessions)
    monkeypatch.setattr(throttle, "PER_NAME", 3)
    monkeypatch.setattr(throttle, "PER_ADDRESS", 5)
    review = console.settings.review

    def guess(name: str, password: str = "wrong", address: str = "192.0.2.1") -> str:  # noqa: S107
        try:
            return entrance.by_password(sessions, review, name, password, address)
        except SignInError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, ["Maria"] * 8))
    assert sorted(answers) == ["sign_in"] * 3 + ["too_many_tries"] * 5
    # Not even the right one, from anywhere; other names of that address a little longer.
    assert guess("maria", PASSWORD, "192.0.2.2") == "too_many_tries"
    assert [guess("Jo"), guess("Jo"), guess("Jo")] == ["sign_in", "sign_in", "too_many_tries"]
    with sessions.begin() as session:
        session.execute(update(SignInAttempt).values(at=func.clock_timestamp() - throttle.WINDOW))
    assert len(guess("Maria", PASSWORD)) == 43
    assert console.try_password("Maria", "wrong").status_code == 401
    for _ in range(3):
        last = console.try_password("Maria", "wrong")
    assert last.status_code == 429


def test_a_name_and_a_pseudonym_of_one_person_have_one_set_of_tries(
    console: Console, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password(sessions)
    with sessions() as session:
        pseudonym = people.get(session, "Maria").pseudonym
    monkeypatch.setattr(throttle, "PER_NAME", 3)
    for name in ("Maria", pseudonym, "maria "):
        assert console.try_password(name, "wrong").status_code == 401
    for name in (pseudonym, "MARIA"):
        assert console.try_password(name, PASSWORD).status_code == 429


def test_a_link_lets_in_once_and_not_by_being_looked_at(console: Console, sessions: Sessions) -> None:
    with sessions.begin() as session:
        person = people.add(session, "Maria", [Role.AUDITOR], actor="test")
        link = entrance.make_link(session, person, 5, actor="test")
    for _ in range(2):
        form = hidden(console.nobody.get(f"/sign-in/link/{link}").text)
    assert console.nobody.post("/sign-in/link", data=form).status_code == 303
    assert console.nobody.get("/start").headers["location"] == "/audit"
    other = console.client()
    form = hidden(other.get(f"/sign-in/link/{link}").text)
    assert other.post("/sign-in/link", data=form).status_code == 401
    with sessions.begin() as session:
        late = entrance.make_link(session, session.get_one(Person, person.id), 5, actor="test")
        session.execute(update(SignInLink).values(expires_at=func.clock_timestamp()))
    assert other.post("/sign-in/link", data=form | {"link": late}).status_code == 401
    assert other.get("/start").headers["location"] == "/sign-in"


def test_two_who_use_a_link_at_once_get_one_session(settings: Settings, sessions: Sessions) -> None:
    with sessions.begin() as session:
        person = people.add(session, "Maria", [Role.LEAD], actor="test")
        link = entrance.make_link(session, person, 5, actor="test")

    def use(_: int) -> bool:
        try:
            return bool(entrance.by_link(sessions, settings.review, link))
        except SignInError:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(use, range(4))) == 1


@pytest.mark.parametrize(
    "how", ["idle", "old", "revoked", "revoked by page", "disabled", "password", "signed out"]
)
def test_a_session_ends(console: Console, sessions: Sessions, how: str) -> None:
    pseudonym, maria = console.signed_in("Maria", Role.REVIEWER, Role.ADMIN)
    page = maria.get("/people").text
    assert "Maria" in page
    now = func.clock_timestamp()
    with sessions.begin() as session:
        person = people.get(session, pseudonym)
        session_id = session.scalars(select(SignedIn.id)).one()
        if how == "idle":
            session.execute(update(SignedIn).values(seen_at=now - timedelta(seconds=3601)))
        elif how == "old":
            session.execute(update(SignedIn).values(expires_at=now))
        elif how == "revoked":
            people.revoke(session, session_id, actor="operator:test")
        elif how == "disabled":
            people.disable(session, person, actor="operator:test")
        elif how == "password":
            people.set_password(session, person, PASSWORD, actor="operator:test")
    if how == "revoked by page":
        assert maria.post(f"/people/sessions/{session_id}/end", data=hidden(page)).status_code == 303
    if how == "signed out":
        assert maria.post("/sign-out", data=hidden(page)).headers["location"] == "/sign-in"
        assert ("sign_out", pseudonym) in actions(sessions)
    assert maria.get("/").headers["location"] == "/sign-in"
    if "revoked" in how:
        assert actions(sessions)[-1][0] == "session_revoked"
        with sessions.begin() as session, pytest.raises(PeopleError):
            people.revoke(session, session_id, actor="operator:test")


def test_a_session_that_is_used_stays(console: Console, sessions: Sessions) -> None:
    _, maria = console.signed_in("Maria", Role.REVIEWER)
    with sessions.begin() as session:
        before = func.clock_timestamp() - timedelta(seconds=3000)
        session.execute(update(SignedIn).values(seen_at=before))
    assert maria.get("/").status_code == 200
    with sessions() as session:
        assert session.scalar(select(SignedIn.seen_at > func.clock_timestamp() - timedelta(seconds=60)))


def test_behind_tls_cookies_are_of_this_host_alone_and_hsts_is_sent(
    settings: Settings, sessions: Sessions, ending: ExitStack
) -> None:
    review = settings.review.model_copy(update={"tls": True})
    console = Console(settings.model_copy(update={"review": review}), sessions, ending)
    answer = console.nobody.get("/sign-in")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-hashwarden-door=")
    assert "; Secure" in cookie
    assert "Path=/;" in cookie
    assert "domain" not in cookie.lower()


def test_without_anybody_the_page_says_how_to_make_the_first(console: Console) -> None:
    assert "hashwarden people add" in console.nobody.get("/sign-in").text
    console.signed_in("Maria", Role.ADMIN)
    assert "hashwarden people add" not in console.client().get("/sign-in").text


WHO = {
    May.SEE_REVIEWS: {Role.REVIEWER, Role.LEAD, Role.ADJUDICATOR, Role.MINOR_SAFETY},
    May.DECIDE: {Role.REVIEWER, Role.LEAD, Role.ADJUDICATOR, Role.MINOR_SAFETY},
    May.APPEAL: {Role.REVIEWER, Role.LEAD, Role.ADJUDICATOR, Role.MINOR_SAFETY, Role.PLATFORM},
    May.REVEAL: {Role.REVIEWER, Role.LEAD, Role.ADJUDICATOR, Role.MINOR_SAFETY},
    May.SEE_MINORS: {Role.MINOR_SAFETY},
    May.ADJUDICATE: {Role.ADJUDICATOR, Role.LEAD},
    May.UNDO_OTHERS: {Role.LEAD},
    May.SEE_UPLOADS: {Role.REVIEWER, Role.LEAD, Role.ADJUDICATOR, Role.MINOR_SAFETY},
    May.SEE_PROPOSALS: set(Role) - {Role.PLATFORM},
    May.PROPOSE: set(Role) - {Role.AUDITOR, Role.PLATFORM},
    May.APPROVE: {Role.LEAD, Role.ADMIN},
    May.SEE_AUDIT: {Role.LEAD, Role.AUDITOR, Role.ADMIN},
    May.SEE_FIGURES: {Role.LEAD, Role.AUDITOR, Role.ADMIN},
    May.SEE_EACH_PERSON: {Role.LEAD},
    May.MANAGE_PEOPLE: {Role.ADMIN},
}

ROUTES = {
    ("GET", "/"): May.SEE_REVIEWS,
    ("GET", "/reviews/{review_id}"): May.SEE_REVIEWS,
    ("POST", "/reviews/{review_id}"): May.DECIDE,
    ("GET", "/minors"): May.SEE_MINORS,
    ("GET", "/minors/{case_id}"): May.SEE_MINORS,
    ("GET", "/minors/{case_id}/report"): May.SEE_MINORS,
    ("POST", "/minors/{case_id}/reported"): May.SEE_MINORS,
    ("POST", "/minors/{case_id}/prolong"): May.SEE_MINORS,
    ("POST", "/minors/{case_id}/overturn"): May.SEE_MINORS,
    ("POST", "/minors/{case_id}/overturn/{proposal_id}/approve"): May.SEE_MINORS,
    ("POST", "/minors/{case_id}/overturn/{proposal_id}/reject"): May.SEE_MINORS,
    ("POST", "/reviews/{review_id}/reveal"): May.REVEAL,
    ("GET", "/reveal/{address}"): May.REVEAL,
    ("POST", "/reveal/{address}/covered"): May.REVEAL,
    ("GET", "/break"): May.REVEAL,
    ("POST", "/next"): May.DECIDE,
    ("POST", "/reviews/{review_id}/take"): May.DECIDE,
    ("POST", "/reviews/{review_id}/alive"): May.DECIDE,
    ("POST", "/reviews/{review_id}/leave"): May.DECIDE,
    ("POST", "/reviews/{review_id}/undo"): May.DECIDE,
    ("POST", "/uploads/{upload_id}/appeal"): May.APPEAL,
    ("GET", "/uploads"): May.SEE_UPLOADS,
    ("GET", "/uploads/{upload_id}"): May.SEE_UPLOADS,
    ("GET", "/proposals"): May.SEE_PROPOSALS,
    ("POST", "/proposals"): May.PROPOSE,
    ("POST", "/proposals/{proposal_id}/approve"): May.APPROVE,
    ("POST", "/proposals/{proposal_id}/reject"): May.PROPOSE,
    ("GET", "/figures"): May.SEE_FIGURES,
    ("GET", "/figures/{name}.csv"): May.SEE_FIGURES,
    ("GET", "/audit"): May.SEE_AUDIT,
    ("GET", "/people"): May.MANAGE_PEOPLE,
    ("POST", "/people/sessions/{session_id}/end"): May.MANAGE_PEOPLE,
}

OWN = {
    ("GET", "/start"),
    ("GET", "/me"),
    ("POST", "/me/keys"),
    ("POST", "/me/password"),
    ("POST", "/me/sessions/{session_id}/end"),
}
"""For everybody who is signed in, and about them alone."""

OPEN = {("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/metrics")}
"""Asks for no sign-in: machines, and who is about to come in or leave."""


@pytest.fixture
def whole(settings: Settings, sessions: Sessions, ending: ExitStack) -> Console:
    """A console that offers pictures too. None is rendered: the sandbox is not started."""
    sandbox = ZygoteSandbox()
    reveals = Reveals(settings, sessions, S3Store(settings.storage), sandbox, sandbox)
    return Console(settings, sessions, ending, reveals)


def test_every_role_at_every_route(whole: Console) -> None:
    clients = {role: whole.signed_in(f"a {role}", role)[1] for role in Role}
    tokens = {role: sign_ins.form_token(client.cookies["hashwarden"]) for role, client in clients.items()}
    for (method, path), what in ROUTES.items():
        address = re.sub(r"\{\w+\}", "999", path.replace("{address}", "x" * 43))
        assert whole.nobody.request(method, address).status_code in {303, 401}
        for role, client in clients.items():
            data = {"token": tokens[role]} if method == "POST" else None
            status = client.request(method, address, data=data).status_code
            assert (status != 403) == (role in WHO[what]), (method, path, role, status)


def test_the_table_of_routes_is_whole(whole: Console) -> None:
    assert {role: {what for what in May if role in WHO[what]} for role in Role} == ALLOWED
    found = {}
    for route in every_route(whole.app.routes):
        asked = [one.dependency.what for one in route.dependencies if isinstance(one.dependency, Asks)]
        for method in route.methods or ():
            found[method, route.path] = asked
    without = {key for key, asked in found.items() if not asked and not key[1].startswith("/sign-")}
    assert without == OPEN | OWN
    assert {key: asked[0] for key, asked in found.items() if asked} == ROUTES


def every_route(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from every_route(router.routes)


def test_a_change_of_roles_counts_at_once(console: Console, sessions: Sessions) -> None:
    pseudonym, maria = console.signed_in("Maria", Role.REVIEWER)
    assert maria.get("/people").status_code == 403
    with sessions.begin() as session:
        people.set_roles(session, people.get(session, "maria"), [Role.ADMIN], actor="operator:test")
    assert maria.get("/people").status_code == 200
    assert maria.get("/").status_code == 403
    assert pseudonym.startswith("reviewer-")


def test_names_are_one_persons(sessions: Sessions) -> None:
    with sessions.begin() as session:
        people.add(session, "Maria  Lopez", [Role.LEAD], actor="test")
    for name in ("maria lopez", " MARIA LOPEZ "):
        with sessions.begin() as session, pytest.raises(PeopleError, match="already"):
            people.add(session, name, [Role.LEAD], actor="test")
    for name in ("", "a\x1bb", "a" * 201):
        with sessions.begin() as session, pytest.raises(PeopleError):
            people.add(session, name, [Role.LEAD], actor="test")
    with sessions.begin() as session, pytest.raises(PeopleError, match="12 to 256"):
        people.set_password(session, people.get(session, "maria lopez"), "short", actor="test")
