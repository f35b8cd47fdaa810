"""Makes the pictures of docs/how-to/practice-bank.md; `make pictures` calls it.

The same walk as the accessibility tests take, with the demonstration's photographs.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bank_sync.sandbox.app import running
from tests.browser.pictures import taken
from tests.browser.practice.walk import walk

_HEIGHTS = {"send-ready": 1500, "case-told": 1050}
"""By state, how many pixels from the top its picture shows at most."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("Give the folder: python -m tests.browser.practice.pictures docs/pictures/practice-bank")
    folder = Path(sys.argv[1])
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("There is no Chromium: `apt-get install chromium` gets one.")
    folder.mkdir(parents=True, exist_ok=True)

    def look(name: str, page: Page) -> None:
        if name in _HEIGHTS:
            (folder / f"{name}.png").write_bytes(taken(page, _HEIGHTS[name]))

    with running() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        walk(browser.new_page(base_url=address), look)
        browser.close()


if __name__ == "__main__":
    main()
