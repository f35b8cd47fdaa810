"""The whole way without JavaScript: claim, mosaic, verdict, undo, hand-back; every step is a form."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.desk import Desk
from worker.store.people import Role


def test_claim_verdict_and_undo_work_without_script(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person(script=False)
    ann.page.goto("/")
    with ann.page.expect_navigation():
        ann.page.get_by_role("link", name=f"Review {held.review}", exact=True).click()
    ann.press("Take it")
    ann.press("Mosaic")
    expect(ann.page.get_by_alt_text("The picture under review")).to_be_visible()
    with ann.page.expect_navigation():
        ann.page.get_by_role("link", name="Cover it and go back").click()
    ann.page.get_by_role("radio", name="Confirmed: remove it").check()
    ann.page.get_by_label("In your words").fill("clear")
    ann.press("Decide Enter")
    ann.state_is("confirmed")
    assert desk.system.state(held) == "removed"
    # From the queue, where the undo waits as well.
    ann.page.goto("/")
    undo = ann.page.locator(f"form[action='/reviews/{held.review}/undo'] button")
    with ann.page.expect_navigation():
        undo.click()
    ann.state_is("open")
    assert desk.system.state(held) == "held"
    ann.press("Hand back")
    expect(ann.heading).to_have_text("Open reviews")


def test_a_verdict_without_a_choice_is_held_back_by_the_form(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person(script=False)
    ann.take(held)
    ann.button("Decide Enter").click()
    expect(ann.page.locator("#verdicts")).to_be_visible()
    assert desk.system.state(held) == "held"


def test_an_appeal_and_its_overturn_work_without_script(desk: Desk) -> None:
    held, ann, bo = desk.system.held(), desk.person(script=False), desk.person(script=False)
    for person, verdict in ((ann, "confirmed"), (bo, "lawful")):
        person.take(held)
        person.page.locator(f"input[name=verdict][value={verdict}]").check()
        person.press("Decide Enter")
        if person is ann:
            ann.page.get_by_text("Open an appeal by hand").click()
            ann.page.get_by_label("What the person who appeals says").fill("It shows a bridge.")
            ann.press("Open the appeal")
    bo.state_is("lawful")
    assert desk.system.served(held)


def test_a_session_is_ended_without_script(desk: Desk) -> None:
    ann, ada = desk.person(), desk.person(Role.ADMIN, script=False)
    ada.page.goto("/people")
    row = ada.page.get_by_role("row").filter(has_text=ann.pseudonym).filter(has_text="End")
    with ada.page.expect_navigation():
        row.get_by_role("button").click()
    ann.page.goto("/")
    expect(ann.heading).to_have_text("Sign in")
