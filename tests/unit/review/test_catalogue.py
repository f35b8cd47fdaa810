"""The catalogue is what the code says, and each language has all of it, with the same values and tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from worker.domain import Access, Effect, Kind, State, Verdict
from worker.media.limits import Reason
from worker.review.catalogue import extracted, template
from worker.review.languages import LOCALE
from worker.review.names import name_of
from worker.store.people import Role

CATALOGUES = sorted(LOCALE.glob("*.po"))
COMMAND = re.compile("`[^`]+`")
VALUE = re.compile(r"%\(\w+\)s|%%|</?\w+>")


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.stem, abort_invalid=True)


def texts_of(message: Message) -> tuple[str, ...]:
    return message.id if isinstance(message.id, tuple) else (str(message.id),)


def pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Each translation with its English; a plural form with the English plural."""
    for message in catalogue(path):
        if not message.id:
            continue
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        for at, text in enumerate(said):
            yield texts_of(message)[min(at, len(texts_of(message)) - 1)], str(text or "")


def test_the_committed_catalogue_is_what_the_code_says() -> None:
    committed = (LOCALE / "hashwarden.pot").read_bytes()
    assert committed == template(), "run `make words` and commit what it changes"


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_language_has_every_text_and_no_other(path: Path) -> None:
    wanted = {(message.id, message.context) for message in extracted() if message.id}
    there = {(message.id, message.context) for message in catalogue(path) if message.id}
    assert not wanted - there, f"translate these in {path.name}"
    assert not there - wanted, f"these are used nowhere: take them out of {path.name}"


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_every_text_is_translated_with_the_same_values_tags_and_commands(path: Path) -> None:
    assert not [message.id for message in catalogue(path) if message.fuzzy and message.id]
    for english, said in pairs(path):
        assert said.strip(), f"{english!r} has no translation"
        for kind in (VALUE, COMMAND):
            assert Counter(kind.findall(said)) == Counter(kind.findall(english)), (english, said)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_catalogue_is_sorted_and_names_no_line(path: Path) -> None:
    assert not re.findall(r"^#: .*:\d+", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "codes", [State, Verdict, Effect, Access, Kind, Reason, Role], ids=lambda codes: codes.__name__
)
def test_every_code_has_a_name(codes: type[State]) -> None:
    for code in codes:
        assert hasattr(name_of(code.value), "msgid"), f"{code.value} has no name in worker/review/names.py"


def test_what_is_no_code_of_ours_stays_as_it_is() -> None:
    assert name_of("a_bank") == "a_bank"
    assert name_of("retro_match") == "retro match"
