"""Steps that people take at the console, each in a browser of their own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.system import Held, System
from worker.review.people import sign_ins
from worker.store.people import Role

KEYS = {"confirmed": "1", "not_a_match": "2", "lawful": "3", "hash_wrong": "4", "suspected_minor": "5"}
"""Which key chooses which verdict."""

_WAIT = 15_000


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in: the pseudonym, and the page of their browser."""

    pseudonym: str
    page: Page

    @property
    def heading(self) -> Locator:
        return self.page.get_by_role("heading", level=1)

    @property
    def token(self) -> str:
        """What the forms of this sign-in carry, also of somebody whom no page with a form is shown."""
        held = {cookie["name"]: cookie["value"] for cookie in self.page.context.cookies()}
        return sign_ins.form_token(held["hashwarden"])

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def at(self, held: Held) -> None:
        """Opens the review's page."""
        self.page.goto(f"/reviews/{held.review}")

    def take(self, held: Held) -> None:
        """Opens the review and takes it."""
        self.at(held)
        self.press("Take it")
        expect(self.page.locator("#verdicts")).to_be_visible()

    def decide(self, held: Held, verdict: str) -> None:
        """Takes the review and decides it by its key and Enter."""
        self.take(held)
        self.say(verdict)

    def say(self, verdict: str) -> None:
        """A key and Enter on the page of a review in hand."""
        self.page.keyboard.press(KEYS[verdict])
        self.enter()

    def enter(self) -> None:
        """Enter, and the page that follows."""
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def go_on(self) -> None:
        """Enter where the focus is: after a decision, on the button that takes the next review."""
        expect(self.page.locator("#next")).to_be_focused()
        self.enter()

    def press(self, name: str) -> None:
        """A button that sends a form, and the page that follows."""
        with self.page.expect_navigation():
            self.button(name).click()

    def is_told(self, *words: str) -> None:
        """The page that says why something was not done."""
        for part in words:
            expect(self.heading).to_contain_text(part)

    def state_is(self, word: str) -> None:
        """What stands beside the review's number."""
        expect(self.heading.locator(".state")).to_have_text(word)


class Desk:
    """People at one system's console; their browsers close when it ends."""

    def __init__(self, browser: Browser, system: System, ending: ExitStack) -> None:
        self.system = system
        self._browser = browser
        self._ending = ending
        # One system serves several desks.
        mark = uuid4().hex[:8]
        self._names = (f"person {number} of desk {mark}" for number in count())

    def browser(self, *, script: bool = True, dark: bool = False, width: int = 1280) -> BrowserContext:
        """A browser in which nobody is signed in."""
        context = self._browser.new_context(
            base_url=self.system.console.address,
            java_script_enabled=script,
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 900},
            has_touch=True,
        )
        context.set_default_timeout(_WAIT)
        self._ending.callback(context.close)
        return context

    def person(self, *roles: Role, name: str = "", script: bool = True) -> Person:
        """Somebody new who is signed in; a reviewer, if nothing else is said."""
        pseudonym, client = self.system.console.signed_in(
            name or next(self._names), *(roles or (Role.REVIEWER,))
        )
        context = self.browser(script=script)
        for cookie in client.cookies.jar:
            context.add_cookies(
                [{"name": cookie.name, "value": cookie.value or "", "url": self.system.console.address}]
            )
        return Person(pseudonym, context.new_page())
