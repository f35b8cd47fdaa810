"""Verifies the audit log: `python -m worker.review.audit_verify FILE`, or `python audit_verify.py FILE` anywhere.

Needs this one file and Python alone. FILE is what `hashwarden audit export` wrote: one entry a line, then the head.
An entry's hash is the SHA-256 of FORMAT, a line feed, and the entry without `hash` as JSON: keys sorted, no spaces,
all but ASCII escaped. Each entry holds the hash of the one before it; the first one holds 64 zeros.

An export for somebody who may not see all has RESTRICTED entries: links of the chain without content. That an entry
has the hash it gives can't be checked there, nor so that those before it were not changed together with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

FORMAT = "hashwarden-audit-1"
ZERO = "0" * 64
FIELDS = frozenset(
    {"seq", "at", "actor", "action", "subject_kind", "subject_id", "details", "previous", "hash"}
)

RESTRICTED = frozenset({"seq", "previous", "hash", "restricted"})
"""Of an entry that the reader of an export may not see; `restricted` is true."""


class Head(NamedTuple):
    """The newest entry: where the chain ends. (0, ZERO) is that of an empty log."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


class Fault(NamedTuple):
    """The first entry that is not as it was written, and why."""

    seq: int
    why: str


class Verdict(NamedTuple):
    """How far the log was read, and the first fault; None when there is none.

    `unchecked`: how many of the entries are restricted, and could not be checked by their content.
    """

    head: Head
    fault: Fault | None
    unchecked: int = 0


def canonical(value: dict[str, Any]) -> str:
    """The one way to write an entry as text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def hash_of(entry: dict[str, Any]) -> str:
    """The hash that an entry must have, in hex."""
    content = canonical({name: value for name, value in entry.items() if name != "hash"})
    return hashlib.sha256(f"{FORMAT}\n{content}".encode()).hexdigest()


def verify(entries: Iterable[dict[str, Any] | str], head: Head | None, noted: Iterable[Head] = ()) -> Verdict:
    """Walks the chain from its first entry. A string among the entries says why that one can't be read.

    `head`: what the log itself gives as its end. `noted`: heads written down earlier; each must still be in the chain.
    """
    wanted = {seq: value for seq, value in noted if seq > 0}
    last = Head(0, ZERO)
    unchecked = 0
    for entry in entries:
        seq = last.seq + 1
        why = entry if isinstance(entry, str) else _wrong(entry, last, wanted.pop(seq, None))
        if why:
            return Verdict(last, Fault(seq, why), unchecked)
        assert not isinstance(entry, str)  # noqa: S101 (a string is a reason)
        last = Head(seq, entry["hash"])
        unchecked += "restricted" in entry
    end = None if head is None else _wrong_end(head, last)
    if end is None and wanted:
        end = Fault(last.seq + 1, f"it is missing: entry {min(wanted)} was noted down")
    return Verdict(last, end, unchecked)


def _wrong_end(head: Head, last: Head) -> Fault | None:
    if head.seq > last.seq:
        return Fault(last.seq + 1, f"it is missing: the head is entry {head.seq}")
    if head.seq < last.seq:
        return Fault(head.seq + 1, "the head of the log stands before it")
    return None if head == last else Fault(max(head.seq, 1), "the head of the log has another hash")


def _wrong(entry: dict[str, Any], last: Head, noted: str | None) -> str:
    restricted = entry.keys() == RESTRICTED and entry["restricted"] is True and _is_hash(entry["hash"])
    if not restricted and entry.keys() != FIELDS:
        return "it has other fields than an entry"
    if type(entry["seq"]) is not int or entry["seq"] != last.seq + 1:
        return f"entry {entry['seq']} stands in its place"
    if entry["previous"] != last.hash:
        return "it does not follow the entry before it"
    if not restricted and entry["hash"] != hash_of(entry):
        return "its content does not have its hash"
    if noted is not None and entry["hash"] != noted:
        return "it is not the entry that was noted down"
    return ""


def _is_hash(found: object) -> bool:
    return isinstance(found, str) and len(found) == 64 and not set(found) - set("0123456789abcdef")


def read_export(file: Iterable[bytes]) -> Iterator[dict[str, Any] | Head | str]:
    """The entries of an export and its head; a string where a line is no entry, as an export writes it."""
    for line in file:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        # Byte for byte: a line that only means the same is not what was written.
        if not isinstance(value, dict) or f"{canonical(value)}\n".encode() != line:
            yield "its line is not as an export writes it"
        elif value.keys() == {"format", "head"} and value["format"] == FORMAT:
            found = value["head"]
            yield Head(found["seq"], found["hash"]) if _is_head(found) else "its line is no head"
        else:
            yield value


def _is_head(found: object) -> bool:
    return isinstance(found, dict) and found.keys() == {"seq", "hash"} and type(found["seq"]) is int


def verify_export(file: Iterable[bytes], noted: Iterable[Head] = ()) -> Verdict:
    """As `verify`, over the lines of an exported file; without its head at the very end it is cut off."""
    heads: list[Head] = []

    def entries() -> Iterator[dict[str, Any] | str]:
        for found in read_export(file):
            if heads:
                yield "something follows the head"
            elif isinstance(found, Head):
                heads.append(found)
            else:
                yield found

    verdict = verify(entries(), None, noted)
    if verdict.fault is not None:
        return verdict
    if not heads:
        return verdict._replace(fault=Fault(verdict.head.seq + 1, "the file ends without the head"))
    return verdict._replace(fault=_wrong_end(heads[0], verdict.head))


def parse_head(text: str) -> Head:
    """`SEQ:HASH`, as `audit verify` prints it. Raises ValueError."""
    seq, found, value = text.partition(":")
    if not (found and seq.isascii() and seq.isdecimal() and len(value) == 64):
        raise ValueError("a head looks like 42:9f86d0...; `hashwarden audit verify` prints it")
    int(value, 16)
    return Head(int(seq), value.lower())


def main() -> int:
    """Exit code 0: unchanged; 1: not."""
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    parser.add_argument("file", help="what `hashwarden audit export` wrote")
    parser.add_argument("--head", action="append", default=[], help="SEQ:HASH noted down earlier")
    arguments = parser.parse_args()
    try:
        noted = [parse_head(text) for text in arguments.head]
        with open(arguments.file, "rb") as file:  # noqa: PTH123 (one file that runs anywhere)
            head, fault, unchecked = verify_export(file, noted)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{arguments.file} can't be verified: {error}\n")
        return 1
    are = (
        f"follow one another; {unchecked} of them are restricted and could not be checked by their content"
        if unchecked
        else "are unchanged"
    )
    if fault is not None:
        sys.stdout.write(f"Entry {fault.seq}: {fault.why}. The {head.seq} entries before it {are}.\n")
        return 1
    sys.stdout.write(f"{head.seq} entries {are}. Head {head}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
