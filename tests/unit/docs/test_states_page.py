"""docs/reference/states.md says what the state machine, the tags and the sandbox's reasons are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bank_sync.epoch import EpochError
from worker.act import TAG, TAG_OF_STATE
from worker.domain import Kind, State
from worker.errors import SandboxError, StorageError, StorageRefused
from worker.media.limits import Reason, refused
from worker.store.leases import LEASE_EXPIRED, OUT_OF_ATTEMPTS
from worker.store.transitions import ALLOWED, access_of

PAGE = (Path(__file__).parents[3] / "docs/reference/states.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    part = PAGE.partition(f"{heading}\n")[2].partition("\n#")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| `")
    ]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


STATES = {State(words(row[0])[0]): row for row in rows("# States, tags and reasons")}


def test_every_state_is_on_the_page() -> None:
    assert list(STATES) == list(State)


@pytest.mark.parametrize("state", State)
def test_a_state_has_its_access_tag_and_ways_out(state: State) -> None:
    _, _, access, tag, ways = STATES[state]
    assert access == access_of(state)
    assert "".join(words(tag)) == TAG_OF_STATE.get(state, "")
    assert words(ways) == sorted(ALLOWED[state])


def test_the_tag_is_named() -> None:
    assert f"`{TAG}`" in PAGE


def test_every_reason_of_media_is_on_the_page_with_the_state_it_leads_to() -> None:
    told = {words(row[0])[0]: words(row[1])[0] for row in rows("## Reasons of media")}
    known = {reason.value: refused(reason).kind for reason in Reason}
    assert told == {**known, OUT_OF_ATTEMPTS: Kind.UNSCANNABLE}


def test_the_reasons_of_a_retry_are_on_the_page() -> None:
    told = {word for row in rows("## Other reasons") for word in words(row[0])}
    codes = {error.code for error in (EpochError, SandboxError, StorageError, StorageRefused)}
    assert {LEASE_EXPIRED, *codes} <= told
