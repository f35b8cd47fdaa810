"""What an epoch is made of: the manifest, the files that it names, and what must hold of both.

A manifest never names a hash, a case number or a key: it holds counts, times, checkpoints and SHA-256s of whole files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from bank_sync.index.protocol import HASH_BYTES
from bank_sync.signals import MD5_BYTES
from config.errors import HashwardenError

FORMAT = 5

BASE_WIDTHS = {
    "pdq.hashes": HASH_BYTES,
    "pdq.entries": 8,
    "pdq.offsets": 4,
    "pdq.rows": 4,
    "frames.hashes": HASH_BYTES,
    "frames.entries": 8,
    "frames.times": 4,
    "frames.offsets": 4,
    "frames.rows": 4,
    "video_md5.hashes": MD5_BYTES,
    "video_md5.entries": 8,
}
"""The files of a base with the bytes of one row; numbers are little-endian. Rows lie in the order of their entries,
those of video_md5 in that of their digests. Offsets and rows are empty where a flat index does as well."""

DELTA_WIDTHS = {
    "pdq.hashes": HASH_BYTES,
    "pdq.entries": 8,
    "frames.hashes": HASH_BYTES,
    "frames.entries": 8,
    "frames.times": 4,
    "video_md5.hashes": MD5_BYTES,
    "video_md5.entries": 8,
    "tombstones": 8,
}
"""The files of a delta, in the same orders. Tombstones are entry ids, ascending: what the base says of them is void."""


class EpochError(HashwardenError):
    """No usable epoch, or one can't be published. `fault` says which check failed."""

    code = "epoch"

    def __init__(self, message: str, *, next_step: str = "", fault: str = "unusable") -> None:
        super().__init__(message, next_step=next_step)
        self.fault = fault


class File(TypedDict):
    """One file by its content; it is kept as `files/<sha256>`."""

    sha256: str
    bytes: int


class Lineage(TypedDict):
    """Which database a base was built from: a token that it keeps, and signs of the server and the table."""

    token: str
    signs: list[str]


class Base(TypedDict):
    """The large part of an epoch, which many epochs share: every live entry of every bank at one moment."""

    snapshot: str
    """What PostgreSQL had committed (pg_snapshot): rows of entries changed later are void."""
    lineage: Lineage
    buckets: bool
    """Whether buckets were wanted where they are quicker."""
    last_entry: int
    """The largest entry id of a row; 0 without rows."""
    built_at: str
    counts: dict[str, int]
    files: dict[str, File]


class Delta(TypedDict):
    """What changed since the base was built."""

    counts: dict[str, int]
    files: dict[str, File]


class RolledAway(TypedDict):
    """What was in force before a roll-back: it does not count as news."""

    content: str
    base: Base


class Manifest(TypedDict):
    """One epoch. `snapshot` is what had been committed at least when it was published; times are ISO 8601."""

    format: int
    number: int
    created_at: str
    content: str
    snapshot: str
    counts: dict[str, int]
    checkpoints: dict[str, Any]
    base: Base
    delta: Delta
    copy_of: NotRequired[int]
    """The epoch that first had this content, when it is rolled back to."""
    rolled_away: NotRequired[RolledAway]


def parse_manifest(raw: bytes, number: int, expected_sha256: str | None) -> Manifest:
    """The manifest in `raw`, with its SHA-256, format, number and files checked. Raises EpochError."""
    if expected_sha256 is not None and hashlib.sha256(raw).hexdigest() != expected_sha256:
        raise refused(number, "its manifest is not the one that was published", "corrupt")
    try:
        manifest: Manifest = json.loads(raw)
        usable = (
            manifest["format"] == FORMAT
            and manifest["number"] == number
            and isinstance(manifest["content"], str)
            and isinstance(manifest["snapshot"], str)
            and isinstance(manifest["base"]["snapshot"], str)
            and isinstance(manifest["base"]["lineage"]["token"], str)
            and _sound(manifest["base"]["files"], BASE_WIDTHS)
            and _sound(manifest["delta"]["files"], DELTA_WIDTHS)
            and datetime.fromisoformat(manifest["created_at"]).tzinfo is not None
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise refused(number, "its manifest is not valid", "corrupt")
    return manifest


def files_of(manifest: Manifest) -> Iterator[tuple[str, File, int]]:
    """Every file of an epoch: its name, itself and the bytes of one row."""
    for name, width in BASE_WIDTHS.items():
        yield name, manifest["base"]["files"][name], width
    for name, width in DELTA_WIDTHS.items():
        yield f"delta.{name}", manifest["delta"]["files"][name], width


def content_of(base: Base, delta: Delta) -> str:
    """One SHA-256 over all files of an epoch: equal content, equal value."""
    lines = [f"{name} {base['files'][name]['sha256']}" for name in sorted(BASE_WIDTHS)]
    lines += [f"delta.{name} {delta['files'][name]['sha256']}" for name in sorted(DELTA_WIDTHS)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def refused(number: int, why: str, fault: str) -> EpochError:
    """The error of an epoch that fails a check."""
    return EpochError(
        f"Epoch {number} is not usable: {why}.",
        next_step="Run `hashwarden index publish`, or `hashwarden index rollback` to an earlier one.",
        fault=fault,
    )


def _sound(files: Mapping[str, File], widths: Mapping[str, int]) -> bool:
    return set(files) == set(widths) and all(
        isinstance(files[name]["bytes"], int)
        and files[name]["bytes"] % width == 0
        and _is_sha256(files[name]["sha256"])
        for name, width in widths.items()
    )


def _is_sha256(text: str) -> bool:
    # It becomes a file name.
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
