"""The practice-only door of the practice bank, for the demonstration and the tests."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any

import httpx
from pydantic import SecretStr

from bank_sync.sandbox.app import PracticeKeys
from bank_sync.sandbox.wire import Case
from bank_sync.signals import PDQ, VIDEO_MD5, write
from config.policy import BankSettings

_WIRE_TYPES = {PDQ: "ImagePDQ", VIDEO_MD5: "VideoMD5"}


class PracticeClient:
    """Opens and withdraws cases at a practice bank and sets its faults. Use it as a context manager."""

    def __init__(self, base_url: str, *, timeout: float = 10) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, timeout=timeout)

    def __enter__(self) -> PracticeClient:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._http.close()

    def bank_settings(self, **overrides: Any) -> BankSettings:  # noqa: ANN401 (pydantic validates each value)
        """Settings of a bank that is this practice bank."""
        keys = PracticeKeys()
        return BankSettings(
            **{
                "exchange": "stopncii",
                "base_url": self.base_url,
                "subscription_key": SecretStr(keys.subscription),
                "fetch_key": SecretStr(keys.fetch),
                "feedback_key": SecretStr(keys.feedback),
                **overrides,
            }
        )

    def open_case(self, signals: Iterable[tuple[str, bytes]]) -> Case:
        """A new case over packed signals of type pdq or video_md5."""
        hashes = [
            {"signalType": _WIRE_TYPES[signal_type], "hashValue": write(signal_type, signal)}
            for signal_type, signal in signals
        ]
        told = self._told(self._http.post("/practice/cases", json={"hashes": hashes}))
        return Case(told["caseNumber"], told["pin"])

    def withdraw(self, case: Case, *, delete: bool = False) -> None:
        """Takes a case back, as its owner would."""
        self._told(
            self._http.post(
                f"/practice/cases/{case.number}/withdraw", json={"pin": case.pin, "delete": delete}
            )
        )

    def reopen(self, case: Case) -> None:
        """Makes a withdrawn case active again."""
        self._told(self._http.post(f"/practice/cases/{case.number}/reopen", json={"pin": case.pin}))

    def progress(self, case: Case) -> dict[str, Any]:
        """What platforms said of each hash of the case."""
        return self._told(self._http.get(f"/practice/cases/{case.number}", params={"pin": case.pin}))

    def set_faults(self, **faults: dict[str, Any]) -> None:
        """Sets exactly these faults; none without arguments."""
        self._told(self._http.put("/practice/faults", json=faults))

    @staticmethod
    def _told(answer: httpx.Response) -> dict[str, Any]:
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told
