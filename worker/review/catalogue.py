"""The catalogue of all texts of the pages, made from the code: `python -m worker.review.catalogue` writes it.

Every language gets the new texts, still to be translated, and loses those that are used no more. The files hold no
dates and no line numbers, so that they change only when a text does.
"""

from __future__ import annotations

import tomllib
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from worker.review.languages import LOCALE

ROOT = Path(__file__).parents[2]

_HEAD = b"""# Every text of Hashwarden's pages. Made by `make words`; docs/how-to/translate.md tells more.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""
# A template that can't be read would silently be left out.
_JINJA = {"silent": "false", "trim_blocks": "true", "lstrip_blocks": "true"}


def extracted() -> Catalog:
    """Every text that the code marks, with the files that it is in."""
    made = Catalog()
    for path in sorted(ROOT.glob("worker/review/pages/templates/*.html")):
        _add(made, path, extract_from_file("jinja2", path, options=_JINJA))
    for room in ("config", "bank_sync", "worker"):
        for path in sorted(ROOT.glob(f"{room}/**/*.py")):
            _add(made, path, extract_from_file("python", path))
    packaged = ROOT / "config" / "reasons.toml"
    for words in tomllib.loads(packaged.read_text())["review"]["reasons"].values():
        made.add(words, locations=[(packaged.relative_to(ROOT).as_posix(), 0)])
    return made


def template() -> bytes:
    """The catalogue as a .pot file, in the order of its texts."""
    return _HEAD + _written(extracted())


def renewed(path: Path) -> bytes:
    """A language's .po file with exactly the texts of the code; its head and its translations stay."""
    head, _, _ = path.read_bytes().partition(b"\n\n")
    made = Catalog(locale=path.stem)
    with path.open("rb") as file:
        known = read_po(file, locale=path.stem)
    for message in extracted():
        if message.id:
            there = known.get(message.id, message.context)
            made.add(
                message.id,
                there.string if there is not None else None,
                locations=message.locations,
                flags=there.flags if there is not None else (),
                context=message.context,
            )
    return head + b"\n\n" + _written(made)


def _written(catalogue: Catalog) -> bytes:
    written = BytesIO()
    write_po(written, catalogue, width=110, sort_output=True, include_lineno=False, omit_header=True)
    return written.getvalue()


def _add(
    made: Catalog, path: Path, found: list[tuple[int, str | tuple[str, ...], list[str], str | None]]
) -> None:
    where = path.relative_to(ROOT).as_posix()
    for _line, msgid, _comments, context in found:
        made.add(msgid, locations=[(where, 0)], context=context)


if __name__ == "__main__":
    (LOCALE / "hashwarden.pot").write_bytes(template())
    for language in sorted(LOCALE.glob("*.po")):
        language.write_bytes(renewed(language))
