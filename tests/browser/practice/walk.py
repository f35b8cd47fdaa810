"""A walk by every page of the practice bank in every state, for whoever looks at each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import FilePayload, Page, expect

from bank_sync.sandbox.app import PracticeKeys
from worker.demo.media import PHOTOS

STATES = (
    "start",
    "support",
    "wire",
    "send",
    "send-ready",
    "send-failed",
    "sent",
    "case-new",
    "case-told",
    "case-taken-back",
    "case-active-again",
    "case-form",
    "case-refused",
)

_OTHERS: list[FilePayload] = [
    {"name": "holiday.mp4", "mimeType": "video/mp4", "buffer": bytes(3000)},
    {"name": "IMG_0042.HEIC", "mimeType": "image/heic", "buffer": bytes(300)},
]
_FEEDBACK = ("Blocked", "PendingReview", "NotBlocked", "QualityUnknown")


def walk(page: Page, look: Callable[[str, Page], None]) -> None:
    """Calls `look` with the name of each state of STATES, in their order, while `page` is in it."""
    for name, address in (("start", "/"), ("support", "/support"), ("wire", "/wire"), ("send", "/send")):
        page.goto(address)
        look(name, page)
    page.set_input_files("#files", [PHOTOS / f"{name}.jpg" for name in ("cat", "bee", "fjord", "rocket")])
    page.set_input_files("#files", _OTHERS)
    send = page.get_by_role("button", name="Send 5 hashes")
    send.wait_for()
    page.get_by_text("See all that is sent").click()
    look("send-ready", page)
    page.route("**/cases", lambda route: route.abort())
    send.click()
    expect(page.get_by_role("alert")).to_contain_text("No answer came.")
    look("send-failed", page)
    page.unroute("**/cases")
    send.click()
    expect(page.locator("#sent-title")).to_be_focused()
    look("sent", page)
    page.get_by_role("button", name="See your case or take it back").click()
    expect(page.get_by_role("heading", name="Your case")).to_be_visible()
    look("case-new", page)
    tell(page.evaluate("location.origin"), _FEEDBACK)
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_text("is not shown there any more")).to_be_visible()
    look("case-told", page)
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_role("status")).to_contain_text("You took it back.")
    look("case-taken-back", page)
    page.get_by_role("button", name="Make it active again").click()
    expect(page.get_by_role("status")).to_contain_text("It is active again.")
    look("case-active-again", page)
    page.goto("/case")
    look("case-form", page)
    page.get_by_label("Case number").fill("no such case")
    page.get_by_label("PIN").fill("000000")
    page.get_by_role("button", name="See your case").click()
    expect(page.get_by_role("alert")).to_contain_text("No case has this number and PIN.")
    look("case-refused", page)


def pulled(bank: str) -> list[dict[str, Any]]:
    """All records of the bank, as a platform pulls them."""
    with _platform(bank) as platform:
        answer = platform.get(
            "/FetchHashes",
            params={"startTimestamp": 0},
            headers={"x-functions-key": PracticeKeys().fetch},
        )
    records: list[dict[str, Any]] = answer.json()["hashRecords"]
    return records


def tell(bank: str, feedback: tuple[str, ...]) -> None:
    """Pulls the bank as a platform does, and says these of its first hashes."""
    items = [
        {"hashValue": record["hashValue"], "feedbackValue": value}
        for record, value in zip(pulled(bank), feedback, strict=False)
    ]
    with _platform(bank) as platform:
        platform.post(
            "/SubmitFeedback",
            json={"count": len(items), "hashFeedbacks": items},
            headers={"x-functions-key": PracticeKeys().feedback},
        ).raise_for_status()


def _platform(bank: str) -> httpx.Client:
    return httpx.Client(base_url=bank, headers={"Ocp-Apim-Subscription-Key": PracticeKeys().subscription})
