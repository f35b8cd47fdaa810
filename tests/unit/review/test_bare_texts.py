"""Nothing on a page is said past the catalogue: no bare text in a template, a script, or a refusal."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

PAGES = Path(__file__).parents[3] / "worker" / "review" / "pages"
TEMPLATES = sorted((PAGES / "templates").glob("*.html"))
SCRIPTS = sorted((PAGES / "static").glob("*.js"))
ROOMS = ("pages", "desk", "reveal", "minors", "figures", "people", "../operate/alarms")
TELLING = sorted(path for room in ROOMS for path in (PAGES.parent / room).glob("*.py"))

HOW = """
These texts are in no catalogue:
{found}
Write {{{{ _("Text") }}}}, with a value {{{{ _("Review %(id)s", id=line.id) }}}}, by number
{{{{ ngettext("%(num)s upload", "%(num)s uploads", n) }}}}, with tags {{% trans %}}...{{% endtrans %}}, and a code
{{{{ state | named }}}}. A command goes into <code>, a key into <kbd>. Then run `make words`, and translate what is new
(docs/how-to/translate.md)."""

SPOKEN = {"aria-label", "title", "alt", "placeholder", "aria-description", "aria-roledescription"}
NAMES = re.compile(r"\b(Hashwarden|UTC|CSV)\b|&\w+;")
LETTERS = re.compile(r"[^\W\d_]")
TRANSLATED = re.compile(r"{%-?\s*trans\b.*?endtrans\s*-?%}", re.DOTALL)
JINJA = re.compile(r"{{.*?}}|{%.*?%}|{#.*?#}", re.DOTALL)


class Bare(HTMLParser):
    """Collects what stands in a template's HTML itself, with its line."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str]] = []
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._verbatim += tag in {"code", "kbd"}
        for name, value in attrs:
            if name in SPOKEN:
                self._add(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._verbatim -= tag in {"code", "kbd"}

    def handle_data(self, data: str) -> None:
        if not self._verbatim:
            self._add(data)

    def _add(self, text: str) -> None:
        if LETTERS.search(NAMES.sub("", text)):
            self.found.append((self.getpos()[0], " ".join(text.split())))


def blank(found: re.Match[str]) -> str:
    """As many lines as were there."""
    return "\n" * found[0].count("\n")


def in_html(source: str) -> list[tuple[int, str]]:
    reader = Bare()
    reader.feed(JINJA.sub(blank, TRANSLATED.sub(blank, source)))
    reader.close()
    return reader.found


def in_expressions(source: str) -> list[tuple[int, str]]:
    """Texts that `{{ ... }}` puts out without a look-up."""

    def texts(node: nodes.Node) -> Iterator[tuple[int, str]]:
        if isinstance(node, nodes.Const) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, nodes.CondExpr):
            yield from texts(node.expr1)
            if node.expr2 is not None:
                yield from texts(node.expr2)
        elif isinstance(node, nodes.BinExpr | nodes.Concat):
            for child in node.iter_child_nodes():
                yield from texts(child)

    tree = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(source)
    return [
        (line, text)
        for output in tree.find_all(nodes.Output)
        for child in output.nodes
        for line, text in texts(child)
        if LETTERS.search(NAMES.sub("", text))
    ]


def told(path: Path, found: list[tuple[int, str]]) -> str:
    return HOW.format(found="\n".join(f"  {path.name}:{line}: {text}" for line, text in found))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_bare_text(path: Path) -> None:
    source = path.read_text()
    found = sorted(in_html(source) + in_expressions(source))
    assert not found, told(path, found)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("<p>\nBare</p>", [(1, "Bare")]),
        ('<p>{{ _("Wrapped") }} · Hashwarden, {{ time }} UTC</p>', []),
        ("{% trans n=3 %}Wrapped {{ n }}{% endtrans %}<code>make words</code>", []),
        ('<img alt="Bare">', [(1, "Bare")]),
        ('<img class="bare" alt="{{ _("Wrapped") }}">', []),
        ('{{ "bare" if x else _("Wrapped") }}', [(1, "bare")]),
        ('{{ x or "bare" }}{{ state | named }}', [(1, "bare")]),
        ('\n{{ "bare " ~ x }}', [(2, "bare ")]),
    ],
)
def test_bare_texts_are_found(source: str, found: list[tuple[int, str]]) -> None:
    assert in_html(source) + in_expressions(source) == found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_nothing_of_its_own(path: Path) -> None:
    sentences = re.findall(r"""["'`]([A-Z][a-z']* [^"'`\n]+|[A-Z][a-z]+\.)["'`]""", path.read_text())
    assert not sentences, f"{path.name} gets its texts from data attributes of the page: {sentences}"


@pytest.mark.parametrize("path", TELLING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_refusal_or_alarm_is_in_words_of_the_catalogue(path: Path) -> None:
    plain = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (called := _called(node.func)).endswith(("Error", "HTTPException", "Alarm"))
        and called != "ValueError"
        and any(map(_is_plain, [*node.args, *(more.value for more in node.keywords)]))
    ]
    assert not plain, f'{path.name}, lines {plain}: write _("There is no upload %(upload)s.", upload=7)'


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_plain(given: ast.expr) -> bool:
    if isinstance(given, ast.Constant):
        return isinstance(given.value, str) and bool(given.value)
    return isinstance(given, ast.JoinedStr)
