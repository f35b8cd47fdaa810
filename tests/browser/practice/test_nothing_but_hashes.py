"""What leaves the device: the hashes. Watched in the browser, and byte by byte on its socket."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Worker, expect

from tests.browser.practice.hashed import made
from tests.browser.practice.tap import Tap, tapped
from worker.demo.media import PHOTOS

NAMES = ("beach with Ann 2019.jpg", "Schlafzimmer-äöü.png", "our film.mp4")
_WINDOW = 16
"""Bytes in a row that no hash, number or header shares with a picture by chance."""

_LOADED = (
    "() => Promise.all(['md5', 'pdq', 'picture'].map(name => import(`/static/${name}.js`))).then(() => true)"
)
_FETCH = "address => fetch(address).then(() => 'came', error => error.message)"


def _opened(page: Page) -> Worker:
    """The page that hashes, when its worker has loaded all that it needs."""
    with page.expect_worker() as started:
        page.goto("/send")
    started.value.evaluate(_LOADED)
    return started.value


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in NAMES]
    paths[0].write_bytes((PHOTOS / "cat.jpg").read_bytes())
    with Image.open(PHOTOS / "rocket.jpg") as picture:
        picture.save(paths[1])
    paths[2].write_bytes(random.Random(3).randbytes(9_000_000))  # noqa: S311 (no secret)
    return paths


@pytest.fixture
def tap(bank_url: str) -> Iterator[Tap]:
    where = urlsplit(bank_url)
    assert where.hostname is not None
    assert where.port is not None
    with tapped(where.hostname, where.port) as relay:
        yield relay


@pytest.fixture
def watched(chromium: Browser, tap: Tap) -> Iterator[Page]:
    """A page of a new browser behind the tap."""
    context = chromium.new_context(base_url=tap.address)
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def test_only_hashes_leave_the_device(watched: Page, tap: Tap, files: list[Path]) -> None:
    requests: list[Request] = []
    watched.context.on("request", lambda request: requests.append(request))
    wanted = made(watched, files)
    _opened(watched)
    loaded = len(requests)
    before = len(tap.sent)
    watched.set_input_files("#files", files)
    watched.get_by_role("button", name="Send 3 hashes").wait_for()
    assert len(requests) == loaded
    assert len(tap.sent) == before

    watched.get_by_role("button", name="Send 3 hashes").click()
    expect(watched.locator("#sent-title")).to_be_focused()
    (letter,) = requests[loaded:]
    assert (letter.method, letter.url) == ("POST", f"{tap.address}/cases")
    body = letter.post_data or ""
    assert json.loads(body) == {
        "hashes": [{"signalType": found.signal_type, "hashValue": found.value} for found in wanted]
    }
    assert wanted[2].value == hashlib.md5(files[2].read_bytes(), usedforsecurity=False).hexdigest()
    assert len(body) < 400

    watched.get_by_role("button", name="See your case or take it back").click()
    watched.get_by_role("button", name="Take it back").click()
    expect(watched.get_by_role("status")).to_contain_text("You took it back")

    assert {urlsplit(request.url).netloc for request in requests} == {urlsplit(tap.address).netloc}
    posted = {request.post_data for request in requests if request.method == "POST"} - {body}
    assert all(data is not None and data.startswith("number=") and len(data) < 100 for data in posted)
    sent = tap.sent
    assert len(sent) < 40_000
    for path in files:
        for name in (path.name, path.stem):
            for shape in (name.encode(), quote(name).encode(), base64.b64encode(name.encode())[:-4]):
                assert shape not in sent
        content = path.read_bytes()
        assert all(sent[at : at + _WINDOW] not in content for at in range(0, len(sent) - _WINDOW, 8))
    assert b"cookie" not in sent.lower()


def test_the_pages_can_reach_nothing_else(visitor: Page) -> None:
    refused: list[str] = []
    visitor.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    visitor.goto("/send")
    assert visitor.evaluate(_FETCH, "http://127.0.0.2:9/") == "Failed to fetch"
    visitor.evaluate(
        "() => { const made = (tag, more) =>"
        " document.body.append(Object.assign(document.createElement(tag), more));"
        " made('img', { src: '/static/pages.css' }); made('script', { textContent: 'window.ran = true' });"
        " made('style', { textContent: 'body { display: none }' }); made('iframe', { src: '/' }); }"
    )
    expect(visitor.get_by_role("heading", level=1)).to_be_visible()
    assert visitor.evaluate("window.ran === undefined")
    assert len([text for text in refused if "Content Security Policy" in text]) >= 5


def test_pages_that_hash_nothing_connect_to_nothing(visitor: Page) -> None:
    for address in ("/", "/case", "/support", "/wire"):
        visitor.goto(address)
        assert visitor.evaluate(_FETCH, "/support") == "Failed to fetch"


def test_who_sees_the_picture_can_send_nothing(visitor: Page) -> None:
    """The worker can't even reach the bank that it comes from."""
    worker = _opened(visitor)
    assert worker.evaluate(_FETCH, "/support") == "Failed to fetch"
    assert worker.evaluate(_FETCH, visitor.url) == "Failed to fetch"


def test_policies_name_each_thing_that_is_allowed(visitor: Page) -> None:
    pages = ("/", "/case", "/support", "/wire", "/send")
    scripts = [f"/static/{name}.js" for name in ("hashing", "leave", "md5", "pdq", "picture", "send")]
    answers = {path: visitor.request.get(path) for path in (*pages, *scripts, "/static/pages.css")}
    for path, answer in answers.items():
        got = answer.headers
        assert answer.ok, path
        parts = dict(part.strip().partition(" ")[::2] for part in got["content-security-policy"].split(";"))
        assert parts.pop("default-src") == "'none'", path
        assert parts.get("connect-src") == ("'self'" if path == "/send" else None), path
        assert set(parts.values()) <= {"'none'", "'self'"}, path
        assert (got["cache-control"], got["referrer-policy"]) == ("no-store", "no-referrer"), path
        assert "set-cookie" not in got
