"""The reveal ladder in a real browser: the pixels that arrive at each rung, and everything that covers them again."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Route, expect
from sqlalchemy import select

from worker.store.models import Review
from worker.store.views import View

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

Way = Callable[[Page, Locator], None]

WHOLE, REGION, CELL = "Hold: the whole", "Hold: matched region", "Top left"


class Arrivals:
    """Every picture that the server sends to a page: its bytes as they came, in order.

    They are taken on the way: of an answer that may not be stored the browser itself keeps nothing to ask for.
    """

    def __init__(self, page: Page) -> None:
        self.bodies: list[bytes] = []
        page.route("**/*", self._pass)

    def _pass(self, route: Route) -> None:
        if "/reveal/" not in route.request.url or route.request.method != "GET":
            route.continue_()
            return
        answer = route.fetch()
        if answer.headers["content-type"].startswith("image/"):
            self.bodies.append(answer.body())
        route.fulfill(response=answer)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [Image.open(io.BytesIO(body)).size for body in self.bodies]


@pytest.fixture
def arrivals(page: Page, review: int) -> Arrivals:
    """What arrives at the review's page, which is open."""
    found = Arrivals(page)
    take(page, review)
    return found


def take(page: Page, review: int) -> None:
    """Opens a review and takes it: a picture is shown to who has it in hand."""
    page.goto(f"/reviews/{review}")
    with page.expect_navigation():
        button(page, "Take it").click()
    expect(page.locator("#verdicts")).to_be_visible()


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def shown(page: Page) -> Locator:
    return page.locator("[data-screen] img")


def says(page: Page, words: str) -> None:
    expect(page.get_by_role("status")).to_have_text(words)


def press(page: Page, name: str) -> None:
    """Presses the mouse on a button and holds it until the picture is there."""
    at = button(page, name)
    at.scroll_into_view_if_needed()
    at.hover()
    page.mouse.down()
    expect(shown(page)).to_have_count(1)


def covered(page: Page) -> None:
    expect(shown(page)).to_have_count(0)
    expect(page.locator("[data-cover]")).to_be_visible()


def views(rig: Rig) -> list[View]:
    with rig.sessions() as session:
        return list(session.scalars(select(View).order_by(View.id)))


def test_each_rung_brings_its_pixels_and_no_more(page: Page, arrivals: Arrivals, rig: Rig) -> None:
    assert arrivals.bodies == []
    for name, words in (("Mosaic", "Mosaic shown."), ("Grey thumbnail", "Grey thumbnail shown.")):
        button(page, name).click()
        says(page, words)
        button(page, name).click()
        covered(page)
    for name in (REGION, CELL, WHOLE):
        press(page, name)
        natural = shown(page).evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert tuple(natural) == arrivals.sizes[-1]
        page.mouse.up()
        covered(page)
    assert arrivals.sizes == [(16, 16), (160, 120), (480, 360), (480, 360), (1024, 768)]
    assert len(arrivals.bodies[0]) < 1_500
    assert len(arrivals.bodies[1]) < 160 * 120 + 2_000
    seen = [(view.rung, view.region.partition("-")[0]) for view in views(rig)]
    assert seen == [(1, ""), (2, ""), (3, "match"), (3, "cell"), (4, "")]


def test_hovering_and_resting_reveal_nothing(page: Page, arrivals: Arrivals, rig: Rig) -> None:
    for name in ("Mosaic", "Grey thumbnail", REGION, CELL, WHOLE):
        button(page, name).hover()
        button(page, name).focus()
    page.locator("[data-screen]").hover()
    page.wait_for_load_state("networkidle")
    assert (arrivals.bodies, views(rig)) == ([], [])
    covered(page)


def _release(page: Page, _held: Locator) -> None:
    page.mouse.up()


def _escape(page: Page, _held: Locator) -> None:
    page.keyboard.press("Escape")


def _window_blur(page: Page, _held: Locator) -> None:
    page.evaluate("window.dispatchEvent(new Event('blur'))")


def _hide(page: Page, _held: Locator) -> None:
    page.evaluate(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


def _print(page: Page, _held: Locator) -> None:
    page.pdf()


def _move_focus(page: Page, _held: Locator) -> None:
    page.get_by_role("link", name="Reviews", exact=True).focus()


@pytest.mark.parametrize("way", [_release, _escape, _window_blur, _hide, _print, _move_focus])
def test_each_way_covers_and_lets_go_of_the_bytes(
    page: Page, arrivals: Arrivals, rig: Rig, wait_until: Callable[..., object], way: Way
) -> None:
    press(page, WHOLE)
    source = shown(page).get_attribute("src")
    assert source
    assert source.startswith("blob:")
    way(page, button(page, WHOLE))
    covered(page)
    gone = page.evaluate("source => fetch(source).then(() => 'there', () => 'gone')", source)
    assert gone == "gone"
    page.mouse.up()
    says(page, page.get_by_role("status").inner_text())
    wait_until(lambda: views(rig)[0].seconds is not None)
    seconds = views(rig)[0].seconds
    assert seconds is not None
    assert 0 <= seconds < 8
    assert len(arrivals.bodies) == 1


def test_no_picture_is_printed(page: Page, arrivals: Arrivals) -> None:
    button(page, "Mosaic").click()
    says(page, "Mosaic shown.")
    page.emulate_media(media="print")
    expect(shown(page)).to_be_hidden()
    assert len(arrivals.bodies) == 1


def test_an_address_opens_in_no_tab_of_its_own_and_is_not_used_up_by_the_try(
    page: Page, review: int, rig: Rig
) -> None:
    take(page, review)
    address = page.evaluate(
        "async () => { const panel = document.querySelector('[data-reveal]').dataset;"
        " const body = new URLSearchParams({ token: panel.token, rung: '4', region: '' });"
        " const asked = await fetch(panel.reveal, { method: 'POST', body, headers: { Accept: 'application/json' } });"
        " return (await asked.json()).address; }"
    )
    tab = page.context.new_page()
    answer = tab.goto(address)
    assert answer is not None
    assert (answer.status, "image" in answer.headers["content-type"]) == (403, False)
    assert views(rig) == []
    assert page.evaluate("async (at) => (await fetch(at)).status", address) == 200


def test_it_is_covered_when_the_time_is_up(page: Page, review: int, rig: Rig) -> None:
    page.clock.install()
    take(page, review)
    press(page, WHOLE)
    page.clock.run_for(7_000)
    expect(shown(page)).to_have_count(1)
    page.clock.run_for(2_000)
    covered(page)
    says(page, "Covered: the time is up.")
    assert len(views(rig)) == 1


@pytest.mark.parametrize("key", ["Space", "Enter"])
def test_the_keyboard_alone_holds_and_releases(page: Page, arrivals: Arrivals, key: str) -> None:
    button(page, "Grey thumbnail").focus()
    page.keyboard.press("Tab")
    # The matched region comes first.
    expect(button(page, REGION)).to_be_focused()
    assert button(page, REGION).evaluate("at => getComputedStyle(at).outlineStyle") == "solid"
    page.keyboard.down(key)
    says(page, "Region shown.")
    page.keyboard.down(key)
    expect(shown(page)).to_have_count(1)
    page.keyboard.up(key)
    covered(page)
    says(page, "Covered.")
    assert len(arrivals.bodies) == 1


def test_a_finger_holds_and_releases(page: Page, arrivals: Arrivals) -> None:
    at = button(page, WHOLE)
    at.scroll_into_view_if_needed()
    box = at.bounding_box()
    assert box
    touches = page.context.new_cdp_session(page)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touches.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    expect(shown(page)).to_have_count(1)
    touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    covered(page)
    assert arrivals.sizes == [(1024, 768)]


def test_a_release_before_it_arrives_shows_nothing(page: Page, arrivals: Arrivals) -> None:
    held: list[str] = []
    page.route("**/reveal/*", lambda route: held.append(route.request.url))
    at = button(page, WHOLE)
    at.hover()
    page.mouse.down()
    says(page, "Loading.")
    page.mouse.up()
    says(page, "Covered.")
    covered(page)
    assert arrivals.bodies == []


def test_what_is_refused_is_told_in_words(page: Page, review: int, rig: Rig) -> None:
    page.goto(f"/reviews/{review}")
    with rig.sessions.begin() as session:
        session.get_one(Review, review).verdict = "suspected_minor"
    button(page, "Mosaic").click()
    says(page, "A minor may be shown here: no picture is shown at any rung.")
    covered(page)


def test_a_page_without_script_shows_the_mosaic(
    page: Page, address: str, sign_in: Callable[[BrowserContext], None], review: int
) -> None:
    assert page.context.browser
    context = page.context.browser.new_context(base_url=address, java_script_enabled=False)
    sign_in(context)
    plain = context.new_page()
    found = Arrivals(plain)
    take(plain, review)
    expect(button(plain, WHOLE)).to_have_count(0)
    button(plain, "Mosaic").click()
    expect(plain.get_by_role("heading", name="mosaic")).to_be_visible()
    plain.wait_for_load_state("networkidle")
    assert found.sizes == [(16, 16)]
    context.close()


def test_nothing_on_the_way_breaks_a_rule_of_the_page(page: Page, review: int) -> None:
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # The pages have no icon, which a browser asks for all the same.
        if message.type == "error" and "favicon" not in message.location["url"]:
            faults.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: faults.append(str(error)))
    take(page, review)
    for name in (REGION, WHOLE):
        press(page, name)
        page.mouse.up()
        covered(page)
    button(page, "Mosaic").click()
    says(page, "Mosaic shown.")
    assert faults == []
