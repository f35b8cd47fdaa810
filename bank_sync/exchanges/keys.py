"""The keys of one bank, each with a second one while it is being changed: which pair the bank takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeVar

from pydantic import SecretStr

from bank_sync.exchanges.protocol import KeysRefusedError
from config.policy import BankSettings

EndpointKey = Literal["fetch_key", "feedback_key"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Pair:
    headers: Mapping[str, str]
    seconds: frozenset[str]
    """Settings of which it holds the second key."""


class BankKeys:
    """Tries the first keys, and where the bank refuses those the second ones; keeps to what it took."""

    def __init__(self, name: str, bank: BankSettings) -> None:
        self._name = name
        self._keys: dict[str, tuple[SecretStr | None, SecretStr | None]] = {
            "subscription_key": (bank.subscription_key, bank.second_subscription_key),
            "fetch_key": (bank.fetch_key, bank.second_fetch_key),
            "feedback_key": (bank.feedback_key, bank.second_feedback_key),
        }
        self._taken: dict[EndpointKey, _Pair] = {}

    @property
    def seconds(self) -> frozenset[str]:
        """Settings of which the bank took the second key, because it refused the first."""
        return frozenset[str]().union(*(pair.seconds for pair in self._taken.values()))

    def call(self, setting: EndpointKey, ask: Callable[[Mapping[str, str]], _T]) -> _T:
        """What `ask` returns with the first headers that the bank takes.

        Raises KeysRefusedError when it takes none or a key is missing, and what else `ask` raises.
        """
        pairs = self._pairs(setting)
        for pair in pairs:
            try:
                answer = ask(pair.headers)
            except KeysRefusedError:
                # Which of both keys it refuses is not told: every pair is tried.
                if pair is pairs[-1]:
                    raise
            else:
                self._taken[setting] = pair
                return answer
        raise AssertionError("unreachable")

    def _pairs(self, setting: EndpointKey) -> list[_Pair]:
        pairs = [
            _Pair(
                {"Ocp-Apim-Subscription-Key": subscription, "x-functions-key": function},
                frozenset(name for name, second in (("subscription_key", one), (setting, other)) if second),
            )
            for (one, subscription), (other, function) in product(
                self._given("subscription_key"), self._given(setting)
            )
        ]
        taken = self._taken.get(setting)
        return pairs if taken is None else [taken, *(pair for pair in pairs if pair != taken)]

    def _given(self, setting: str) -> list[tuple[bool, str]]:
        """The keys that are set, each with whether it is the second one."""
        given = [
            (second, key.get_secret_value())
            for second, key in enumerate(self._keys[setting])
            if key is not None and key.get_secret_value()
        ]
        if not given:
            raise KeysRefusedError(
                f"The bank {self._name} has no {setting}.",
                next_step=f"Set HASHWARDEN_BANKS__{self._name.upper()}__{setting.upper()}.",
            )
        return [(bool(second), key) for second, key in given]
