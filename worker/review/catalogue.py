"""The catalogue of all texts of the pages, made from the code: `python -m worker.review.catalogue` prints it.

It holds no dates and no line numbers, so that it changes only when a text does.
"""

from __future__ import annotations

import sys
import tomllib
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import write_po

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
    written = BytesIO()
    write_po(written, extracted(), width=110, sort_output=True, include_lineno=False, omit_header=True)
    return _HEAD + written.getvalue()


def _add(
    made: Catalog, path: Path, found: list[tuple[int, str | tuple[str, ...], list[str], str | None]]
) -> None:
    where = path.relative_to(ROOT).as_posix()
    for _line, msgid, _comments, context in found:
        made.add(msgid, locations=[(where, 0)], context=context)


if __name__ == "__main__":
    sys.stdout.buffer.write(template())
