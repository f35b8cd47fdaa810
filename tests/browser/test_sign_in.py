"""Coming in by a link and by a password, being slowed down, and losing a sign-in in the middle of work."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from tests.browser.desk import Desk
from worker.review.people import entrance, people, throttle
from worker.store.models import DecisionRow
from worker.store.people import Role

PASSWORD = "correct horse battery"  # noqa: S105 (of this test)


def made(desk: Desk, name: str, *roles: Role, password: bool = False) -> str:
    """A new person's pseudonym, or, without a password, the link that lets them in."""
    with desk.system.sessions.begin() as session:
        person = people.add(session, name, roles or (Role.REVIEWER,), actor="test")
        if password:
            people.set_password(session, person, PASSWORD, actor="test")
            return person.pseudonym
        return entrance.make_link(session, person, 5, actor="test")


def type_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_a_link_lets_in_once(desk: Desk) -> None:
    link = made(desk, "Lina")
    page = desk.browser().new_page()
    page.goto("/")
    expect(page).to_have_url(f"{desk.system.console.address}/sign-in")
    page.goto(f"/sign-in/link/{link}")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Open reviews")).to_be_visible()
    other = desk.browser().new_page()
    other.goto(f"/sign-in/link/{link}")
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("alert")).to_contain_text("used before")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page).to_have_url(f"{desk.system.console.address}/sign-in")


def test_a_password_lets_in_and_the_page_shows_no_name(desk: Desk) -> None:
    pseudonym = made(desk, "Petra", password=True)
    page = desk.browser().new_page()
    type_in(page, "Petra", PASSWORD)
    expect(page.locator("header")).to_contain_text(pseudonym)
    assert "Petra" not in page.content()
    assert page.evaluate("document.cookie") == ""


def test_who_guesses_is_slowed_down(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "PER_NAME", 2)
    made(desk, "Gus", password=True)
    page = desk.browser().new_page()
    for _ in range(2):
        type_in(page, "Gus", "wrong")
        expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong.")
    type_in(page, "Gus", PASSWORD)
    expect(page.get_by_role("alert")).to_contain_text("Try again in a quarter of an hour")
    page.goto("/")
    expect(page).to_have_url(f"{desk.system.console.address}/sign-in")


def test_a_revoked_session_decides_nothing(desk: Desk) -> None:
    held = desk.system.held()
    ann, ada = desk.person(), desk.person(Role.ADMIN)
    ann.take(held)
    ada.page.goto("/people")
    row = ada.page.get_by_role("row").filter(has_text=ann.pseudonym).filter(has_text="link")
    row.get_by_role("button", name="End session").click()
    expect(row.get_by_role("button", name="End session")).to_have_count(0)
    ann.say("confirmed")
    ann.is_told("Your sign-in has ended", "Nothing was done")
    with desk.system.sessions() as session:
        assert ann.pseudonym not in set(session.scalars(select(DecisionRow.actor)))
    assert desk.system.state(held) == "held"
    # What was typed on a page left open asks for nothing more either.
    ann.at(held)
    expect(ann.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_pictures_end_with_the_session(desk: Desk) -> None:
    held = desk.system.held()
    ann = desk.person()
    ann.take(held)
    with desk.system.sessions.begin() as session:
        people.revoke_all(session, people.get(session, ann.pseudonym), actor="test")
    ann.button("Mosaic").click()
    expect(ann.page.get_by_role("status")).to_contain_text("can't be shown")
    expect(ann.page.locator("[data-screen] img")).to_have_count(0)
