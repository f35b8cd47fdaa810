"""A Chromium on the pages of a practice bank."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from bank_sync.sandbox.app import running


@pytest.fixture
def bank_url() -> Iterator[str]:
    """A practice bank of the test's own."""
    with running() as address:
        yield address


@pytest.fixture
def visitor(chromium: Browser, bank_url: str) -> Iterator[Page]:
    """A page of a browser that has never been here."""
    context = chromium.new_context(base_url=bank_url)
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()
