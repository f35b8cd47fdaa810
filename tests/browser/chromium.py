"""The system's Chromium, for the browser tests and for the pictures of the documentation."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright


class NoChromium(SystemExit):
    """None is installed: a program ends with this line, a test is skipped with it."""

    def __init__(self) -> None:
        super().__init__("There is no Chromium: `apt-get install chromium` gets one.")


@contextmanager
def chromium_running() -> Iterator[Browser]:
    """Raises NoChromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise NoChromium
    with sync_playwright() as playwright:
        # A container has neither a sandbox of its own nor much shared memory.
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def folder_of_pictures(module: str) -> Path:
    """The folder that the command line names, made if it is missing; ends the program without one."""
    if len(sys.argv) != 2:
        sys.exit(f"Give the folder for the pictures: python -m {module} FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    return folder
