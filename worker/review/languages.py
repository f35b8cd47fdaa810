"""The languages of the pages: English, and each catalogue in `locale/`, read at start.

A page is rendered in the language that `speak` has set for its request; English where none is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_decimal

from config.errors import SettingsError
from config.words import Words

LOCALE = Path(__file__).parent / "locale"
AUTO = "auto"
"""The browser chooses."""
MOST_ACCEPTED = 20
"""Languages of a browser's wish that are looked at."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language with its catalogue. `tag` and `direction` are the `lang` and `dir` of a page."""

    locale: Locale
    catalogue: NullTranslations

    @property
    def tag(self) -> str:
        return str(self.locale).replace("_", "-")

    @property
    def direction(self) -> str:
        return self.locale.text_direction

    def say(self, words: str) -> str:
        """A text in this language. One that is in no catalogue stays as it is."""
        if isinstance(words, Words):
            return words.said(self.catalogue.gettext, self.catalogue.ngettext)
        return words

    def number(self, number: float) -> str:
        """A number with the signs of this language: 1,234.5 or 1.234,5."""
        return format_decimal(number, locale=self.locale)


ENGLISH = Language(Locale("en"), NullTranslations())

_spoken: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def spoken() -> Language:
    """The language of the page that is being rendered."""
    return _spoken.get()


@contextmanager
def speak(language: Language) -> Iterator[None]:
    """Within it, pages are rendered in this language."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


class Languages:
    """What pages can be read in. `setting` is a tag, or `auto`.

    Raises SettingsError for a language without a catalogue, or a catalogue that can't be read.
    """

    def __init__(self, setting: str, folder: Path = LOCALE) -> None:
        self._all: Mapping[str, Language] = {ENGLISH.tag: ENGLISH} | {
            language.tag: language for language in map(_read, sorted(folder.glob("*.po")))
        }
        if setting != AUTO and setting not in self._all:
            raise SettingsError(
                f"review.language is {setting}, for which there is no catalogue.",
                next_step=f"Set it to one of: {', '.join([AUTO, *self._all])}.",
            )
        self._fixed = self._all.get(setting)

    def of(self, accepted: str) -> Language:
        """The language of a request by its Accept-Language; English where none of its wishes is there."""
        if self._fixed is not None:
            return self._fixed
        for tag in _wishes(accepted):
            for wished in (tag, tag.partition("-")[0]):
                for there, language in self._all.items():
                    if there.lower() == wished:
                        return language
        return ENGLISH


def _read(path: Path) -> Language:
    try:
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.stem, abort_invalid=True)
        made = BytesIO()
        write_mo(made, catalogue)
        made.seek(0)
        return Language(Locale.parse(path.stem), GNUTranslations(made))
    except (OSError, ValueError, UnknownLocaleError, PoFileError) as error:
        raise SettingsError(
            f"The catalogue {path.name} can't be read: {error}.",
            next_step="Mend it, or take it out of the folder.",
        ) from None


def _wishes(accepted: str) -> list[str]:
    """The tags of an Accept-Language in lower case, the most wished first."""
    wishes = []
    for at, part in enumerate(accepted.lower().split(",", MOST_ACCEPTED)[:MOST_ACCEPTED]):
        tag, _, weight = part.partition(";")
        try:
            wished = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if wished > 0 and tag.strip():
            wishes.append((-wished, at, tag.strip().replace("_", "-")))
    return [tag for *_, tag in sorted(wishes)]
