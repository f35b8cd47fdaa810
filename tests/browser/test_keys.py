"""The switch that turns shortcuts of one key off (WCAG 2.1.4), in a real browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def test_one_key_chooses_a_verdict_until_it_is_turned_off(page: Page, review: int) -> None:
    page.goto(f"/reviews/{review}")
    # The page that follows, with its script.
    with page.expect_navigation():
        page.get_by_role("button", name="Take it").click()
    verdicts = page.locator("#verdicts")
    expect(verdicts).to_be_visible()
    page.keyboard.press("2")
    expect(verdicts.locator("input[name=verdict][data-key='2']")).to_be_checked()
    page.goto("/me")
    page.get_by_role("checkbox").uncheck()
    page.get_by_role("button", name="Save").click()
    page.goto(f"/reviews/{review}")
    page.keyboard.press("2")
    page.keyboard.press("z")
    page.keyboard.press("Enter")
    expect(verdicts.locator("input[name=verdict]:checked")).to_have_count(0)
    expect(verdicts.locator("kbd").first).to_be_hidden()
    # The form's own keys are the browser's, and stay.
    verdicts.locator("input[name=verdict]").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    expect(verdicts.locator("input[name=verdict]").nth(1)).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.locator("h1 .state")).to_have_text("not a match")
