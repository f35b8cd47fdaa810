"""Rules: the policy, and of each bank what decides what matches. Two persons agree on them before they count.

Rules stay in files beside the other settings, and the database keeps what was approved: a deployment is still
described by its files, and one person who changes them changes nothing. Settings in the database alone would be a
second place to look for each value, and a refusal to start would let one person's edit, or slip, end the scanning;
so services run on with the rules that two persons agreed on, and say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from config.errors import SettingsError
from config.policy import BankSettings, ExchangeName, PolicySettings
from config.words import Words, _

_FIELDS = ("exchange", "enabled", "base_url", "path", "deadline")


class BankRules(BaseModel):
    """What of a bank's settings decides what matches; no key and no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exchange: ExchangeName
    enabled: bool
    base_url: str
    path: Path | None
    deadline: str


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs; None where it is not set."""

    setting: str
    before: str | None
    after: str | None

    @property
    def words(self) -> Words:
        if self.before is None:
            return _("%(setting)s is new: %(after)s", setting=self.setting, after=self.after)
        if self.after is None:
            return _("%(setting)s is taken out; it was %(before)s", setting=self.setting, before=self.before)
        return _(
            "%(setting)s: %(before)s becomes %(after)s",
            setting=self.setting,
            before=self.before,
            after=self.after,
        )


class Ruleset(BaseModel):
    """All rules of a deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: PolicySettings
    banks: dict[str, BankRules]

    @field_validator("banks")
    @classmethod
    def _in_order(cls, banks: dict[str, BankRules]) -> dict[str, BankRules]:
        # The database does not keep the order of names.
        return dict(sorted(banks.items()))

    @classmethod
    def of(cls, policy: PolicySettings, banks: Mapping[str, BankSettings]) -> Ruleset:
        """The rules of these settings."""
        return cls(
            policy=policy,
            banks={
                name: BankRules(**{field: getattr(bank, field) for field in _FIELDS})
                for name, bank in banks.items()
            },
        )

    @classmethod
    def read(cls, content: object) -> Ruleset:
        """Rules as they were written down. Raises SettingsError when this version does not know them."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsError(
                _(
                    "The approved rules can't be read by this version: %(setting)s: %(fault)s.",
                    setting=name,
                    fault=first["msg"],
                ),
                next_step=_(
                    "Go on with the version that ran before, and have rules approved there that both know."
                ),
            ) from None

    @property
    def revision(self) -> str:
        """Twelve hex digits that name exactly these rules, to this version."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def banks_of(self, files: Mapping[str, BankSettings]) -> dict[str, BankSettings]:
        """The banks by these rules, each reached by what the files say of it beside the rules.

        A bank that only the files have is off. Of one that they don't have any more nothing but its rules is known: it
        matches, and a bank that asks for keys can't be synced.
        """
        made = {
            name: bank.model_copy(update=dict(self.banks[name]))
            if name in self.banks
            else bank.model_copy(update={"enabled": False})
            for name, bank in files.items()
        }
        return made | {
            name: BankSettings(**dict(rules)) for name, rules in self.banks.items() if name not in files
        }

    def changes_to(self, other: Ruleset) -> list[Change]:
        """What differs in the other rules, setting by setting, in the order of their names."""
        before, after = dict(_flat(self.model_dump(mode="json"))), dict(_flat(other.model_dump(mode="json")))
        return [
            Change(name, before.get(name), after.get(name))
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]


def _flat(values: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    """Each setting by its whole name; what is empty has none."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value is not None:
            yield f"{above}{name}", str(value).lower() if isinstance(value, bool) else str(value)
