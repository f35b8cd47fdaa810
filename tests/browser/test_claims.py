"""A review is in one person's hands: by a lease that ends, and however many browsers ask for it at one moment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from tests.browser.desk import Desk, Person
from worker.review.desk import claims
from worker.store.models import Content, DecisionRow, Review

ROUNDS = 10


def test_a_lease_that_ended_is_told_and_its_form_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    held, ann, bo = desk.system.held(), desk.person(), desk.person()
    # Ann's page has a clock of its own: it does not ask again before bo has taken the review.
    ann.page.clock.install()
    words = "the person at the window\n<b>is somebody else</b>"
    with monkeypatch.context() as short:
        short.setattr(claims, "LEASE", timedelta(seconds=30))
        ann.take(held)
    ann.page.get_by_label("In your words").fill(words)
    desk.system.expire(held)
    bo.take(held)
    ann.page.clock.run_for(31_000)
    expect(ann.page.get_by_role("alert")).to_contain_text("somebody else may have it")
    expect(ann.button("Decide Enter")).to_be_disabled()
    expect(ann.page.get_by_label("In your words")).to_have_value(words)
    # A page without its script sends the form all the same.
    ann.page.evaluate(
        "() => { const form = document.getElementById('verdicts');"
        " form.querySelector('input[value=confirmed]').checked = true; form.submit(); }"
    )
    ann.is_told("is not in your hands any more; nothing was changed", "Open it again")
    expect(ann.page.get_by_label("What you wrote")).to_have_value(words)
    expect(ann.page.get_by_role("link", name="Open it again")).to_be_focused()
    ann.enter()
    expect(ann.heading).to_contain_text(f"Review {held.review}")
    assert desk.system.state(held) == "held"
    bo.say("lawful")
    bo.state_is("lawful")


def test_an_open_page_keeps_its_claim(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    ann.page.clock.install()
    ann.take(held)
    desk.system.expire(held)
    with ann.page.expect_response(re.compile("/alive$")) as renewed:
        ann.page.clock.run_for(61_000)
    assert renewed.value.json()["left"] > 290
    expect(ann.page.locator("#claim-left")).to_contain_text("4 min 5")


def together(pages: Sequence[Page], form: str) -> list[str]:
    """Sends this form of each page at one moment; the headings of the pages that follow."""
    at = max(page.evaluate("Date.now()") for page in pages) + 150
    for page in pages:
        page.evaluate(
            "([form, at]) => { setTimeout(() => document.querySelector(form).requestSubmit(), at - Date.now());"
            " document.body.dataset.sent = 'yes'; }",
            [form, at],
        )
    for page in pages:
        expect(page.locator("body:not([data-sent])")).to_have_count(1)
    return [page.get_by_role("heading", level=1).inner_text() for page in pages]


def test_two_browsers_that_take_at_once_one_has_it_and_the_other_is_told(desk: Desk) -> None:
    people = [desk.person(), desk.person()]
    held = desk.system.held()
    won = [0, 0]
    for _ in range(ROUNDS):
        for person in people:
            person.at(held)
        told = together([person.page for person in people], "form[action$='/take']")
        has = [person.page.locator("#verdicts").count() for person in people]
        assert sorted(has) == [0, 1]
        winner, other = people[has.index(1)], has.index(0)
        assert f"Somebody else has review {held.review}." in told[other]
        won[has.index(1)] += 1
        winner.press("Hand back")
    assert sum(won) == ROUNDS


def decisions(desk: Desk, review: int) -> list[str]:
    with desk.system.sessions() as session:
        query = select(DecisionRow.actor).join(Content, Content.id == DecisionRow.content_id)
        joined = query.join(Review, Review.content_id == Content.id)
        return list(session.scalars(joined.where(Review.id == review)))


def ready(person: Person, verdict: str) -> None:
    person.page.locator(f"input[name=verdict][value={verdict}]").check()


def test_two_browsers_that_decide_at_once_one_decides_and_the_other_is_told(desk: Desk) -> None:
    """The lease of the one ended and the other took it: both have a form that looks right."""
    ann, bo = desk.person(), desk.person()
    for number in range(ROUNDS // 2):
        held = desk.system.held()
        early, late = (ann, bo) if number % 2 else (bo, ann)
        early.take(held)
        ready(early, "confirmed")
        desk.system.expire(held)
        late.take(held)
        ready(late, "lawful")
        told = together([early.page, late.page], "#verdicts")
        assert "is not in your hands any more" in told[0]
        late.state_is("lawful")
        assert decisions(desk, held.review) == [late.pseudonym]


def test_one_person_in_two_tabs_decides_once(desk: Desk) -> None:
    ann = desk.person()
    tab = ann.page.context.new_page()
    for _ in range(3):
        held = desk.system.held()
        ann.take(held)
        tab.goto(f"/reviews/{held.review}")
        for page, verdict in ((ann.page, "lawful"), (tab, "confirmed")):
            page.locator(f"input[name=verdict][value={verdict}]").check()
        together([ann.page, tab], "#verdicts")
        assert len(decisions(desk, held.review)) == 1


def test_people_who_ask_for_the_next_one_at_once_get_different_ones(desk: Desk) -> None:
    people = [desk.person() for _ in range(4)]
    for _ in range(6):
        desk.system.held()
    for person in people:
        person.page.goto("/")
    together([person.page for person in people], "form[action='/next']")
    got = [person.page.url for person in people]
    assert len(set(got)) == len(people)
    assert all("/reviews/" in address for address in got)


def test_nothing_was_decided_twice_in_all_of_this(desk: Desk) -> None:
    with desk.system.sessions() as session:
        times = session.execute(select(DecisionRow.content_id, func.count()).group_by(DecisionRow.content_id))
        assert {number for _, number in times} == {1}
