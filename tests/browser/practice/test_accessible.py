"""Every page of the practice bank in every state: axe-core finds nothing, and a keyboard is enough."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from bank_sync.sandbox.app import running
from tests.browser.accessible import Found, came_by, measured
from tests.browser.practice.walk import STATES, walk
from worker.demo.media import PHOTOS


@pytest.fixture(scope="module")
def found(chromium: Browser) -> dict[str, Found]:
    """By state."""
    pages: dict[str, Found] = {}
    with running() as address:
        context = chromium.new_context(base_url=address)
        context.set_default_timeout(30_000)
        walk(context.new_page(), lambda name, page: pages.update({name: measured(page)}))
        context.close()
    return pages


def test_the_walk_came_by_every_state(found: dict[str, Found]) -> None:
    assert tuple(found) == STATES


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_wrong_with_it(found: dict[str, Found], state: str) -> None:
    assert found[state].wrong == []


def test_titles_tell_pages_apart(found: dict[str, Found]) -> None:
    told = ("start", "support", "wire", "send", "sent", "case-new", "case-taken-back", "case-refused")
    assert len({found[state].title for state in told}) == len(told)


def test_a_keyboard_sends_and_takes_back(visitor: Page) -> None:
    """From the picker to the withdrawal by Tab, Enter and Space alone."""
    visitor.goto("/send")
    _tab_to(visitor, "files")
    with visitor.expect_file_chooser() as choosing:
        visitor.keyboard.press("Space")
    choosing.value.set_files(PHOTOS / "cat.jpg")
    visitor.get_by_role("button", name="Send 1 hash").wait_for()
    _tab_to(visitor, "Send 1 hash")
    visitor.keyboard.press("Enter")
    expect(visitor.locator("#sent-title")).to_be_focused()
    _tab_to(visitor, "See your case or take it back")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("heading", name="Your case")).to_be_visible()
    _tab_to(visitor, "Take it back")
    visitor.keyboard.press("Space")
    expect(visitor.get_by_role("status")).to_contain_text("You took it back.")


def test_what_happens_is_said(visitor: Page) -> None:
    visitor.goto("/send")
    status = visitor.get_by_role("status")
    visitor.set_input_files("#files", [PHOTOS / "cat.jpg", PHOTOS / "bee.jpg", PHOTOS / "LICENSES.md"])
    expect(status).to_have_text("2 of 3 ready.")
    visitor.get_by_role("button", name="Remove cat.jpg").click()
    expect(status).to_have_text("1 of 2 ready.")
    expect(visitor.locator("#files")).to_be_focused()


def test_every_stop_of_tab_is_seen(visitor: Page) -> None:
    for address in ("/", "/case", "/support", "/wire"):
        visitor.goto(address)
        words = came_by(visitor)
        assert words[0] == "To the content"
        assert words[2].startswith("Leave quickly")


def test_case_and_support_need_no_script(chromium: Browser, bank_url: str) -> None:
    context = chromium.new_context(base_url=bank_url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/send")
    assert "This page needs scripts" in page.content()
    page.goto("/case")
    page.get_by_label("Case number").fill("no such case")
    page.get_by_label("PIN").fill("000000")
    page.get_by_role("button", name="See your case").click()
    expect(page.get_by_role("alert")).to_have_text("No case has this number and PIN.")
    context.close()


def _tab_to(page: Page, words: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        found: bool = page.evaluate(
            "words => [document.activeElement.id, document.activeElement.textContent.trim()].includes(words)",
            words,
        )
        if found:
            return
    pytest.fail(f"Tab does not come by {words}")
