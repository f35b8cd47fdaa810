"""Support lines by place, for whoever reads a page that speaks to victims: `support.toml`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from config.errors import SettingsError

_FILE = Path(__file__).with_name("support.toml")

Words = Annotated[str, StringConstraints(min_length=3, pattern=r"^\S.*\S$")]
Address = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+\.[a-z]{2,}/\S*$")]
Dialled = Annotated[str, StringConstraints(pattern=r"^[0-9]+( [0-9]+)*$", min_length=3, max_length=16)]
"""As it is dialled inside the country, in groups."""

_SHORT = 6
"""Digits of a number that works only inside its country, at most."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SupportNumber(_Group):
    """One telephone number: how it is shown, and what a telephone is told to dial."""

    shown: str
    dialled: str


class SupportLine(_Group):
    """Somebody to talk to, by telephone, on a page of theirs, or both."""

    name: Words
    code: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,2}$")] | None = None
    national: tuple[Dialled, ...] = Field((), alias="numbers")
    page: Address | None = None
    about: Words | None = None
    source: Words

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if not self.national and self.page is None:
            raise ValueError(f"{self.name!r} has neither a number nor a page")
        for number in self.national:
            if self.code is not None and len(number.replace(" ", "")) <= _SHORT:
                raise ValueError(f"{number!r} is too short to be dialled from abroad, so it has no code")
        return self

    @property
    def numbers(self) -> tuple[SupportNumber, ...]:
        """As they stand in the file; where there is a code, a telephone dials it in place of the trunk zero."""
        found = []
        for number in self.national:
            digits = number.replace(" ", "")
            dialled = digits if self.code is None else f"+{self.code}{digits.removeprefix('0')}"
            found.append(SupportNumber(shown=number, dialled=dialled))
        return tuple(found)

    @property
    def site(self) -> str:
        """The page's host, as a link to it is named."""
        return re.sub(r"^www\.", "", urlsplit(self.page or "").netloc)


class SupportPlace(_Group):
    """A country or city, and its lines."""

    name: Words
    lines: Annotated[tuple[SupportLine, ...], Field(min_length=1)]


class _Support(_Group):
    places: Annotated[tuple[SupportPlace, ...], Field(min_length=1)]


def load_support(path: Path = _FILE) -> tuple[SupportPlace, ...]:
    """The places in the order of the file. Raises SettingsError for a file that is not as it should be."""
    try:
        return _Support.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).places
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{path.name} can't be used: {error}.", next_step="Correct the line that it names."
        ) from None
