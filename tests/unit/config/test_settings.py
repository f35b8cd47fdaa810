"""The settings: sources in their order, one clear error, and a reference that can't drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import reference
from config.errors import SettingsError
from config.settings import load_settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HASHWARDEN_CONFIG", raising=False)


def test_the_packaged_defaults_load() -> None:
    settings = load_settings()
    assert settings.policy.mode == "enforce"
    assert list(settings.banks) == ["own"]


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[sweep]\nrate = 5\nrecent_every = 7\n[banks.stopncii]\nexchange = "stopncii"\n')
    monkeypatch.setenv("HASHWARDEN_CONFIG", str(own))
    monkeypatch.setenv("HASHWARDEN_SWEEP__RATE", "9")
    monkeypatch.setenv("HASHWARDEN_BANKS__STOPNCII__FETCH_KEY", "secret-key")
    settings = load_settings()
    assert (settings.sweep.rate, settings.sweep.recent_every) == (9, 7)
    key = settings.banks["stopncii"].fetch_key
    assert key is not None
    assert key.get_secret_value() == "secret-key"
    assert "secret-key" not in repr(settings)
    assert set(settings.banks) == {"own", "stopncii"}


def test_a_rule_of_its_own_wins_over_the_default_rule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[policy.rules.stopncii.pdq]\neffect = "flag"\nradius = 20\n')
    monkeypatch.setenv("HASHWARDEN_CONFIG", str(own))
    policy = load_settings().policy
    assert (policy.rule("stopncii", "pdq").effect, policy.rule("stopncii", "pdq").radius) == ("flag", 20)
    assert policy.rule("another", "pdq") == policy.default
    assert policy.revision != load_settings(policy={"mode": "shadow"}).policy.revision


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[sweep]\nrate = -1\n", "sweep.rate"),
        ("[sweep]\nspeed = 1\n", "sweep.speed"),
        ('[policy]\nmode = "dry"\n', "policy.mode"),
        ('[banks.list]\nexchange = "file"\n', "banks.list"),
        ("[policy.default]\nradius = 99\n", "policy.default.radius"),
        ('[policy]\nmode = "shadow"\npublish = "after_scan"\n', "policy"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, named: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    monkeypatch.setenv("HASHWARDEN_CONFIG", str(own))
    with pytest.raises(SettingsError, match=f"The setting {named} "):
        load_settings()


def test_a_wrong_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWARDEN_DATABASE", '{"url": ["pass-word"]}')
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "not = [toml"])
def test_a_settings_file_that_can_not_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    own = tmp_path / "own.toml"
    if text is not None:
        own.write_text(text)
    monkeypatch.setenv("HASHWARDEN_CONFIG", str(own))
    with pytest.raises(SettingsError, match=r"own\.toml"):
        load_settings()


def test_the_settings_reference_is_the_models() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text() == reference.render(), "run `make docs`"


def test_every_setting_says_what_it_is_for() -> None:
    rows = [line for line in reference.render().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert not [row for row in rows if row.rstrip(" |").endswith(("empty", "`", "required"))]


@pytest.mark.parametrize("pattern", ["(", "^([^/]+)/"])
def test_a_pattern_that_names_no_uploader_is_refused(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.setenv("HASHWARDEN_EVENTS__UPLOADER_PATTERN", pattern)
    with pytest.raises(SettingsError, match=r"The setting events\.uploader_pattern "):
        load_settings()
