"""What a person's browser may send to open a case: hashes, and not one byte more."""

from __future__ import annotations

import json
import re
from typing import Any

from bank_sync.sandbox.wire import Case, Key, PracticeBank, PracticeError

MOST_BYTES = 32 * 1024
MOST_HASHES = 200

_SYNTAX = {"ImagePDQ": re.compile(r"[0-9a-f]{64}"), "VideoMD5": re.compile(r"[0-9a-f]{32}")}
_SENT_TWICE = re.compile(r"[0-9a-f]{32}")


class Intake:
    """Opens cases; the same letter sent twice opens one, so that a lost answer leaves no case without an owner."""

    def __init__(self, bank: PracticeBank) -> None:
        self._bank = bank
        self._opened: dict[str, tuple[tuple[Key, ...], Case]] = {}

    def open_case(self, body: bytes, letter: str) -> Case:
        """A case over the hashes of this JSON; `letter` is a random name of 32 hexadecimal digits for it.

        Raises PracticeError for anything that is not just hashes.
        """
        if not _SENT_TWICE.fullmatch(letter):
            raise PracticeError(400, "Idempotency-Key must be 32 hexadecimal digits.")
        hashes = _hashes(body)
        if letter in self._opened:
            before, case = self._opened[letter]
            if before != hashes:
                raise PracticeError(409, "Other hashes were sent under this Idempotency-Key.")
            return case
        case = self._bank.open_case(hashes)
        self._opened[letter] = hashes, case
        return case


def _hashes(body: bytes) -> tuple[Key, ...]:
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or set(told) != {"hashes"} or not isinstance(told["hashes"], list):
        raise PracticeError(400, 'The body must be {"hashes": [...]} and nothing else.')
    if not 0 < len(told["hashes"]) <= MOST_HASHES:
        raise PracticeError(400, f"A case holds 1 to {MOST_HASHES} hashes.")
    return tuple(dict.fromkeys(_hash(item) for item in told["hashes"]))


def _hash(item: object) -> Key:
    if isinstance(item, dict) and set(item) == {"signalType", "hashValue"}:
        kind, value = item["signalType"], item["hashValue"]
        syntax = _SYNTAX.get(kind) if isinstance(kind, str) else None
        if syntax is not None and isinstance(value, str) and syntax.fullmatch(value):
            return kind, value
    raise PracticeError(
        400, "A hash is {signalType, hashValue}: ImagePDQ of 64 or VideoMD5 of 32 hexadecimal digits."
    )
