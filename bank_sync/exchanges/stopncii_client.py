"""The raw StopNCII partner wire: two keys a call, bounded retries, JSON objects in and out.

What no client outside the partnership has seen is not assumed: any 2xx is success, a POST's answer may be
empty. No key, page token or hash ever reaches an error text: httpx's own messages are never passed on.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from bank_sync.exchanges.keys import BankKeys
from bank_sync.exchanges.protocol import (
    ExchangeError,
    KeysRefusedError,
    MalformedAnswerError,
    RequestRejectedError,
    TokenRejectedError,
    UnreachableError,
)

RETRIES = 4
"""Further tries of a GET after the first: what the public client does."""

BACKOFF = 0.2
"""Seconds before the first retry; doubled each time."""

MAX_WAIT = 60.0
"""The longest Retry-After that is waited for within one call; a longer one ends it and is passed on."""

MAX_BYTES = 64 * 2**20
"""Largest answer read: a page of 10,000 records with long feedback is under a tenth of it."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_KEYS = frozenset({401, 403})


class StopNciiClient:
    """One connection pool to one bank. `name` is the bank's name in settings, for error texts."""

    def __init__(
        self,
        name: str,
        base_url: str,
        keys: BankKeys,
        *,
        timeout: float,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        # A trailing slash would ask for //FetchHashes.
        self._base_url = base_url.rstrip("/")
        self._keys = keys
        self._pause = pause
        # A redirect would carry the keys to another host.
        self._http = httpx.Client(timeout=timeout, follow_redirects=False)

    def fetch_hashes(self, start: int, page_size: int, token: str | None) -> dict[str, Any]:
        """One FetchHashes answer. Raises ExchangeError; TokenRejectedError if only the token is at fault."""
        params: dict[str, str] = {"startTimestamp": str(start), "pageSize": str(page_size)}
        if token is not None:
            params["nextPageToken"] = token

        def ask(headers: Mapping[str, str]) -> bytes:
            return self._call("GET", "FetchHashes", headers, params=params)

        for attempt in range(RETRIES + 1):
            try:
                return self._object(self._keys.call("fetch_key", ask))
            except UnreachableError as error:
                wait = BACKOFF * 2**attempt if error.retry_after is None else error.retry_after
                if attempt == RETRIES or wait > MAX_WAIT:
                    raise
                self._pause(wait)
            except RequestRejectedError:
                if token is None:
                    raise
                raise TokenRejectedError(
                    f"The bank {self._name} no longer knows its page token.",
                    next_step="The next sync starts this cursor afresh.",
                ) from None
        raise AssertionError("unreachable")

    def submit_feedback(self, items: Sequence[Mapping[str, Any]]) -> None:
        """One SubmitFeedback call, tried once: whoever calls keeps the items and tries again."""
        body = {"count": len(items), "hashFeedbacks": list(items)}
        self._keys.call(
            "feedback_key", lambda headers: self._call("POST", "SubmitFeedback", headers, body=body)
        )

    def close(self) -> None:
        self._http.close()

    def _call(
        self,
        method: str,
        endpoint: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        try:
            with self._http.stream(
                method, f"{self._base_url}/{endpoint}", headers=dict(headers), params=params, json=body
            ) as answer:
                self._check_status(answer, endpoint)
                raw = bytearray()
                for chunk in answer.iter_bytes():
                    raw += chunk
                    if len(raw) > MAX_BYTES:
                        raise MalformedAnswerError(
                            f"The bank {self._name} answered with more than {MAX_BYTES} bytes.",
                            next_step="Lower its page_size.",
                        )
                return bytes(raw)
        except (
            httpx.UnsupportedProtocol,
            httpx.LocalProtocolError,
            httpx.InvalidURL,
            UnicodeError,
            ValueError,
        ) as error:
            raise RequestRejectedError(
                f"The bank {self._name} can't be asked ({type(error).__name__}).",
                next_step="Check its base_url and keys.",
            ) from None
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"The bank {self._name} can't be reached ({type(error).__name__}).",
                next_step="Check its base_url and the network; the sync goes on where it stopped.",
            ) from None

    def _check_status(self, answer: httpx.Response, endpoint: str) -> None:
        status = answer.status_code
        if 200 <= status < 300:
            return
        text = f"The bank {self._name} answered {endpoint} with HTTP status {status}."
        kind: type[ExchangeError] = RequestRejectedError
        next_step = "Check its base_url; if it is right, ask the bank."
        if status in _PASSING:
            kind, next_step = UnreachableError, "Try again later; the sync goes on where it stopped."
        elif status in _KEYS:
            kind, next_step = KeysRefusedError, "Check subscription_key and the endpoint's own key."
        raise kind(text, next_step=next_step, retry_after=_retry_after(answer.headers.get("Retry-After")))

    def _object(self, raw: bytes) -> dict[str, Any]:
        try:
            told = json.loads(raw.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise MalformedAnswerError(
                f"The bank {self._name} answered with something that is not a JSON object.",
                next_step="Nothing was taken from that page. Try again later; if it stays, ask the bank.",
            )
        return told


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
