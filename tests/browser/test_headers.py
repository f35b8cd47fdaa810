"""The headers of every answer that a browser gets on its way through the console, and what a page may not do."""

from __future__ import annotations

from playwright.sync_api import Response, expect

from tests.browser.desk import Desk
from worker.review.pages.doors import HEADERS, SCRIPT_POLICY
from worker.store.people import Role

ELSEWHERE = (
    "/nowhere",
    "/reviews/0",
    "/reviews/999999",
    "/reveal/short",
    "/health/live",
    "/health/ready",
    "/metrics",
)


def lacking(answer: Response) -> list[str]:
    """The headers that an answer should carry and does not, as it should."""
    got = answer.all_headers()
    policies = {HEADERS["Content-Security-Policy"], SCRIPT_POLICY}
    faults = [
        name
        for name, value in HEADERS.items()
        if got.get(name.lower()) not in (policies if name == "Content-Security-Policy" else {value})
    ]
    # Nothing here tells what it runs on.
    return faults + [name for name in ("x-powered-by", "access-control-allow-origin") if name in got]


def test_every_answer_on_the_way_carries_them(desk: Desk) -> None:
    held, lea = desk.system.held(), desk.person(Role.LEAD, Role.ADMIN, Role.MINOR_SAFETY)
    answers: list[Response] = []
    lea.page.on("response", lambda answer: answers.append(answer) if "blob:" not in answer.url else None)
    lea.take(held)
    for name in ("Mosaic", "Grey thumbnail"):
        lea.button(name).click()
        expect(lea.page.get_by_role("status")).to_have_text(f"{name} shown.")
    lea.say("confirmed")
    for address in ("/", "/?every=true", "/minors", "/uploads", f"/uploads/{held.upload}", "/proposals"):
        lea.page.goto(address)
    for address in ("/figures", "/audit", "/people", "/me", "/break", "/start", *ELSEWHERE):
        lea.page.goto(address)
    saved = lea.page.request.get("/figures/waiting.csv")
    assert (saved.status, saved.headers["cache-control"]) == (200, "no-store")
    assert saved.headers["content-disposition"].startswith("attachment;")
    refused = lea.page.request.post("/next", form={"token": "x"})
    assert (refused.status, refused.headers["cache-control"]) == (403, "no-store")
    lea.page.goto("/")
    lea.press("Sign out")
    kinds = {(answer.request.method, answer.status) for answer in answers}
    assert {("GET", 200), ("POST", 303), ("POST", 200), ("GET", 303), ("GET", 404), ("GET", 400)} <= kinds
    assert {answer.url.rpartition("/")[2] for answer in answers} >= {
        "pages.css",
        "figures.css",
        "review.js",
        "reveal.js",
    }
    assert [(answer.url, faults) for answer in answers if (faults := lacking(answer))] == []


def test_policies_allow_no_inline_and_nothing_from_elsewhere() -> None:
    for policy in (HEADERS["Content-Security-Policy"], SCRIPT_POLICY):
        parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert parts["default-src"] == parts["base-uri"] == parts["frame-ancestors"] == "'none'"
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "*" not in policy


def test_an_inline_script_and_a_style_do_nothing(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    refused: list[str] = []
    ann.page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    ann.at(held)
    ann.page.evaluate(
        "() => { const made = document.createElement('script'); made.textContent = 'window.ran = true';"
        " document.body.append(made); const look = document.createElement('style');"
        " look.textContent = 'body { display: none }'; document.body.append(look); }"
    )
    assert ann.page.evaluate("window.ran === undefined")
    expect(ann.heading).to_be_visible()
    assert len([text for text in refused if "Content Security Policy" in text]) == 2


def test_what_was_shown_is_not_kept_by_the_browser(desk: Desk) -> None:
    """After sign-out the way back leads to the sign-in page, not to a page out of the browser's memory."""
    held, ann = desk.system.held(), desk.person()
    ann.at(held)
    ann.press("Sign out")
    ann.page.go_back()
    expect(ann.heading).to_have_text("Sign in")
