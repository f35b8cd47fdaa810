"""What a template makes of texts: values are escaped in every language, and no language stays for the next page."""

from __future__ import annotations

from pathlib import Path

from config.words import _
from tests.unit.review.pseudo import write_pseudo
from worker.review.languages import Languages, speak
from worker.review.pages.rendering import render

HOSTILE = "<script>alert(1)</script>"


def problem(message: str) -> str:
    return render("problem.html", user="", status=404, message=message, refusal=None)


def test_a_value_in_a_text_is_escaped(tmp_path: Path) -> None:
    pseudo = Languages("eo", write_pseudo(tmp_path)).of("")
    for language in (pseudo, *map(Languages("auto").of, ("en", "de"))):
        with speak(language):
            page = problem(_("Bank %(bank)s was never read to its end.", bank=HOSTILE))
            assert HOSTILE not in page
            assert "&lt;script&gt;" in page
            link = render("sign_in_link.html", user="", token=HOSTILE, link=HOSTILE, message=HOSTILE)
            assert HOSTILE not in link


def test_a_template_is_said_anew_for_each_page() -> None:
    languages = Languages("auto")
    said = []
    for tag in ("en", "de", "en"):
        with speak(languages.of(tag)):
            said.append(problem(_("There is no review %(review)s.", review=7)))
    assert "Es gibt keine Prüfung 7." in said[1]
    assert "Zur ersten Seite" in said[1]
    assert said[0] == said[2]
    assert "There is no review 7." in said[0]
