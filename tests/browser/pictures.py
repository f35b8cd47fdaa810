"""Makes the pictures of docs/console.md: `python -m tests.browser.pictures docs/pictures/console`.

The same walk as the accessibility tests take, on a system of its own with the demonstration's photographs.
"""

from __future__ import annotations

import io
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.browser.chromium import chromium_running, folder_of_pictures
from tests.browser.desk import Desk
from tests.browser.system import system_on
from tests.browser.walk import walk
from worker.demo.embedded import Embedded
from worker.store import migrate

MOST_BYTES = 150_000

_WIDE = 1280
_HEIGHTS = {
    "sign-in": 420,
    "queue": 840,
    "review-claimed": 1240,
    "review-purpose": 1100,
    "review-grey": 1180,
    "review-region": 1180,
    "review-video": 1180,
    "break": 420,
    "review-decided": 1100,
    "queue-undo": 520,
    "review-second": 1240,
    "review-adjudication": 1240,
    "review-appeal": 1240,
    "proposals": 620,
    "minors": 420,
    "review-minor": 1000,
    "minor-case-reported": 1280,
    "uploads": 840,
    "upload": 760,
    "audit": 840,
    "people": 760,
    "me": 900,
    "figures": 2080,
}
"""By state, how many pixels from the top its picture shows at most."""

_DARK = frozenset({"queue", "review-claimed"})
"""Are taken a second time, dark."""


def taken(page: Page, most: int, *, dark: bool = False) -> bytes:
    """A PNG of a page's upper part, of at most MOST_BYTES: in fewer colours, where it would be longer."""
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.set_viewport_size({"width": _WIDE, "height": 400})
    height = min(most, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": _WIDE, "height": height})
    page.evaluate("scrollTo(0, 0)")
    shot = page.screenshot()
    page.emulate_media(color_scheme="light")
    with Image.open(io.BytesIO(shot)) as picture:
        plain = picture.convert("RGB")
    small = _png(plain)
    for colours in (256, 128, 64, 32):
        if len(small) <= MOST_BYTES:
            break
        small = _png(plain.quantize(colours))
    return small


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    folder = folder_of_pictures("tests.browser.pictures")

    def look(name: str, page: Page) -> None:
        if name in _HEIGHTS:
            (folder / f"{name}.png").write_bytes(taken(page, _HEIGHTS[name]))
        if name in _DARK:
            (folder / f"{name}-dark.png").write_bytes(taken(page, _HEIGHTS[name], dark=True))

    with ExitStack() as ending:
        browser = ending.enter_context(chromium_running())
        state = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        embedded = ending.enter_context(Embedded(state / "servers", fsync=False))
        database = embedded.postgres.create_database("console")
        migrate.upgrade(database)
        system = ending.enter_context(system_on(embedded, database, state / "system", bucket="uploads"))
        walk(Desk(browser, system, ending), look)


if __name__ == "__main__":
    main()
