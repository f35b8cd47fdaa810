"""The verifier of the audit log: an export as it was written passes, and one changed byte or line never does."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.review import audit_verify
from worker.review.audit_verify import FORMAT, ZERO, Head, canonical, hash_of, parse_head, verify_export

Entry = dict[str, Any]


def chain(actions: list[str]) -> list[Entry]:
    made: list[Entry] = []
    previous = ZERO
    for seq, action in enumerate(actions, 1):
        entry: Entry = {
            "seq": seq,
            "at": f"2026-01-02T03:04:05.{seq:06}Z",
            "actor": "reviewer-7f3a",
            "action": action,
            "subject_kind": "review",
            "subject_id": str(seq),
            "details": {"verdict": "lawful", "moved": seq},
            "previous": previous,
        }
        entry["hash"] = previous = hash_of(entry)
        made.append(entry)
    return made


def exported(entries: list[Entry]) -> bytes:
    head = {"seq": len(entries), "hash": entries[-1]["hash"] if entries else ZERO}
    lines = [*map(canonical, entries), canonical({"format": FORMAT, "head": head})]
    return "".join(f"{line}\n" for line in lines).encode()


def checked(data: bytes, *noted: Head) -> audit_verify.Verdict:
    return verify_export(io.BytesIO(data), noted)


FIVE = chain(["sign_in", "look", "decision", "löok \u2028", "sign_out"])


@given(st.lists(st.text(), max_size=6))
def test_what_was_exported_is_unchanged(actions: list[str]) -> None:
    verdict = checked(exported(chain(actions)))
    assert verdict.fault is None
    assert verdict.head.seq == len(actions)


@settings(max_examples=400)
@given(st.data())
def test_one_changed_byte_is_found(data: st.DataObject) -> None:
    whole = exported(FIVE)
    place = data.draw(st.integers(0, len(whole) - 1))
    mask = data.draw(st.integers(1, 255))
    changed = whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :]
    fault = checked(changed).fault
    assert fault is not None
    line = whole[:place].count(b"\n") + 1
    # The first bad entry is that of the byte, or the one after it where only the end of a line was touched.
    assert fault.seq in {line, line + 1} or line > len(FIVE)


@given(st.data())
def test_a_removed_moved_or_inserted_entry_is_found(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 4))
    other = data.draw(st.integers(0, 4).filter(lambda value: value != place))
    removed = FIVE[:place] + FIVE[place + 1 :]
    moved = list(FIVE)
    moved[place], moved[other] = moved[other], moved[place]
    inserted = [*FIVE[:place], FIVE[other], *FIVE[place:]]
    for entries, first in ((removed, place), (moved, min(place, other)), (inserted, place)):
        lines = exported(FIVE).splitlines(keepends=True)[-1:]
        fault = verify_export([f"{canonical(entry)}\n".encode() for entry in entries] + lines).fault
        assert fault is not None
        assert fault.seq == first + 1


def test_an_entry_that_was_hashed_anew_breaks_the_next_one() -> None:
    forged = [dict(entry) for entry in FIVE]
    forged[2]["action"] = "nothing"
    forged[2]["hash"] = hash_of(forged[2])
    fault = checked(exported(forged)).fault
    assert fault is not None
    assert fault.seq == 4


def test_a_noted_head_finds_a_log_that_was_cut_off_or_written_anew() -> None:
    noted = Head(5, FIVE[4]["hash"])
    assert checked(exported(FIVE), noted, Head(2, FIVE[1]["hash"])).fault is None
    cut = checked(exported(FIVE[:3]), noted).fault
    assert cut is not None
    assert cut.seq == 4
    anew = checked(exported(chain(["look"] * 5)), noted).fault
    assert anew is not None
    assert anew.seq == 5


def test_an_export_that_was_cut_off_has_no_head() -> None:
    fault = checked(b"".join(exported(FIVE).splitlines(keepends=True)[:-1])).fault
    assert fault is not None
    assert fault.seq == 6


@pytest.mark.parametrize("text", ["", "5", "5:abc", "x:" + "0" * 64, "5:" + "g" * 64, "-1:" + "0" * 64])
def test_a_head_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_head(text)


def test_the_one_file_runs_anywhere(tmp_path: Path) -> None:
    script, file = tmp_path / "audit_verify.py", tmp_path / "audit.jsonl"
    script.write_bytes(Path(audit_verify.__file__).read_bytes())

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 (our own file)
            [sys.executable, "-I", "-S", script.name, file.name, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    file.write_bytes(exported(FIVE))
    done = run("--head", f"5:{FIVE[4]['hash']}")
    assert (done.returncode, done.stdout) == (0, f"5 entries are unchanged. Head 5:{FIVE[4]['hash']}\n")
    file.write_bytes(exported(FIVE).replace(b"decision", b"decisiom"))
    done = run()
    assert done.returncode == 1
    assert done.stdout.startswith("Entry 3: its content does not have its hash.")
    file.unlink()
    assert "can't be verified" in run().stderr
    assert run("--head", "nonsense").returncode == 1


def restricted(entry: Entry) -> Entry:
    return {name: entry[name] for name in ("seq", "previous", "hash")} | {"restricted": True}


def test_restricted_entries_are_links_of_the_chain_and_counted() -> None:
    some = [restricted(entry) if entry["seq"] in {2, 4} else entry for entry in FIVE]
    verdict = checked(exported(some), Head(4, FIVE[3]["hash"]))
    assert (verdict.fault, verdict.head, verdict.unchecked) == (None, Head(5, FIVE[4]["hash"]), 2)
    assert checked(exported(FIVE)).unchecked == 0


@pytest.mark.parametrize(
    ("change", "seq"),
    [
        ({"hash": "0" * 64}, 3),
        ({"hash": "no hash"}, 2),
        ({"hash": 7}, 2),
        ({"previous": "0" * 64}, 2),
        ({"restricted": False}, 2),
        ({"restricted": 1}, 2),
        ({"seq": 3}, 2),
        ({"actor": "jo"}, 2),
    ],
)
def test_a_restricted_entry_that_breaks_the_chain_is_found(change: Entry, seq: int) -> None:
    some = [restricted(entry) | change if entry["seq"] == 2 else entry for entry in FIVE]
    fault = checked(exported(some)).fault
    assert fault is not None
    assert fault.seq == seq


def test_the_command_says_how_many_could_not_be_checked(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_bytes(exported([restricted(entry) if entry["seq"] == 2 else entry for entry in FIVE]))
    done = subprocess.run(  # noqa: S603 (our own file)
        [sys.executable, audit_verify.__file__, str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "1 of them are restricted" in done.stdout) == (0, True)
