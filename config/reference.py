"""Writes the settings reference from the settings model: `python -m config.reference > docs/reference/settings.md`."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.deadlines import DeadlineProfile
from config.policy import BankSettings, RuleSettings
from config.settings import Settings

_HEAD = """# Settings

Generated from the settings model by `make docs`. A setting comes from the packaged TOML files in `config/`, then
from the file that `HASHWARDEN_CONFIG` names, then from the files in the folder that `HASHWARDEN_SECRETS` names, then
from the environment.

The name in the first column is the key in TOML (`database.url` is `url` under `[database]`). The variable is
`HASHWARDEN_` and the name in capitals, with `__` for each dot: `HASHWARDEN_DATABASE__URL`. The secret file is the same
in small letters without the beginning: `database__url`. A list or a table in a variable or a secret file is JSON:
`["first", "second"]`. Secrets belong in secret files or in the environment.

Three variables are no settings: `HASHWARDEN_CONFIG` and `HASHWARDEN_SECRETS`, and `RUNTIME_DIRECTORY`, the folder in
which services say that they turn, for `hashwarden alive`.

"""


def render() -> str:
    """The whole page as Markdown; every setting with type, default and meaning."""
    parts = [_HEAD, _table("General", "", Settings, only_plain=True)]
    for name, field in Settings.model_fields.items():
        model = _model(field.annotation)
        if model is not None:
            parts.append(_table(name, f"{name}.", model, field.get_default(call_default_factory=True)))
    parts.append(
        _table("policy.rules.<bank>.<signal type>", "policy.rules.<bank>.<signal type>.", RuleSettings)
    )
    parts.append(_table("deadlines.profiles.<name>", "deadlines.profiles.<name>.", DeadlineProfile))
    parts.append(_table("banks.<name>", "banks.<name>.", BankSettings))
    return "\n".join(parts)


def _table(
    title: str, prefix: str, model: type[BaseModel], defaults: object = None, *, only_plain: bool = False
) -> str:
    lines = [f"## {title}", "", "| setting | type | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {_type(field.annotation)} | {_shown(default)} | {field.description or ''} |"
        for name, field, default in _leaves(prefix, model, defaults, nested=not only_plain)
    ]
    return "\n".join(lines) + "\n"


def _leaves(
    prefix: str, model: type[BaseModel], defaults: object, *, nested: bool
) -> Iterator[tuple[str, FieldInfo, object]]:
    """Each setting with the default it has in this place: a group may be built with defaults of its own."""
    for name, field in model.model_fields.items():
        default = getattr(defaults, name) if defaults is not None else _default(field)
        inner = _model(field.annotation)
        if inner is not None and nested:
            yield from _leaves(f"{prefix}{name}.", inner, default, nested=True)
        elif inner is None and not _is_nested(field.annotation):
            yield f"{prefix}{name}", field, default


def _is_nested(annotation: object) -> bool:
    """Whether it is a table of groups, which has a section of its own."""
    if typing.get_origin(annotation) is not dict:
        return False
    value = typing.get_args(annotation)[1]
    return _model(value) is not None or typing.get_origin(value) is dict


def _model(annotation: object) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _type(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        return " or ".join(_type(part) for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is list:
        return f"list of {_type(typing.get_args(annotation)[0])}"
    if typing.get_origin(annotation) is dict:
        return f"table of {_type(typing.get_args(annotation)[1])}"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        SecretStr: "secret",
        Path: "path",
    }
    return names[annotation] if isinstance(annotation, type) else str(annotation)


_REQUIRED = object()


def _default(field: FieldInfo) -> object:
    return _REQUIRED if field.is_required() else field.get_default(call_default_factory=True)


def _shown(value: object) -> str:
    if value is _REQUIRED:
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", [], {}):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(render())
