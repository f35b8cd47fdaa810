"""Which language a request gets, and what a text becomes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import HashwardenError, SettingsError
from config.words import _, joined, ngettext
from tests.unit.review.pseudo import write_pseudo
from worker.operate.age import words
from worker.review.languages import ENGLISH, Languages, speak, spoken

SLAVIC = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14) ? 1 : 2);\n"

msgid "%(num)s day"
msgid_plural "%(num)s days"
msgstr[0] "%(num)s день"
msgstr[1] "%(num)s дня"
msgstr[2] "%(num)s дней"
"""


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("DE-ch", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("fr,de;q=0.3,en;q=0.2", "de"),
        ("en;q=0.2,de;q=0.3", "de"),
        ("de;q=0,en", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("de;q=nonsense", "en"),
        (";;;,,,q=1", "en"),
        ("x" * 10_000, "en"),
        ("fr," * 10_000 + "de", "en"),
    ],
)
def test_the_browser_chooses_among_what_is_there(accepted: str, tag: str) -> None:
    assert Languages("auto").of(accepted).tag == tag


def test_a_fixed_language_is_given_whatever_the_browser_asks_for() -> None:
    assert Languages("de").of("en").tag == "de"
    assert Languages("en").of("de").tag == "en"


def test_a_language_without_a_catalogue_is_one_clear_error() -> None:
    with pytest.raises(SettingsError, match=r"review.language is tlh.*one of: auto, en, de"):
        Languages("tlh")


@pytest.mark.parametrize("broken", [b"\xff\xfe", b'msgid "a"\nnonsense'])
def test_a_catalogue_that_cannot_be_read_is_one_clear_error(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "fr.po").write_bytes(broken)
    with pytest.raises(SettingsError, match=r"catalogue fr\.po"):
        Languages("auto", tmp_path)


def test_a_catalogue_named_like_no_language_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "nonsense_language.po").write_text("")
    with pytest.raises(SettingsError, match="nonsense_language"):
        Languages("auto", tmp_path)


def test_a_text_keeps_its_english_and_is_said_anew_with_its_values() -> None:
    german = Languages("auto").of("de")
    error = HashwardenError(_("There is no review %(review)s.", review=7), next_step=_("Try again."))
    assert str(error) == "There is no review 7. Try again."
    assert german.say(error.words) == "Es gibt keine Prüfung 7. Versuchen Sie es noch einmal."
    assert ENGLISH.say(error.words) == str(error)
    assert german.say("as it is") == "as it is"
    assert german.say(joined()) == ""
    assert german.say(HashwardenError("Not in the catalogue.").words) == "Not in the catalogue."


def test_a_value_that_is_a_text_is_said_in_the_same_language() -> None:
    german = Languages("auto").of("de")
    said = _("Oldest pending: %(time)s.", time=words(7200))
    assert (said, german.say(said)) == ("Oldest pending: 2 hours.", "Der älteste wartende: 2 Stunden.")


def test_a_plural_follows_the_rules_of_the_language(tmp_path: Path) -> None:
    (tmp_path / "ru.po").write_text(SLAVIC)
    russian = Languages("auto", tmp_path).of("ru")
    assert [russian.say(words(days * 86400)) for days in (2, 5, 21, 22)] == [
        "2 дня",
        "5 дней",
        "21 день",
        "22 дня",
    ]
    german = Languages("auto").of("de")
    several = [ngettext("%(num)s upload", "%(num)s uploads", number) for number in (0, 1, 2)]
    assert several == ["0 uploads", "1 upload", "2 uploads"]
    assert [german.say(each) for each in several] == ["0 Uploads", "1 Upload", "2 Uploads"]


def test_a_language_that_is_written_from_right_to_left_says_so(tmp_path: Path) -> None:
    (tmp_path / "ar.po").write_text('msgid "Undo"\nmsgstr "تراجع"\n')
    arabic = Languages("auto", tmp_path).of("ar")
    assert (arabic.tag, arabic.direction) == ("ar", "rtl")
    assert ENGLISH.direction == "ltr"


def test_numbers_have_the_signs_of_the_language() -> None:
    assert ENGLISH.number(1234567) == "1,234,567"
    assert Languages("auto").of("de").number(1234567) == "1.234.567"


def test_what_is_spoken_ends_with_its_request(tmp_path: Path) -> None:
    pseudo = Languages("eo", write_pseudo(tmp_path)).of("")
    with speak(pseudo):
        assert spoken().say(_("Undo")) == "⟦Undo⟧"
    assert spoken() is ENGLISH
