"""Renders the pages from their templates, in the language that `languages.speak` has set.

Templates wrap each text in `_("...")`, `ngettext(...)` or `{% trans %}`; texts that come from Python are those of
`config.words` and need no more than `{{ text }}`. A code (`held`, `not_a_match`) is said by the filter `named`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from config.words import Words, _
from worker.domain import State
from worker.operate.age import words
from worker.review.languages import spoken
from worker.review.names import name_of


def _when(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _clock(seconds: float) -> Words:
    """Hours and minutes, or minutes and seconds under an hour: what a countdown shows."""
    whole = abs(int(seconds))
    if whole >= 3600:
        return _("%(hours)s h %(minutes)s min", hours=whole // 3600, minutes=f"{whole % 3600 // 60:02d}")
    return _("%(minutes)s min %(seconds)s s", minutes=whole // 60, seconds=f"{whole % 60:02d}")


# Filters by the reader's language take the context: without it Jinja may work one out once for all pages.


@pass_context
def _said(_context: Context, value: object) -> object:
    return spoken().say(value) if isinstance(value, str) else value


@pass_context
def _named(_context: Context, code: object) -> object:
    """The words of a code; what is no code of ours stays as it is."""
    return spoken().say(name_of(code)) if isinstance(code, str) else code


@pass_context
def _frame_time(_context: Context, seconds: float) -> Words:
    minutes, rest = divmod(round(seconds, 1), 60)
    number = spoken().number
    if minutes:
        return _("%(minutes)s min %(seconds)s s", minutes=f"{minutes:.0f}", seconds=number(rest, "00.0"))
    return _("%(seconds)s s", seconds=number(rest, "0.0"))


@pass_context
def _known(_context: Context, text: str) -> str:
    """A text of the settings in the reader's language, where it is one that comes with them."""
    return spoken().catalogue.gettext(text) if text else ""


@pass_context
def _number(_context: Context, number: float) -> str:
    return spoken().number(number)


@pass_context
def _commands(_context: Context, value: object) -> Markup:
    """A text that may name commands between backticks, as in a terminal."""
    text = str(escape(spoken().say(value) if isinstance(value, str) else value))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", text))  # noqa: S704


def _gettext(msgid: str, **values: object) -> Markup:
    return _filled(spoken().catalogue.gettext(msgid), values)


def _ngettext(one: str, many: str, num: int, **values: object) -> Markup:
    return _filled(spoken().catalogue.ngettext(one, many, num), {"num": spoken().number(num), **values})


def _pgettext(context: str, msgid: str, **values: object) -> Markup:
    return _filled(spoken().catalogue.pgettext(context, msgid), values)


def _filled(text: str, values: Mapping[str, object]) -> Markup:
    # Texts come with the program and may hold tags; values are escaped.
    if not values and "%" not in text:
        return Markup(text)  # noqa: S704
    said = spoken().say
    return Markup(text) % {  # noqa: S704
        name: said(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        for name, value in values.items()
    }


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        # They come with the program: looking for changes costs a page of fifty rows hundreds of looks.
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        finalize=_said,
    )
    made.newstyle_gettext = True  # type: ignore[attr-defined]
    made.globals |= {"_": _gettext, "gettext": _gettext, "ngettext": _ngettext, "pgettext": _pgettext}
    made.globals["spoken"] = spoken
    made.filters["named"] = _named
    made.filters["known"] = _known
    made.filters["number"] = _number
    made.filters["age"] = words
    made.filters["when"] = _when
    made.filters["frame_time"] = _frame_time
    made.filters["clock"] = _clock
    made.filters["commands"] = _commands
    made.globals["states"] = [state.value for state in State]
    return made


_TEMPLATES = _templates()


def render(name: str, **values: Any) -> str:  # noqa: ANN401 (what the template reads)
    return _TEMPLATES.get_template(name).render(**values)
