"""Settings from a folder of files, one value each: like variables, under them, and never ignored in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import SettingsError
from config.settings import load_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HASHWARDEN_CONFIG", raising=False)
    made = tmp_path / "secrets"
    made.mkdir()
    monkeypatch.setenv("HASHWARDEN_SECRETS", str(made))
    return made


def test_a_file_is_a_setting(folder: Path) -> None:
    (folder / "database__url").write_text("postgresql+psycopg://a:b@c/d\n")
    (folder / "STORAGE__BUCKETS").write_text('["first", "second"]')
    settings = load_settings()
    assert settings.database.url.get_secret_value() == "postgresql+psycopg://a:b@c/d"
    assert settings.storage.buckets == ["first", "second"]


def test_it_wins_over_toml_and_loses_to_a_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = folder.parent / "own.toml"
    own.write_text('[banks.stopncii]\nexchange = "stopncii"\nfetch_key = "toml"\nsubscription_key = "toml"\n')
    monkeypatch.setenv("HASHWARDEN_CONFIG", str(own))
    (folder / "banks__stopncii__fetch_key").write_text("file")
    (folder / "banks__stopncii__subscription_key").write_text("file")
    monkeypatch.setenv("HASHWARDEN_BANKS__STOPNCII__SUBSCRIPTION_KEY", "variable")
    bank = load_settings().banks["stopncii"]
    assert bank.fetch_key is not None
    assert bank.subscription_key is not None
    assert (bank.fetch_key.get_secret_value(), bank.subscription_key.get_secret_value()) == (
        "file",
        "variable",
    )
    assert bank.exchange == "stopncii"


def test_the_hidden_folders_of_kubernetes_are_passed_over(folder: Path) -> None:
    version = folder / "..2026_01_02"
    version.mkdir()
    (version / "broker__url").write_text("redis://there:6379/1")
    (folder / "..data").symlink_to(version.name)
    (folder / "broker__url").symlink_to("..data/broker__url")
    assert load_settings().broker.url.get_secret_value() == "redis://there:6379/1"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("databse__url", b"pass-word", "The file databse__url in .* names no setting."),
        ("database__ulr", b"pass-word", "The setting database.ulr is not usable"),
        ("database__url", b"pass-word\xff", "can't be read: it is not UTF-8"),
    ],
)
def test_a_file_that_is_no_setting_is_told_without_its_text(
    folder: Path, name: str, content: bytes, said: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings()
    assert "pass-word" not in str(caught.value)


def test_a_folder_that_is_not_there_is_told(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(SettingsError, match="can't be read: No such file or directory"):
        load_settings()
