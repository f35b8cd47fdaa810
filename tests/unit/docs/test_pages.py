"""Every page of docs/: its links lead somewhere, its TOML is settings that load, its limits are the code's."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from config.policy import PolicySettings, RuleSettings
from config.settings import load_settings
from worker.cli import COMMANDS
from worker.media.limits import Limits

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def _packaged_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HASHWARDEN_")]:
        monkeypatch.delenv(name)


def anchor(heading: str) -> str:
    """A heading's anchor as hosting pages make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if fragment:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in {anchor(heading) for heading in headings}, link


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    others = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.name != "README.md"]
    assert [page for page in others if f"({page}" not in index] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_toml_blocks_are_settings(page: Path) -> None:
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "toml":
            load_settings(**tomllib.loads(block))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^\$ |`|bin/)hashwarden ([a-z-]+)", text, re.MULTILINE))
    assert named <= set(COMMANDS)


def test_the_limits_are_the_codes() -> None:
    page = " ".join((ROOT / "docs/explanation/limits.md").read_text(encoding="utf-8").split())
    rule, limits = RuleSettings(), Limits()
    assert f"within {rule.radius} of 256 bits at quality {rule.min_quality} or more" in page
    assert f"within {rule.low_quality_radius} bits only" in page
    assert f"up to {limits.video_rate:.0f} frames a second" in page
    assert limits.video_frames >= 4 * limits.video_full_seconds
    assert f"at least four for {limits.video_full_seconds / 60:.0f} minutes" in page
    assert f"up to {limits.video_frames:,} distinct frames" in page
    assert f"up to {limits.image_frames} frames are hashed" in page
    media = load_settings().media
    assert f"over {media.spool_bytes >> 20} MiB are not decoded" in page
    assert f"by MD5 up to {media.digest_bytes >> 30} GiB" in page


def test_the_numbers_of_the_flood_breaker_and_the_removal_delay_are_the_defaults() -> None:
    policy = PolicySettings()
    recover = (ROOT / "docs/how-to/recover.md").read_text(encoding="utf-8")
    review = (ROOT / "docs/how-to/review.md").read_text(encoding="utf-8")
    assert f"`policy.flood.uploaders` ({policy.flood.uploaders})" in recover
    assert policy.flood.window == 3600
    assert f"`policy.removal_delay` ({policy.removal_delay / 60:.0f} min)" in review
