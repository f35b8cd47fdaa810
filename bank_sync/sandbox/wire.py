"""The practice bank's memory: hashes, cases, feedback and the order in which they changed.

Follows the StopNCII partner wire as its public clients read it; nothing is kept when the process ends.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bank_sync.sandbox.guesses import Guesses

TOKEN_SECONDS = 3600
SIGNAL_TYPES = frozenset({"ImagePDQ", "VideoMD5", "VideoTMK", "Text", "URL"})
_NO_CASE = "No case has this number and PIN."
GONE = frozenset({"Withdrawn", "Deleted"})
"""The status of a case that was taken back."""

Key = tuple[str, str]


class PracticeError(Exception):
    """A call that the practice bank refuses: an HTTP status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class _Hash:
    signal_type: str
    value: str
    modified: int
    cases: dict[str, str] = field(default_factory=dict)
    feedback: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By platform: a platform's newer feedback replaces its older one."""
    pulled: dict[str, dict[str, str]] = field(default_factory=dict)
    """By platform: the cases and their status with which it last pulled the hash."""

    @property
    def status(self) -> str:
        if not self.cases:
            return "Active"
        states = self.cases.values()
        if all(state in GONE for state in states):
            return "Deleted" if "Deleted" in states else "Withdrawn"
        return "Active"

    def record(self) -> dict[str, Any]:
        return {
            "lastModtimestamp": self.modified,
            "signalType": self.signal_type,
            "hashValue": self.value,
            "hashStatus": self.status,
            "caseNumbers": dict(self.cases),
            "CSPFeedbacks": [{"source": source} | said for source, said in self.feedback.items()],
            "hashRegions": ["UK"],
        }


@dataclass(frozen=True, slots=True)
class Case:
    """What the person who opened it needs to come back."""

    number: str
    pin: str


@dataclass(frozen=True, slots=True)
class _Opened:
    """A case as the bank keeps it: its hashes in the order in which they were sent."""

    pin: str
    pairs: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page begins, and what the token was made for."""

    start: int
    after: tuple[int, str, str]
    high: int
    issued_at: float

    def token(self) -> str:
        raw = json.dumps([self.start, *self.after, self.high, self.issued_at, secrets.token_hex(4)])
        return base64.b64encode(raw.encode()).decode()

    @classmethod
    def read(cls, token: str) -> Cursor:
        """Raises PracticeError for a token that this bank did not make."""
        try:
            start, modified, kind, value, high, issued_at, _ = json.loads(
                base64.b64decode(token, validate=True)
            )
            return cls(int(start), (int(modified), str(kind), str(value)), int(high), float(issued_at))
        except (binascii.Error, ValueError, TypeError):
            raise PracticeError(400, "The page token is not valid.") from None


class PracticeBank:
    """All hashes of all cases, in the order in which they last changed. Safe from several threads."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._hashes: dict[Key, _Hash] = {}
        self._ordered: list[tuple[int, str, str]] | None = None
        self._cases: dict[str, _Opened] = {}
        self._guesses = Guesses(now)

    def open_case(self, hashes: Iterable[Key]) -> Case:
        """A new case over these (signal type, value) pairs; a hash may belong to several cases."""
        pairs = list(hashes)
        if not pairs or any(kind not in SIGNAL_TYPES or not value for kind, value in pairs):
            raise PracticeError(400, "A case needs hashes, each with a known signalType and a hashValue.")
        with self._lock:
            case = Case(str(uuid.uuid4()), f"{secrets.randbelow(10**6):06d}")
            self._cases[case.number] = _Opened(case.pin, tuple(dict.fromkeys(pairs)))
            for pair in pairs:
                self._touch(pair).cases[case.number] = "Received"
            return case

    def end_case(self, number: str, pin: str, status: str) -> int:
        """Withdraws or deletes a case; how many hashes that touches.

        What takes a PIN raises PracticeError for a wrong one and, after too many of them, for any.
        """
        with self._lock:
            pairs = self._opened(number, pin).pairs
            for pair in pairs:
                self._touch(pair).cases[number] = status
            return len(pairs)

    def reopen_case(self, number: str, pin: str) -> int:
        """Makes a withdrawn case active again; how many hashes that touches."""
        return self.end_case(number, pin, "Active")

    def progress(self, number: str, pin: str) -> dict[str, Any]:
        """What platforms said of each hash of a case, as they were sent; the hashes themselves are not repeated.

        `pulled`: by platform, the case's status when it last pulled the hash; None if that was before the case.
        """
        with self._lock:
            hashes = [self._hashes[pair] for pair in self._opened(number, pin).pairs]
            return {
                "caseNumber": number,
                "status": hashes[0].cases[number],
                "hashes": [
                    {
                        "signalType": known.signal_type,
                        "status": known.status,
                        "feedback": [{"source": source} | said for source, said in known.feedback.items()],
                        "pulled": {source: cases.get(number) for source, cases in known.pulled.items()},
                    }
                    for known in hashes
                ],
            }

    def page(
        self, platform: str, start: int, size: int, token: str | None, token_seconds: float
    ) -> tuple[list[dict[str, Any]], int, str, bool]:
        """What a platform pulls: records, next set timestamp, page token and whether there are more."""
        with self._lock:
            cursor = Cursor(start, (start, "", ""), start, self._now())
            if token is not None:
                cursor = Cursor.read(token)
                if self._now() - cursor.issued_at >= token_seconds or cursor.start != start:
                    raise PracticeError(400, "The page token has expired.")
            if self._ordered is None:
                self._ordered = sorted((known.modified, *pair) for pair, known in self._hashes.items())
            begin = bisect_right(self._ordered, cursor.after)
            served = self._ordered[begin : begin + size]
            pulled = [self._hashes[(kind, value)] for _, kind, value in served]
            for known in pulled:
                known.pulled[platform] = dict(known.cases)
            records = [known.record() for known in pulled]
            high = max([cursor.high, *(modified for modified, _, _ in served)])
            after = served[-1] if served else cursor.after
            following = Cursor(start, after, high, self._now())
            return records, high, following.token(), begin + size < len(self._ordered)

    def submit_hashes(self, platform: str, records: Sequence[dict[str, Any]]) -> None:
        """Takes a platform's own hashes, with its feedback."""
        with self._lock:
            for record in records:
                pair = (str(record.get("signalType")), str(record.get("hashValue")))
                if pair[0] not in SIGNAL_TYPES:
                    raise PracticeError(400, "A record has no known signalType.")
                self._touch(pair)
                for said in record.get("CSPFeedbacks") or []:
                    self._say(platform, pair, said)

    def submit_feedback(self, platform: str, items: Sequence[dict[str, Any]]) -> None:
        """Takes a platform's feedback; all of it or, if a hash is unknown, nothing."""
        with self._lock:
            by_value = {pair[1].lower(): pair for pair in self._hashes}
            pairs = [by_value.get(str(item.get("hashValue")).lower()) for item in items]
            if None in pairs or any(not item.get("feedbackValue") for item in items):
                raise PracticeError(400, "A feedback names no known hash or no feedbackValue.")
            for pair, item in zip(pairs, items, strict=True):
                if pair is not None:
                    self._say(platform, pair, item)

    def counts(self) -> dict[str, int]:
        """How much it holds."""
        with self._lock:
            return {"cases": len(self._cases), "hashes": len(self._hashes)}

    def _say(self, platform: str, pair: Key, said: dict[str, Any]) -> None:
        feedback = {"feedbackValue": said.get("feedbackValue"), "tags": said.get("tags") or []}
        if self._hashes[pair].feedback.get(platform) != feedback:
            self._touch(pair).feedback[platform] = feedback

    def _touch(self, pair: Key) -> _Hash:
        known = self._hashes.setdefault(pair, _Hash(*pair, modified=0))
        known.modified = int(self._now())
        self._ordered = None
        return known

    def _opened(self, number: str, pin: str) -> _Opened:
        case = self._cases.get(number)
        # Numbers are beyond guessing; only tries at a case that exists are counted, so that nobody fills the memory.
        if case is None:
            raise PracticeError(403, _NO_CASE)
        if self._guesses.wait(number):
            raise PracticeError(
                429, "The PIN of this case was wrong too often. Try again in a quarter of an hour."
            )
        right = secrets.compare_digest(case.pin.encode(), pin.encode(errors="replace"))
        self._guesses.count(number, right=right)
        if not right:
            raise PracticeError(403, _NO_CASE)
        return case
