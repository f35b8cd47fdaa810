"""Texts that people read: English where they are made, in the reader's language where a page shows them.

`_` and `ngettext` mark a text for the catalogue. What they give is English, and a str like any other to logs, the
command line and JSON; it remembers its text of the catalogue and its values, so that a page can say it anew.
In these texts a value is `%(name)s` and a per cent sign is `%%`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Words(str):
    """An English text that can be said in another language. `many` is its plural, '' where it has none."""

    msgid: str
    many: str
    values: Mapping[str, object]

    def said(self, singular: Callable[[str], str], plural: Callable[[str, str, int], str]) -> str:
        """The text by the look-ups of a catalogue; values that are texts themselves are said by the same ones."""
        values = {
            name: value.said(singular, plural) if isinstance(value, Words) else value
            for name, value in self.values.items()
        }
        number = self.values.get("num")
        if self.many and isinstance(number, int):
            return plural(self.msgid, self.many, number) % values
        # An empty text would be answered with the head of the catalogue.
        return singular(self.msgid) % values if self.msgid else ""


def _(msgid: str, /, **values: object) -> Words:
    """A text with its values: `_("There is no upload %(upload)s.", upload=7)`."""
    return _words(msgid % values, msgid, "", values)


def ngettext(one: str, many: str, num: int, /, **values: object) -> Words:
    """A text that depends on a whole number, which is its value `num`."""
    values = {"num": num, **values}
    return _words((one if num == 1 else many) % values, one, many, values)


def joined(*parts: str, between: str = " ") -> Words:
    """Texts one after another; empty ones are left out. `between` is not translated."""
    given = {f"part{at}": part for at, part in enumerate(filter(None, parts))}
    msgid = between.replace("%", "%%").join(f"%({name})s" for name in given)
    return _words(msgid % given, msgid, "", given)


def _words(english: str, msgid: str, many: str, values: Mapping[str, object]) -> Words:
    made = Words(english)
    made.msgid, made.many, made.values = msgid, many, values
    return made
