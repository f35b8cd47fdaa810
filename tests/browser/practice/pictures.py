"""Makes the pictures of docs/how-to/practice-bank.md; `make pictures` calls it.

The same walk as the accessibility tests take, with the demonstration's photographs.
"""

from __future__ import annotations

from playwright.sync_api import Page

from bank_sync.sandbox.app import running
from tests.browser.chromium import chromium_running, folder_of_pictures
from tests.browser.pictures import taken
from tests.browser.practice.walk import walk

_HEIGHTS = {"send-ready": 1500, "case-told": 1050}
"""By state, how many pixels from the top its picture shows at most."""


def main() -> None:
    folder = folder_of_pictures("tests.browser.practice.pictures")

    def look(name: str, page: Page) -> None:
        if name in _HEIGHTS:
            (folder / f"{name}.png").write_bytes(taken(page, _HEIGHTS[name]))

    with running() as address, chromium_running() as browser:
        walk(browser.new_page(base_url=address), look)


if __name__ == "__main__":
    main()
