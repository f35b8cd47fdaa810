"""The faults that real banks have shown, as switches: each bends one answer of the practice bank.

A fault takes `{}` or its parameters; `times` limits how many answers it bends.
"""

from __future__ import annotations

import threading
from typing import Any

from bank_sync.sandbox.wire import PracticeError

FAULTS: dict[str, str] = {
    "truncated_json": "the answer stops half way",
    "html_200": "a web page instead of JSON, with status 200",
    "records_not_list": "hashRecords is a string",
    "null_records": "hashRecords is null",
    "absent_records": "hashRecords is missing",
    "null_record": "one record of the list is null",
    "undefined_feedback": "a platform's feedbackValue is Undefined",
    "empty_case_list_as_array": "caseNumbers is [] when there are none, or always with `always`",
    "null_case_numbers": "caseNumbers is null",
    "null_tags": "tags of a feedback is null",
    "null_feedback": "CSPFeedbacks is null",
    "short_pdq": "an additional record with a PDQ of 32 characters",
    "unsupported_signal": "an additional record of a signal type that no client knows",
    "nul_characters": "regions hold a NUL character and half a surrogate pair",
    "uppercase_hex": "hashes in upper case",
    "string_timestamp": "lastModtimestamp is a numeric string",
    "odd_timestamp": "lastModtimestamp is far out of range",
    "unknown_status": "hashStatus is a word nobody knows; `status` says which",
    "missing_status": "hashStatus is missing",
    "cases_disagree": "hashStatus stays Active although every case is withdrawn",
    "extra_keys": "keys that nobody knows, in the answer and in records",
    "missing_has_more": "hasMoreRecords is missing",
    "missing_next_set": "nextSetTimestamp is missing",
    "more_without_token": "hasMoreRecords is true and nextPageToken null",
    "same_page": "every page is the first one and says there are more",
    "rewinding_timestamp": "nextSetTimestamp goes back from page to page",
    "future_timestamp": "nextSetTimestamp is in milliseconds",
    "duplicate_across_pages": "each page begins with the first record of the former one",
    "token_expires": "page tokens last `seconds` (0)",
    "status": "answers with HTTP status `code` (500), Retry-After `retry_after` if given",
    "post_204": "POST answers 204 without a body",
    "post_empty": "POST answers 200 without a body",
    "slow": "waits `seconds` (1) before it answers",
    "empty": "shows no records at all",
}
SHORT_PDQ = "0" * 32


class Faults:
    """The switches that are on. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on: dict[str, dict[str, Any]] = {}
        self._first: dict[str, Any] | None = None

    def set(self, wanted: object) -> None:
        """Replaces all switches. Raises PracticeError for one that does not exist."""
        if not isinstance(wanted, dict) or any(
            name not in FAULTS or not isinstance(params, dict) for name, params in wanted.items()
        ):
            raise PracticeError(
                400, f"Faults are an object of name and parameters; names: {', '.join(FAULTS)}."
            )
        with self._lock:
            self._on = {name: dict(params) for name, params in wanted.items()}
            self._first = None

    def listed(self) -> dict[str, dict[str, Any]]:
        """The switches that are on, with what is left of their `times`."""
        with self._lock:
            return {name: dict(params) for name, params in self._on.items()}

    def use(self, name: str) -> dict[str, Any] | None:
        """The fault's parameters if it is on, counting one use."""
        with self._lock:
            params = self._on.get(name)
            if params is None:
                return None
            if "times" in params:
                if params["times"] <= 0:
                    return None
                params["times"] -= 1
            return dict(params)

    def bend_page(self, body: dict[str, Any], *, first: bool) -> dict[str, Any]:
        """The answer of FetchHashes with the faults of its records and of its frame."""
        records: list[Any] = body["hashRecords"]
        if self.use("empty") is not None:
            records.clear()
        for record in records:
            self._bend_record(record)
        self._add_records(records)
        with self._lock:
            before, self._first = self._first, (dict(records[0]) if records and records[0] else None)
        if not first and before is not None and self.use("duplicate_across_pages") is not None:
            records.insert(0, before)
        body["count"] = len(records)
        self._bend_frame(body, first=first)
        return body

    def _add_records(self, records: list[Any]) -> None:
        extra = {"lastModtimestamp": 11, "hashStatus": "Active", "caseNumbers": {}}
        if self.use("short_pdq") is not None:
            records.append({"signalType": "ImagePDQ", "hashValue": SHORT_PDQ} | extra)
        if self.use("unsupported_signal") is not None:
            records.append({"signalType": "PhotoDNA", "hashValue": "AAAA"} | extra)
        if self.use("null_record") is not None:
            records.append(None)

    def _bend_record(self, record: dict[str, Any]) -> None:
        if self.use("undefined_feedback") is not None:
            record["CSPFeedbacks"].append({"source": "other", "feedbackValue": "Undefined", "tags": ["Nude"]})
        if self.use("null_tags") is not None:
            record["CSPFeedbacks"].append({"source": "other", "feedbackValue": "None", "tags": None})
        if self.use("null_feedback") is not None:
            record["CSPFeedbacks"] = None
        if (params := self.use("empty_case_list_as_array")) is not None and (
            params.get("always") or not record["caseNumbers"]
        ):
            record["caseNumbers"] = []
        if self.use("null_case_numbers") is not None:
            record["caseNumbers"] = None
        if self.use("uppercase_hex") is not None:
            record["hashValue"] = record["hashValue"].upper()
        if self.use("string_timestamp") is not None:
            record["lastModtimestamp"] = str(record["lastModtimestamp"])
        if self.use("odd_timestamp") is not None:
            record["lastModtimestamp"] = 10**30
        if (params := self.use("unknown_status")) is not None:
            record["hashStatus"] = params.get("status", "Paused")
        if self.use("missing_status") is not None:
            record.pop("hashStatus")
        if self.use("cases_disagree") is not None:
            record["hashStatus"] = "Active"
        if self.use("nul_characters") is not None:
            record["hashRegions"] = ["U\x00K", "\ud800"]
        if self.use("extra_keys") is not None:
            record["severity"] = {"level": [1, None, 2.5]}

    def _bend_frame(self, body: dict[str, Any], *, first: bool) -> None:
        if self.use("null_records") is not None:
            body["hashRecords"] = None
        if self.use("absent_records") is not None:
            body.pop("hashRecords")
        if self.use("records_not_list") is not None:
            body["hashRecords"] = "none"
        if self.use("missing_has_more") is not None:
            body.pop("hasMoreRecords")
        if self.use("more_without_token") is not None:
            body |= {"hasMoreRecords": True, "nextPageToken": None}
        if self.use("rewinding_timestamp") is not None and not first:
            body["nextSetTimestamp"] = 20
        if self.use("future_timestamp") is not None:
            body["nextSetTimestamp"] *= 1000
        if self.use("missing_next_set") is not None:
            body.pop("nextSetTimestamp")
        if self.use("extra_keys") is not None:
            body["serverBuild"] = "practice"
