"""One review from claim to undo, by keys alone; and all the ways of giving it back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.desk import KEYS, Desk, Person


def offered(person: Person) -> str:
    """The address where the next review that somebody takes is."""
    person.page.goto("/")
    person.press("Take the next one")
    return person.page.url.rpartition("/reviews/")[2]


def test_keys_alone_claim_decide_and_undo(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    assert not desk.system.served(held)
    ann.at(held)
    keys = ann.page.keyboard
    keys.press("t")
    expect(ann.button("Take it")).to_be_focused()
    ann.enter()
    keys.press(KEYS["confirmed"])
    expect(ann.page.get_by_role("radio", name="Confirmed: remove it")).to_be_checked()
    ann.enter()
    ann.state_is("confirmed")
    assert desk.system.state(held) == "removed"
    keys.press("z")
    ann.enter()
    ann.state_is("open")
    expect(ann.page.get_by_text("In your hands for another")).to_be_visible()
    assert desk.system.state(held) == "held"
    ann.say("not_a_match")
    ann.state_is("not a match")
    assert desk.system.served(held)


@pytest.mark.parametrize("verdict", ["not_a_match", "lawful", "hash_wrong"])
def test_each_verdict_that_releases_serves_it_again_and_its_undo_withholds_it(
    desk: Desk, verdict: str
) -> None:
    held, ann = desk.system.held(), desk.person()
    ann.decide(held, verdict)
    ann.state_is(verdict.replace("_", " "))
    assert desk.system.served(held)
    ann.page.keyboard.press("z")
    ann.enter()
    assert not desk.system.served(held)


def test_a_key_alone_never_acts(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    ann.take(held)
    here = ann.page.url
    for key in [*KEYS.values(), "6", "0", "z", "t"]:
        ann.page.keyboard.press(key)
    ann.page.get_by_label("In your words").fill("1 2 3 z 0")
    ann.page.wait_for_load_state("networkidle")
    assert (ann.page.url, desk.system.state(held)) == (here, "held")
    # Enter in the text makes a line.
    ann.page.keyboard.press("Enter")
    expect(ann.page.get_by_label("In your words")).to_have_value("1 2 3 z 0\n")


def test_no_key_is_a_verdict_while_a_picture_is_held_open(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    ann.take(held)
    whole = ann.button("Hold: the whole")
    whole.focus()
    ann.page.keyboard.down("Space")
    expect(ann.page.locator("[data-screen] img")).to_have_count(1)
    ann.page.keyboard.press(KEYS["confirmed"])
    ann.page.keyboard.up("Space")
    expect(ann.page.locator("[data-screen] img")).to_have_count(0)
    expect(ann.page.get_by_role("radio", name="Confirmed: remove it")).not_to_be_checked()


def test_the_help_opens_by_its_key(desk: Desk) -> None:
    ann = desk.person()
    ann.take(desk.system.held())
    ann.page.keyboard.press("?")
    expect(ann.page.get_by_text("A key and Enter")).to_be_visible()
    ann.page.keyboard.press("?")
    expect(ann.page.get_by_text("A key and Enter")).to_be_hidden()


def test_over_25_uploads_are_decided_by_typing_their_number(desk: Desk) -> None:
    held, ann = desk.system.held(copies=26), desk.person()
    ann.take(held)
    ann.say("confirmed")
    ann.is_told("This decides 26 uploads")
    assert desk.system.state(held) == "held"
    ann.at(held)
    ann.page.get_by_label("Type the number of uploads").fill("26")
    ann.page.get_by_role("radio", name="Confirmed: remove it").check()
    ann.press("Decide Enter")
    ann.state_is("confirmed")
    assert desk.system.state(held) == "removed"


def test_what_is_handed_back_is_offered_again(desk: Desk) -> None:
    held, ann, bo = desk.system.held(), desk.person(), desk.person()
    ann.take(held)
    bo.at(held)
    expect(bo.page.get_by_text("Somebody has it in hand")).to_be_visible()
    expect(bo.button("Take it")).to_have_count(0)
    ann.press("Hand back")
    bo.take(held)


@pytest.mark.parametrize(("button", "key"), [("6 Ask for a second reviewer", "6"), ("0 Skip, next one", "0")])
def test_what_is_given_away_by_a_key_is_free_for_others(desk: Desk, button: str, key: str) -> None:
    held, ann, bo = desk.system.held(), desk.person(), desk.person()
    ann.take(held)
    ann.page.keyboard.press(key)
    expect(ann.button(button)).to_be_focused()
    ann.enter()
    bo.take(held)
    assert str(held.review) not in {offered(ann) for _ in range(2)}


def test_who_steps_back_is_asked_nothing_and_never_offered_it_again(desk: Desk) -> None:
    held, ann, bo = desk.system.held(), desk.person(), desk.person()
    ann.take(held)
    ann.press("Not me")
    ann.at(held)
    ann.press("Take it")
    ann.is_told("is for somebody else")
    bo.take(held)


def test_nobody_has_more_than_three_at_once(desk: Desk) -> None:
    ann = desk.person()
    for _ in range(3):
        ann.take(desk.system.held())
    ann.at(desk.system.held())
    ann.press("Take it")
    ann.is_told("You have 3 reviews open", "Decide one or hand one back")


@pytest.mark.parametrize("width", [1280, 375])
def test_review_after_review_takes_three_presses(desk: Desk, width: int) -> None:
    for number in range(3):
        desk.system.held(folder=f"row{number}")
    ann = desk.person()
    ann.page.set_viewport_size({"width": width, "height": 800})
    ann.page.goto("/")
    ann.press("Take the next one")
    for _ in range(2):
        ann.say("not_a_match")
        ann.state_is("not a match")
        ann.go_on()
        expect(ann.page.locator("#verdicts")).to_be_visible()
    ann.press("Hand back")
    expect(ann.page.locator("#next")).to_be_focused()


def test_after_an_undo_the_focus_is_at_the_verdicts(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    ann.decide(held, "lawful")
    ann.page.keyboard.press("n")
    expect(ann.page.locator("#next")).to_be_focused()
    ann.page.keyboard.press("z")
    ann.enter()
    expect(ann.page.get_by_role("heading", name="Decide")).to_be_focused()
    ann.page.keyboard.press("Tab")
    expect(ann.page.get_by_role("radio").first).to_be_focused()


def test_keys_go_to_the_rungs_and_show_nothing(desk: Desk) -> None:
    ann = desk.person()
    ann.take(desk.system.held())
    for key, name in {"m": "Mosaic", "g": "Grey thumbnail", "w": "Hold: the whole"}.items():
        ann.page.keyboard.press(key)
        expect(ann.button(name)).to_be_focused()
    expect(ann.page.locator("[data-screen] img")).to_have_count(0)
    ann.page.keyboard.press("m")
    ann.page.keyboard.press("Enter")
    expect(ann.page.get_by_role("status")).to_have_text("Mosaic shown.")


def test_an_undo_takes_back_the_near_copies_that_were_decided_with_it(desk: Desk) -> None:
    system, ann = desk.system, desk.person()
    held = system.held()
    copy = system.near(held)
    ann.decide(held, "confirmed")
    expect(ann.page.get_by_role("group", name="Undo with it").get_by_role("link")).to_have_text(
        f"Review {copy.review}"
    )
    ann.page.keyboard.press("z")
    ann.enter()
    assert (system.state(held), system.state(copy)) == ("held", "held")
    ann.say("confirmed")
    ann.page.get_by_label(f"Review {copy.review}").uncheck()
    ann.page.keyboard.press("z")
    ann.enter()
    assert (system.state(held), system.state(copy)) == ("held", "removed")


def test_the_queue_offers_one_undo_for_all_that_was_decided_together(desk: Desk) -> None:
    system, ann = desk.system, desk.person()
    held = system.held()
    copy = system.near(held)
    ann.decide(held, "confirmed")
    ann.page.goto("/")
    told = ann.page.locator("form").filter(has_text="and 1 near copy with it").first
    told.get_by_role("button", name="Undo").click()
    expect(ann.page.get_by_role("heading", name="Decide")).to_be_visible()
    assert (system.state(held), system.state(copy)) == ("held", "held")
