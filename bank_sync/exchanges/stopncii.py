"""StopNCII as an exchange: what its records mean, read leniently.

What is known: records are current snapshots; a withdrawal is an ordinary record with another status; the answer
may name a next start that goes back, miss fields, or hold values nobody has documented. The strategy: an odd side
field never costs a hash, a record that can't be read is kept as a reject, and only an answer whose paging makes
no sense stops the sync, because going on could lose records. No error text quotes a record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bank_sync.bank import BankRecord, Reject
from bank_sync.exchanges.keys import BankKeys
from bank_sync.exchanges.protocol import FeedbackItem, MalformedAnswerError, Page
from bank_sync.exchanges.stopncii_client import StopNciiClient
from bank_sync.signals import PDQ, VIDEO_MD5, SignalError, parse, write

FIRST_START = 10
"""What the public client sends for a first sync; why not 0 is not documented."""

OVERLAP = 60
"""Seconds a later sync steps back: whether startTimestamp is inclusive is not documented."""

MAX_EMPTY_PAGES = 1000
"""Empty pages in a row that still claim more; a cursor that never ends would hold the sync for ever."""

_SIGNAL_TYPES = {"ImagePDQ": PDQ, "VideoMD5": VIDEO_MD5}
_FUTURE = 86400
"""A time further ahead than this is no time: taking it as a start would skip all that comes until then."""


class StopNciiExchange:
    """Adapter from the wire to pages of records."""

    first_start = FIRST_START
    overlap = OVERLAP
    snapshot = False
    max_feedback = 500

    def __init__(
        self,
        name: str,
        client: StopNciiClient,
        keys: BankKeys,
        page_size: int,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._client = client
        self._keys = keys
        self._page_size = page_size
        self._now = now

    @property
    def second_keys(self) -> frozenset[str]:
        return self._keys.seconds

    def version(self) -> str:
        return ""

    def fetch(self, start: int, token: str | None) -> Iterator[Page]:
        """Pages until the bank says there are no more. Raises ExchangeError."""
        known_tokens = {token}
        before: Page | None = None
        empty = 0
        while True:
            page = self._page(self._client.fetch_hashes(start, self._page_size, token), start)
            if page.more and page.token is None:
                raise self._malformed("it says there are more records, but gives no page token")
            if page.more and page.token in known_tokens:
                raise self._malformed("its page token leads back to a page already read")
            if (
                before is not None
                and page.more
                and page.records
                and (page.records, page.rejects) == (before.records, before.rejects)
            ):
                raise self._malformed("it gives the same page again and again")
            empty = 0 if page.records or page.rejects else empty + 1
            if empty > MAX_EMPTY_PAGES:
                raise self._malformed("it gives empty pages without end")
            yield page
            if not page.more:
                return
            known_tokens.add(page.token)
            before, token = page, page.token

    def submit_feedback(self, items: Sequence[FeedbackItem]) -> None:
        self._client.submit_feedback(
            [
                {
                    "hashValue": write(item.signal_type, item.signal),
                    "feedbackValue": item.value,
                    "tags": [],
                }
                for item in items
            ]
        )

    def close(self) -> None:
        self._client.close()

    def _page(self, told: dict[str, Any], start: int) -> Page:
        raw = told.get("hashRecords")
        if raw is None:
            raw = []
        if not isinstance(raw, list):
            raise self._malformed("its hashRecords is not a list")
        records: list[BankRecord] = []
        rejects: list[Reject] = []
        for item in raw:
            taken = read_record(item)
            if isinstance(taken, BankRecord):
                records.append(taken)
            else:
                rejects.append(taken)
        token = told.get("nextPageToken")
        if token is not None and not isinstance(token, str):
            raise self._malformed("its nextPageToken is not text")
        if token is not None and token != _text(token):
            raise self._malformed("its nextPageToken holds characters that no text has")
        token = token or None
        more = told.get("hasMoreRecords")
        if not isinstance(more, bool):
            # The last page may carry a token as well, so without the flag only an empty page ends the cursor.
            more = bool(raw) and token is not None
        return Page(tuple(records), tuple(rejects), more, token, self._next_start(told, records, start))

    def _next_start(self, told: dict[str, Any], records: Sequence[BankRecord], start: int) -> int:
        latest = self._now() + _FUTURE
        named = _whole(told.get("nextSetTimestamp"))
        if named is not None and start <= named <= latest:
            return named
        return max([start, *(r.last_modified for r in records if r.last_modified <= latest)])

    def _malformed(self, what: str) -> MalformedAnswerError:
        return MalformedAnswerError(
            f"The bank {self._name} breaks its protocol: {what}.",
            next_step="What was read before is kept. Try again later; if it stays, ask the bank.",
        )


def read_record(item: object) -> BankRecord | Reject:
    """One hashRecord, leniently; a Reject with the raw record if it holds no hash of a type that is matched."""
    if not isinstance(item, dict):
        return _reject("not_a_record", item)
    signal_type = _SIGNAL_TYPES.get(str(item.get("signalType")))
    if signal_type is None:
        return _reject("signal_type", item)
    value = item.get("hashValue")
    try:
        signal = parse(signal_type, value.strip() if isinstance(value, str) else "")
    except SignalError:
        return _reject("hash_value", item)
    status = item.get("hashStatus")
    cases = item.get("caseNumbers")
    regions = item.get("hashRegions")
    feedback = item.get("CSPFeedbacks")
    return BankRecord(
        signal_type=signal_type,
        signal=signal,
        raw_status=_text(status) if isinstance(status, str) else "",
        case_numbers={_text(str(k)): _text(str(v)) for k, v in cases.items()}
        if isinstance(cases, dict)
        else {},
        regions=_side_list(regions),
        feedback=_side_list(feedback),
        last_modified=_whole(item.get("lastModtimestamp")) or 0,
    )


def _reject(reason: str, item: object) -> Reject:
    try:
        return Reject(reason, json.dumps(item, sort_keys=True))
    except RecursionError:
        return Reject(reason, "(nested too deep to keep)")


def _side_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        return []
    try:
        return [_storable(item) for item in value]
    except RecursionError:
        return []


def _whole(value: object) -> int | None:
    """A whole number of seconds that a bigint holds, from a number or a numeric string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def _text(value: str) -> str:
    """Text that PostgreSQL can store: neither NUL nor half of a surrogate pair."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _storable(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """A JSON value that PostgreSQL can store: its texts and numbers made plain, its shape kept."""
    if isinstance(value, dict):
        return {_text(k): _storable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
