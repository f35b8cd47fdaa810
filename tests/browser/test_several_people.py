"""Second reviews, adjudication and appeals, which take several people, and a suspected minor, which closes for all."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from sqlalchemy import select

from tests.browser.desk import Desk, Person
from tests.browser.system import SECOND_OVER, Held
from worker.store.models import Review
from worker.store.people import Role
from worker.store.views import View


def sees_nothing_of(person: Person, *hidden: str) -> None:
    """The whole page, attributes too."""
    source = person.page.content()
    assert not [text for text in hidden if text in source]


def says_with(person: Person, held: Held, verdict: str, words: str) -> None:
    person.take(held)
    person.page.get_by_label("In your words").fill(words)
    person.page.locator(f"input[name=verdict][value={verdict}]").check()
    person.press("Decide Enter")


def test_two_who_agree_decide_and_neither_saw_the_other(desk: Desk) -> None:
    held = desk.system.held(distance=SECOND_OVER + 4)
    before = desk.system.state(held)
    ann, bo = desk.person(), desk.person()
    says_with(ann, held, "confirmed", "what ann wrote")
    ann.state_is("open")
    expect(ann.page.get_by_text("Your verdict waits for another person")).to_be_visible()
    assert desk.system.state(held) == before
    bo.take(held)
    expect(bo.page.get_by_role("heading", name="Decide as the second person")).to_be_visible()
    sees_nothing_of(bo, ann.pseudonym, "what ann wrote", 'class="state confirmed"')
    bo.say("confirmed")
    bo.state_is("confirmed")
    assert desk.system.state(held) == "removed"
    assert not desk.system.served(held)


def test_two_who_disagree_leave_it_to_a_third_who_sees_no_names(desk: Desk) -> None:
    held = desk.system.held(distance=SECOND_OVER + 4)
    ann, bo, cy = desk.person(), desk.person(), desk.person(Role.ADJUDICATOR)
    says_with(ann, held, "confirmed", "what ann wrote")
    says_with(bo, held, "lawful", "what bo wrote")
    for one in (ann, bo):
        one.at(held)
        one.press("Take it")
        one.is_told("an adjudicator decides who took no part in it")
    cy.take(held)
    expect(cy.page.get_by_role("heading", name="Decide between two")).to_be_visible()
    expect(cy.page.get_by_text("confirmed and lawful")).to_be_visible()
    expect(cy.page.get_by_text("You are not shown what others said")).to_have_count(0)
    sees_nothing_of(cy, ann.pseudonym, bo.pseudonym, "what ann wrote", "what bo wrote")
    cy.say("lawful")
    cy.state_is("lawful")
    assert desk.system.served(held)


def test_a_verdict_that_waits_is_taken_back(desk: Desk) -> None:
    held, ann = desk.system.held(distance=SECOND_OVER + 4), desk.person()
    ann.decide(held, "confirmed")
    ann.page.keyboard.press("z")
    ann.enter()
    expect(ann.page.get_by_role("heading", name="Decide", exact=True)).to_be_visible()
    expect(ann.page.get_by_text("In your hands for another")).to_be_visible()


def test_an_appeal_is_decided_by_somebody_else_and_an_overturn_restores(desk: Desk) -> None:
    held = desk.system.held()
    ann, bo = desk.person(), desk.person()
    ann.decide(held, "confirmed")
    ann.page.get_by_text("Open an appeal by hand").click()
    ann.page.get_by_label("What the person who appeals says").fill("It shows a bridge.")
    ann.press("Open the appeal")
    ann.press("Take it")
    ann.is_told("is for somebody else")
    bo.page.goto("/?show=appeals")
    with bo.page.expect_navigation():
        bo.page.get_by_role("link", name=f"Review {held.review}", exact=True).click()
    expect(bo.page.get_by_text("It shows a bridge.")).to_be_visible()
    bo.press("Take it")
    expect(bo.page.get_by_role("heading", name="Decide the appeal")).to_be_visible()
    sees_nothing_of(bo, ann.pseudonym)
    bo.say("not_a_match")
    bo.state_is("not a match")
    assert desk.system.served(held)


def test_an_overturn_opens_the_other_removals_of_its_entry(desk: Desk) -> None:
    first, ann, bo = desk.system.held(), desk.person(), desk.person()
    other = desk.system.near(first)
    ann.take(first)
    ann.page.locator("input[name=also]").uncheck()
    ann.say("confirmed")
    # Both were taken together.
    ann.at(other)
    ann.say("confirmed")
    ann.at(first)
    ann.page.get_by_text("Open an appeal by hand").click()
    ann.page.get_by_label("What the person who appeals says").fill("It shows a bridge.")
    ann.press("Open the appeal")
    bo.decide(first, "lawful")
    bo.at(other)
    bo.state_is("open")
    expect(bo.page.locator("dl.facts").get_by_text("reopened")).to_be_visible()
    assert desk.system.state(other) == "removed"


def test_a_suspected_minor_closes_everywhere_at_once(desk: Desk) -> None:
    held = desk.system.held()
    ann, bo, mina = desk.person(), desk.person(), desk.person(Role.MINOR_SAFETY)
    bo.take(held)
    bo.button("Mosaic").click()
    expect(bo.page.get_by_role("status")).to_have_text("Mosaic shown.")
    ann.at(held)
    ann.press("Suspected minor")
    expect(ann.page.get_by_role("heading", name="Open reviews")).to_be_visible()
    # Who has it open sees no other rung of it, and decides nothing.
    bo.button("Grey thumbnail").click()
    expect(bo.page.get_by_role("status")).to_contain_text(f"There is no review {held.review}.")
    expect(bo.page.locator("[data-screen] img")).to_have_count(0)
    bo.say("lawful")
    bo.is_told(f"There is no review {held.review}.")
    name = re.compile(rf"\bReview {held.review}\b")
    for person in (ann, bo, desk.person(Role.LEAD), desk.person(Role.ADJUDICATOR)):
        for address in ("/", "/?every=true", "/?show=mine", "/uploads"):
            person.page.goto(address)
            expect(person.page.locator("table").get_by_text(name)).to_have_count(0)
        for address in (f"/reviews/{held.review}", f"/uploads/{held.upload}"):
            answer = person.page.goto(address)
            assert answer is not None
            assert answer.status == 404
    assert not desk.system.served(held)
    assert desk.system.state(held) == "held"
    mina.page.goto("/minors")
    with mina.page.expect_navigation():
        mina.page.locator(f"main a[href='{desk.system.case(held)}']").click()
    expect(mina.page.get_by_text("No picture is shown here")).to_be_visible()
    sees_nothing_of(mina, held.key)
    with mina.page.expect_navigation():
        mina.page.get_by_role("link", name=f"Review {held.review}", exact=True).click()
    expect(mina.page.get_by_text("No picture is shown at any rung")).to_be_visible()
    expect(mina.page.locator("[data-screen]")).to_have_count(0)
    with desk.system.sessions() as session:
        assert session.get_one(Review, held.review).preserve_until is not None
        looks = session.scalars(select(View.rung).where(View.review_id == held.review)).all()
    assert looks == [1]


def test_no_rung_of_a_suspected_minor_is_shown_to_whoever_asks_by_hand(desk: Desk) -> None:
    held, mina = desk.system.held(), desk.person(Role.MINOR_SAFETY)
    mina.at(held)
    token = mina.page.locator("[data-reveal]").get_attribute("data-token")
    mina.press("Suspected minor")
    for rung in range(1, 5):
        answer = mina.page.request.post(
            f"/reviews/{held.review}/reveal",
            headers={"Accept": "application/json"},
            form={"token": token or "", "rung": str(rung), "region": "cell-5" if rung == 3 else ""},
        )
        assert (answer.status, "no picture" in answer.text()) == (403, True)
