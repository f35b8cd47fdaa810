"""Every page in every state: axe-core finds nothing in light and dark, nothing scrolls sideways at 320 pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.accessible import NARROW, Found, came_by, measured
from tests.browser.desk import Desk
from tests.browser.system import System
from tests.browser.walk import STATES, walk
from worker.store.people import Role


@pytest.fixture(scope="module")
def found(chromium: Browser, system: System) -> Iterator[dict[str, Found]]:
    """By state."""
    pages: dict[str, Found] = {}
    with ExitStack() as ending:
        walk(Desk(chromium, system, ending), lambda name, page: pages.update({name: measured(page)}))
        yield pages


def test_the_walk_came_by_every_state(found: dict[str, Found]) -> None:
    assert tuple(found) == STATES


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_wrong_with_it(found: dict[str, Found], state: str) -> None:
    assert found[state].wrong == []


def test_a_page_that_is_wrong_is_found(desk: Desk) -> None:
    page = desk.browser().new_page()
    page.goto("/sign-in")
    page.evaluate(
        "() => { const wide = document.createElement('img'); wide.width = 500; document.body.append(wide); }"
    )
    wrong = measured(page)
    assert {line.partition(":")[0] for line in wrong.light} >= {"image-alt"}
    assert wrong.sideways > 0
    assert set(wrong.light) < set(wrong.wrong)


def test_titles_tell_pages_apart(found: dict[str, Found]) -> None:
    titles = {
        found[state].title
        for state in (
            "queue", "review-open", "minors", "minor-case", "uploads", "upload", "figures", "audit", "people", "me"
        )
    }  # fmt: skip
    assert len(titles) == 10


def in_order(page: Page, order: list[str]) -> bool:
    """Whether Tab comes by these, in this order."""
    found = came_by(page)
    at = [found.index(words) for words in order]
    return at == sorted(at)


def test_tab_goes_through_a_review_in_order_and_is_always_seen(desk: Desk) -> None:
    ann = desk.person()
    ann.take(desk.system.region(desk.system.held()))
    assert in_order(
        ann.page,
        [
            "Reviews", "Uploads", "Waiting for a second person", ann.pseudonym, "Sign out", "Mosaic",
            "Grey thumbnail", "Hold: matched region", "Top left", "Bottom right", "Hold: the whole", "verdict",
            "code", "reason", "Decide Enter", "6 Ask for a second reviewer", "0 Skip, next one", "Hand back",
            "Not me", "Keys ?",
        ],
    )  # fmt: skip


def test_tab_comes_by_the_purpose_before_the_picture(desk: Desk) -> None:
    lea = desk.person(Role.LEAD)
    lea.at(desk.system.held())
    assert in_order(lea.page, ["Sign out", "purpose", "Mosaic", "Grey thumbnail", "Top left", "Take it"])


def test_tab_goes_through_the_figures_in_order_and_is_always_seen(desk: Desk) -> None:
    lea = desk.person(Role.LEAD)
    lea.page.goto("/figures")
    lea.page.locator("details.numbers").first.evaluate("at => { at.open = true; }")
    assert in_order(
        lea.page,
        [
            "Figures", "Sign out", "24 hours", "7 days", "30 days", "90 days",
            "Numbers of all that waits All that waits", "All that waits", "CSV: All that waits", "Numbers Time left",
            "CSV: Time left", "Numbers Decisions by verdict", "CSV: Views of each person",
        ],
    )  # fmt: skip


def test_tab_goes_through_a_minors_case_in_order_and_is_always_seen(desk: Desk) -> None:
    held, mina = desk.system.held(), desk.person(Role.MINOR_SAFETY)
    mina.decide(held, "suspected_minor")
    mina.page.goto(desk.system.case(held))
    assert in_order(
        mina.page,
        [
            "Sign out", "All cases", f"Review {held.review}", "Prepared report (JSON)", "reference", "It is reported",
            "Preserve it for longer", "reason", "Propose to overturn it",
        ],
    )  # fmt: skip


def test_tab_goes_through_ones_own_page_in_order_and_is_always_seen(desk: Desk) -> None:
    ann = desk.person()
    ann.page.goto("/me")
    found = came_by(ann.page)
    assert found[-5:-3] == ["single_keys", "Save"]
    assert found[-3].startswith("End session")
    assert found[-2:] == ["new", "Change it"]


def test_a_table_that_scrolls_inside_is_reached_by_keyboard(
    desk: Desk, wait_until: Callable[..., object]
) -> None:
    """A wide table scrolls in its sheet: then the sheet takes the focus, so that arrows move it."""
    desk.system.held()
    lea = desk.person(Role.LEAD)
    lea.page.set_viewport_size(NARROW)
    lea.page.goto("/uploads")
    sheet = lea.page.locator("main .sheet")
    assert sheet.evaluate("at => at.scrollWidth > at.clientWidth")
    sheet.focus()
    expect(sheet).to_be_focused()
    lea.page.keyboard.press("ArrowRight")
    wait_until(lambda: sheet.evaluate("at => at.scrollLeft > 0"))
