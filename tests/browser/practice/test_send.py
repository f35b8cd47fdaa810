"""The list that is sent: each hash once, the same case for the same list, and nothing that was removed."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import FilePayload, Page, Route, expect

from tests.browser.practice.walk import pulled
from worker.demo.media import encoded, photo

_CAT, _BEE = encoded(photo("cat"), "PNG"), encoded(photo("bee"), "PNG")


def _picture(name: str, body: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": body}


def _pick(page: Page, *files: FilePayload) -> None:
    page.goto("/send")
    page.set_input_files("#files", files)


def test_the_same_picture_is_sent_once(visitor: Page, bank_url: str) -> None:
    _pick(visitor, _picture("a.png", _CAT), _picture("b.png", _CAT), _picture("c.png", _BEE))
    lines = visitor.locator("#picked li span")
    expect(lines).to_have_text([re.compile("ready"), re.compile("the same as another"), re.compile("ready")])
    # Whichever of the two is removed, the other one goes.
    visitor.get_by_role("button", name="Remove a.png").click()
    expect(lines).to_have_text(["b.png: picture, ready", "c.png: picture, ready"])
    visitor.get_by_role("button", name="Send 2 hashes").click()
    expect(visitor.locator("#order li")).to_have_text(["b.png", "c.png"])
    assert len(pulled(bank_url)) == 2


def test_what_was_removed_is_not_sent(visitor: Page, bank_url: str) -> None:
    _pick(visitor, _picture("a.png", _CAT), _picture("b.png", _BEE))
    visitor.get_by_role("button", name="Send 2 hashes").wait_for()
    visitor.get_by_role("button", name="Remove a.png").click()
    told = visitor.locator("#letter").text_content() or ""
    visitor.get_by_role("button", name="Send 1 hash").click()
    expect(visitor.locator("#sent-title")).to_be_focused()
    (record,) = pulled(bank_url)
    assert record["hashValue"] in told
    assert told.count("hashValue") == 1


def test_an_answer_that_is_lost_opens_no_second_case(visitor: Page, bank_url: str) -> None:
    kept: list[str] = []

    def lose(route: Route) -> None:
        kept.append(route.fetch().json()["caseNumber"])
        route.abort()

    _pick(visitor, _picture("a.png", _CAT))
    visitor.route("**/cases", lose)
    visitor.get_by_role("button", name="Send 1 hash").click()
    expect(visitor.get_by_role("alert")).to_contain_text("No answer came.")
    # Another list would be another case, and the first one's number is known to nobody.
    expect(visitor.get_by_role("button", name="Remove a.png")).to_be_disabled()
    expect(visitor.locator("#files")).to_be_disabled()
    visitor.unroute("**/cases")
    visitor.get_by_role("button", name="Send 1 hash").click()
    expect(visitor.locator("#number")).to_have_text(kept[0])
    assert [list(record["caseNumbers"]) for record in pulled(bank_url)] == [kept]


def test_a_bank_that_refuses_is_told_of(visitor: Page) -> None:
    _pick(visitor, _picture("a.png", _CAT))
    visitor.route("**/cases", lambda route: route.fulfill(status=413, body="{}"))
    visitor.get_by_role("button", name="Send 1 hash").click()
    expect(visitor.get_by_role("alert")).to_contain_text("kept nothing")
    expect(visitor.get_by_role("button", name="Remove a.png")).to_be_enabled()


def test_a_video_that_was_removed_holds_nothing_up(visitor: Page, tmp_path: Path) -> None:
    """Gigabytes that nobody wants hashed any more are not read to their end."""
    video = tmp_path / "long.mp4"
    with video.open("wb") as file:
        file.truncate(40 * 1024**3)
    visitor.goto("/send")
    visitor.set_input_files("#files", video)
    expect(visitor.locator("#picked")).to_contain_text(re.compile(r"video, \d+ %"))
    visitor.get_by_role("button", name="Remove long.mp4").click()
    visitor.set_input_files("#files", [_picture("a.png", _CAT)])
    expect(visitor.get_by_role("button", name="Send 1 hash")).to_be_visible()
