"""What axe-core, a narrow screen and the Tab key find wrong with a page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""WCAG 2.2 AA and all before it, and what axe-core's authors advise."""

NARROW: ViewportSize = {"width": 320, "height": 640}
"""1,280 pixels at 400 %: what WCAG 1.4.10 asks for."""

SMALLEST = 24
"""Pixels of a button's sides (WCAG 2.5.8)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with one page: rules by scheme, pixels too wide at 320, buttons too small."""

    light: list[str]
    dark: list[str]
    sideways: int
    small: list[str]
    title: str

    @property
    def wrong(self) -> list[str]:
        """Everything, one line each."""
        wide = [f"{self.sideways} pixels scroll sideways"] if self.sideways else []
        return [*self.light, *self.dark, *wide, *self.small]


def rules_broken(page: Page, *, only: str = "") -> list[str]:
    """One line for each element that breaks a rule, of all or only one."""
    chosen = {"type": "rule", "values": [only]} if only else {"type": "tag", "values": TAGS}
    options = json.dumps({"runOnly": chosen, "resultTypes": ["violations"]})
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    answer: dict[str, Any] = page.evaluate(f"axe.run({options})")
    return [
        f"{broken['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for broken in answer["violations"]
        for node in broken["nodes"]
    ]


def measured(page: Page) -> Found:
    at = page.viewport_size
    assert at is not None
    light = rules_broken(page)
    page.emulate_media(color_scheme="dark")
    # The pages are the same in dark but for their colours.
    dark = rules_broken(page, only="color-contrast")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(NARROW)
    sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    small = page.evaluate(
        "least => [...document.querySelectorAll('button, select, summary')].filter(at => {"
        " const box = at.getBoundingClientRect();"
        " return box.width && (box.width < least || box.height < least); }).map(at => at.outerHTML)",
        SMALLEST,
    )
    page.set_viewport_size(at)
    return Found(light, dark, sideways, small, page.title())


def focused(page: Page) -> tuple[str, str, bool]:
    """What has the focus: its words, its tag, and whether it shows that it has it, within what is seen."""
    words, tag, visible = page.evaluate(
        "() => { const at = document.activeElement; const look = getComputedStyle(at);"
        " const box = at.getBoundingClientRect();"
        " const shown = look.outlineStyle === 'solid' && parseFloat(look.outlineWidth) >= 2"
        "   && box.top >= 0 && Math.min(box.bottom, box.top + 24) <= innerHeight;"
        " return [(at.getAttribute('aria-label')"
        " || (at.matches('input, select, textarea') ? at.name : at.textContent)).trim(), at.tagName, shown]; }"
    )
    return words, tag, visible


def came_by(page: Page) -> list[str]:
    """The words of all that Tab comes by, from the top of the page; each shows that it has the focus."""
    words_in_order: list[str] = []
    for _ in range(120):
        page.keyboard.press("Tab")
        words, tag, visible = focused(page)
        if tag == "BODY":
            return words_in_order
        assert visible, words
        words_in_order.append(words)
    pytest.fail("Tab never leaves the page")
