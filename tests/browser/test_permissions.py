"""What each role is refused: every page in the browser, every form with a token that is right."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from sqlalchemy import func, select

from tests.browser.desk import Desk
from tests.browser.system import Held
from tests.integration.test_people import OPEN, OWN, ROUTES, WHO, every_route
from worker.store.audit_log import AuditEntry
from worker.store.people import Role

REFUSED = "Your roles do not allow this."

PAGES = [path for method, path in ROUTES if method == "GET" and path != "/reveal/{address}"]

FILES = {"/figures/{name}.csv", "/minors/{case_id}/report"}
"""Are saved and not shown: a browser has no page of them."""


def address(path: str, held: Held, case: str = "") -> str:
    """A route's address, of things that are there where they can be; `case` is where one of a suspected minor is."""
    ids = {
        "review_id": str(held.review),
        "upload_id": str(held.upload),
        "case_id": case.rpartition("/")[2] or "999",
        "name": "waiting",
        "address": "x" * 43,
    }
    return re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], "999"), path)


def suspected(desk: Desk) -> str:
    """Where the case of another upload is, which somebody has just marked."""
    held, somebody = desk.system.held(), desk.person()
    somebody.at(held)
    somebody.press("Suspected minor")
    return desk.system.case(held)


def test_every_route_stands_in_the_table(desk: Desk) -> None:
    found = {
        (method, route.path)
        for route in every_route(desk.system.console.app.routes)
        for method in route.methods or ()
    }
    without_role = {key for key in found - set(ROUTES) if not key[1].startswith("/sign-")}
    assert without_role == OPEN | OWN
    assert set(ROUTES) <= found


@pytest.mark.parametrize("role", list(Role))
def test_each_page_opens_for_its_roles_and_tells_others_nothing(desk: Desk, role: Role) -> None:
    held, case, person = desk.system.held(), suspected(desk), desk.person(role)
    for path in PAGES:
        status = 200 if role in WHO[ROUTES["GET", path]] else 403
        if path in FILES:
            assert person.page.request.get(address(path, held, case)).status == status, path
            continue
        answer = person.page.goto(address(path, held, case))
        assert answer is not None
        assert answer.status == status, path
        if status == 403:
            person.is_told(REFUSED, "Nothing was done")
            expect(person.page.locator("main table, main form, main dl")).to_have_count(0)
    # What is offered on top of each page is what may be opened, and all of it.
    person.page.goto("/start")
    links = person.page.locator("header nav a")
    offered = {link.get_attribute("href") for link in links.all()}
    top = {"/", "/uploads", "/proposals", "/figures", "/audit", "/people"}
    assert offered == {path for path in top if role in WHO[ROUTES["GET", path]]}


@pytest.mark.parametrize("role", list(Role))
def test_no_form_acts_for_a_role_that_may_not(desk: Desk, role: Role) -> None:
    held, case, person = desk.system.held(), suspected(desk), desk.person(role)
    with desk.system.sessions() as session:
        before = session.scalar(select(func.max(AuditEntry.seq)))
    for (method, path), what in ROUTES.items():
        if method == "GET" or role in WHO[what]:
            continue
        answer = person.page.request.post(
            address(path, held, case),
            form={"token": person.token, "verdict": "lawful", "request_id": "r", "rung": "1"},
        )
        assert (answer.status, REFUSED in answer.text()) == (403, True), path
    with desk.system.sessions() as session:
        assert session.scalar(select(func.max(AuditEntry.seq))) == before
    assert desk.system.state(held) == "held"


@pytest.mark.parametrize("role", list(Role))
def test_a_role_that_may_still_needs_its_own_token(desk: Desk, role: Role) -> None:
    held, person, other = desk.system.held(), desk.person(role), desk.person(role)
    for method, path in ROUTES:
        if method == "GET":
            continue
        for token in ("", other.token):
            answer = person.page.request.post(address(path, held), form={"token": token})
            assert answer.status == 403, path
    answer = person.page.request.post("/sign-out", form={"token": other.token})
    assert answer.status == 403
    person.page.goto("/start")
    assert not person.page.url.endswith("/sign-in")
