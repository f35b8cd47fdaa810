"""The way out: quickly, and with no way back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from bank_sync.sandbox.pages import NEUTRAL

_PAGE = "<!doctype html><title>Elsewhere</title><h1>Elsewhere</h1>"


def _by_link(page: Page) -> None:
    page.get_by_role("link", name="Leave quickly").click()


def _by_keys(page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")


@pytest.mark.parametrize("leave", [_by_link, _by_keys])
@pytest.mark.parametrize("address", ["/", "/send", "/case", "/support", "/wire"])
def test_a_neutral_page_takes_the_place_of_this_one(
    visitor: Page, leave: Callable[[Page], None], address: str
) -> None:
    referrers: list[str | None] = []

    def neutral(route: Route) -> None:
        referrers.append(route.request.headers.get("referer"))
        route.fulfill(body=_PAGE, content_type="text/html")

    visitor.route(f"{NEUTRAL}**", neutral)
    visitor.goto("about:blank")
    visitor.goto(address)
    leave(visitor)
    expect(visitor.get_by_role("heading")).to_have_text("Elsewhere")
    assert visitor.url == NEUTRAL
    assert referrers == [None]
    visitor.go_back()
    assert visitor.url == "about:blank"


def test_escape_once_leads_nowhere(visitor: Page) -> None:
    visitor.goto("/case")
    visitor.get_by_label("PIN").fill("12")
    visitor.keyboard.press("Escape")
    expect(visitor.get_by_label("PIN")).to_have_value("12")
