"""Epochs on disk: published whole or not at all, verified before they are searched, never stepped back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import text, update

from bank_sync.bank import BankEntry, BankRecord, upsert
from bank_sync.epoch import (
    EpochError,
    EpochReader,
    publish,
    publish_if_changed,
    published_numbers,
    read_pointer,
    rollback,
)
from bank_sync.epoch_files import manifest_name, path_of, read_manifest
from bank_sync.manifest import BASE_WIDTHS, DELTA_WIDTHS, File, files_of
from bank_sync.signals import Frame, pack_frames
from bank_sync.sync import compaction_of, publish_changes
from config.database import Sessions, make_engine, make_sessions
from config.policy import BankSettings
from config.settings import DatabaseSettings, Settings

ONES = np.full((1, 32), 255, dtype=np.uint8)


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "epochs"


def _add(sessions: Sessions, *records: BankRecord, bank: str = "practice") -> None:
    with sessions.begin() as session:
        upsert(session, bank, records)


def _pdq(byte: int, status: str = "Active") -> BankRecord:
    return BankRecord("pdq", bytes([byte]) * 32, raw_status=status)


def _publish(sessions: Sessions, folder: Path, keep: int = 3) -> int:
    with sessions.begin() as session:
        return publish(session, folder, keep=keep)


def _files(folder: Path, number: int) -> dict[str, File]:
    return {name: file for name, file, _ in files_of(read_manifest(folder, number))}


def _file(folder: Path, number: int, name: str) -> Path:
    """Where a file of an epoch, or its manifest, is kept."""
    if name == "manifest":
        return folder / manifest_name(number)
    return path_of(folder, _files(folder, number)[name])


def _count(epoch_reader: EpochReader) -> int:
    return epoch_reader.current().counts["pdq"]


def test_live_entries_of_each_kind_are_found_and_withdrawn_ones_are_not(
    sessions: Sessions, folder: Path
) -> None:
    frames = pack_frames([Frame(b"\xff" * 32, 90, 2.5), Frame(b"\x0f" * 32, 49, 3.0)])
    _add(
        sessions,
        _pdq(0xFF),
        _pdq(0xFE, "Withdrawn"),
        BankRecord("vpdq", frames),
        BankRecord("video_md5", b"\x02" * 16),
        BankRecord("video_md5", b"\x01" * 16),
        BankRecord("video_md5", b"\x03" * 16, raw_status="Deleted"),
    )
    _publish(sessions, folder)
    epoch = EpochReader(folder, 0).current()
    assert epoch.counts == {"pdq": 1, "frames": 1, "video_md5": 2}
    hits = epoch.search_pdq(ONES, 256)
    assert [(hit.query, hit.distance, hit.frame_time) for hit in hits] == [(0, 0, None), (0, 0, 2.5)]
    assert [len(epoch.search_md5(bytes([n]) * 16)) for n in (1, 2, 3)] == [1, 1, 0]
    with sessions() as session:
        assert session.get_one(BankEntry, hits[0].entry_id).signal == b"\xff" * 32
        assert session.get_one(BankEntry, epoch.search_md5(b"\x02" * 16)[0]).signal == b"\x02" * 16


def test_an_empty_bank_is_an_epoch_that_finds_nothing(sessions: Sessions, folder: Path) -> None:
    assert _publish(sessions, folder) == 1
    epoch = EpochReader(folder, 0).current()
    assert (epoch.search_pdq(ONES, 31), epoch.search_md5(b"\x00" * 16)) == ([], [])


def test_an_epoch_does_not_depend_on_who_publishes(
    sessions: Sessions, settings: Settings, folder: Path
) -> None:
    index = settings.index.model_copy(update={"epochs": str(folder)})
    old = settings.model_copy(update={"index": index})
    new = old.model_copy(update={"banks": {**settings.banks, "fresh": BankSettings(exchange="stopncii")}})
    _add(sessions, _pdq(1), bank="fresh")
    for by in (new, old, new):
        with sessions.begin() as session:
            assert publish_changes(session, by).number == 1
        reader = EpochReader(folder, 0)
        assert (_count(reader), reader.current().number) == (1, 1)
    compaction_of(sessions, old).run(always=True)
    assert _count(EpochReader(folder, 0)) == 1


def test_numbers_rise_old_epochs_go_and_nothing_unfinished_stays(sessions: Sessions, folder: Path) -> None:
    assert [_publish(sessions, folder, keep=2) for _ in range(4)] == [1, 2, 3, 4]
    assert published_numbers(folder) == [3, 4]
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "CURRENT",
        "epoch-00000003.json",
        "epoch-00000004.json",
        "files",
    ]
    named = {file["sha256"] for number in (3, 4) for file in _files(folder, number).values()}
    assert {path.name for path in (folder / "files").iterdir()} == named


def test_unchanged_content_is_confirmed_instead_of_published_again(sessions: Sessions, folder: Path) -> None:
    _add(sessions, _pdq(1))
    with sessions.begin() as session:
        assert publish_if_changed(session, folder).new
    reader = EpochReader(folder, 0)
    reader.current()
    before = reader.confirmed_at
    with sessions.begin() as session:
        again = publish_if_changed(session, folder)
    assert (again.number, again.new) == (1, False)
    reader.current()
    assert before is not None
    assert reader.confirmed_at is not None
    assert reader.confirmed_at > before
    _add(sessions, _pdq(1, "Withdrawn"))
    with sessions.begin() as session:
        assert publish_if_changed(session, folder).number == 2


def test_a_damaged_epoch_in_force_is_published_anew_although_nothing_changed(
    sessions: Sessions, folder: Path
) -> None:
    _add(sessions, _pdq(1))
    _publish(sessions, folder)
    _file(folder, 1, "pdq.hashes").write_bytes(b"\x02" * 31)
    with sessions.begin() as session:
        assert publish_if_changed(session, folder).new


def test_readers_swap_without_a_restart_and_keep_what_they_are_using(
    sessions: Sessions, folder: Path
) -> None:
    _add(sessions, _pdq(1))
    _publish(sessions, folder, keep=1)
    time = [0.0]
    reader = EpochReader(folder, 2.0, clock=lambda: time[0])
    old = reader.current()
    _add(sessions, _pdq(2))
    _publish(sessions, folder, keep=1)
    assert reader.current() is old
    time[0] = 2.0
    new = reader.current()
    assert (new.number, new.counts["pdq"]) == (2, 2)
    # Its files are gone, and it still answers.
    assert len(old.search_pdq(np.full((1, 32), 1, dtype=np.uint8), 0)) == 1


def test_without_an_epoch_the_error_says_what_to_do(folder: Path) -> None:
    reader = EpochReader(folder, 0)
    with pytest.raises(EpochError, match="No epoch is published yet") as caught:
        reader.current()
    assert "hashwarden bank sync" in caught.value.next_step
    assert reader.fault == "none"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("name", [*BASE_WIDTHS, *(f"delta.{name}" for name in DELTA_WIDTHS), "manifest"])
@pytest.mark.parametrize("damage", [_truncate, _flip, Path.unlink], ids=["short", "altered", "missing"])
def test_a_damaged_epoch_is_refused_and_the_last_good_one_stays(
    sessions: Sessions,
    folder: Path,
    name: str,
    damage: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So that the files of the buckets have something to damage.
    monkeypatch.setattr("bank_sync.loaded.FLAT_UP_TO", 0)

    def records(byte: int, status: str) -> list[BankRecord]:
        return [
            _pdq(byte, status),
            BankRecord("video_md5", bytes([byte]) * 16, raw_status=status),
            BankRecord("vpdq", pack_frames([Frame(bytes([byte]) * 32, 90, byte)]), raw_status=status),
        ]

    _add(sessions, *records(1, "Active"))
    _publish(sessions, folder)
    reader = EpochReader(folder, 0)
    good = reader.current()
    assert reader.fault == ""
    if name.startswith("delta."):
        # Withdrawn and back again: a tombstone, and a row of each kind in the delta.
        _add(sessions, *records(1, "Withdrawn"))
        _add(sessions, *records(1, "Active"))
        with sessions.begin() as session:
            assert publish_if_changed(session, folder).number == 2
    else:
        _add(sessions, *records(2, "Active"))
        _publish(sessions, folder)
    damage(_file(folder, 2, name))
    assert reader.current() is good
    assert reader.fault in {"corrupt", "partial"}
    with pytest.raises(EpochError) as caught:
        EpochReader(folder, 0).current()
    assert caught.value.next_step
    assert _publish(sessions, folder) == 3
    assert reader.current().number == 3
    assert reader.fault == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "corrupt"),
        ("{}", "corrupt"),
        ("[]", "corrupt"),
        ('{"format": 5, "number": 2', "corrupt"),
        (
            (
                '{"format": 5, "number": 7, "manifest_sha256": "", "snapshot": "", '
                '"confirmed_at": "2026-01-01T00:00:00+00:00"}'
            ),
            "partial",
        ),
    ],
)
def test_a_damaged_pointer_is_refused_and_mended_by_publishing(
    sessions: Sessions, folder: Path, text: str, fault: str
) -> None:
    _publish(sessions, folder)
    reader = EpochReader(folder, 0)
    good = reader.current()
    (folder / "CURRENT").write_text(text)
    assert reader.current() is good
    assert reader.fault == fault
    number = _publish(sessions, folder)
    assert number > 1
    assert reader.current().number == number


def test_an_older_epoch_is_refused(sessions: Sessions, folder: Path) -> None:
    _publish(sessions, folder)
    pointer = (folder / "CURRENT").read_bytes()
    _add(sessions, _pdq(1))
    _publish(sessions, folder)
    reader = EpochReader(folder, 0)
    assert _count(reader) == 1
    (folder / "CURRENT").write_bytes(pointer)
    assert _count(reader) == 1
    assert reader.fault == "older"


def test_roll_back_publishes_old_content_under_a_new_number(sessions: Sessions, folder: Path) -> None:
    _publish(sessions, folder)
    _add(sessions, _pdq(1))
    _publish(sessions, folder)
    reader = EpochReader(folder, 0)
    assert _count(reader) == 1
    assert rollback(folder, 1) == 3
    assert (reader.current().number, _count(reader)) == (3, 0)
    with sessions.begin() as session:
        assert not publish_if_changed(session, folder).new
    _add(sessions, _pdq(2))
    with sessions.begin() as session:
        assert publish_if_changed(session, folder).number == 4
    assert _count(reader) == 2
    with pytest.raises(EpochError, match="Epoch 99"):
        rollback(folder, 99)


def test_a_roll_back_waits_for_who_publishes(
    sessions: Sessions, folder: Path, wait_until: Callable[..., object]
) -> None:
    _publish(sessions, folder)
    numbers: list[int] = []

    def roll_back() -> None:
        with sessions.begin() as session:
            numbers.append(rollback(folder, 1, session=session))

    with sessions.begin() as publishing:
        publish(publishing, folder)
        waiting = threading.Thread(target=roll_back)
        waiting.start()
        with sessions() as watching:
            waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'")
            wait_until(lambda: watching.scalar(waits) or numbers)
        assert numbers == []
    waiting.join()
    assert numbers == [3]


def test_a_folder_that_can_not_be_written_is_one_clear_error_and_changes_nothing(
    sessions: Sessions, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EpochError, match="No epoch can be written") as caught:
        _publish(sessions, tmp_path / "file" / "epochs")
    assert caught.value.fault == "unwritable"


def test_a_full_disk_is_one_clear_error_and_the_epoch_in_force_stays(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    _add(sessions, _pdq(1))
    _publish(sessions, folder)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(EpochError, match="No space left on device") as caught:
            _publish(sessions, folder)
    assert "Free some space" in caught.value.next_step
    assert read_pointer(folder).number == 1
    assert published_numbers(folder) == [1]
    assert _count(EpochReader(folder, 0)) == 1
    assert _publish(sessions, folder) == 2


def test_publishers_and_readers_at_once_never_meet_half_an_epoch(sessions: Sessions, folder: Path) -> None:
    _add(sessions, *[_pdq(n) for n in range(10)])
    _publish(sessions, folder, keep=50)
    reader = EpochReader(folder, 0)
    numbers: list[int] = []
    seen: list[int] = []
    done = threading.Event()

    def writing() -> None:
        numbers.extend(_publish(sessions, folder, keep=50) for _ in range(5))

    def reading() -> None:
        while not done.is_set():
            epoch = reader.current()
            seen.append(epoch.number)
            assert len(epoch.search_pdq(ONES, 256)) == 10

    writers = [threading.Thread(target=writing) for _ in range(2)]
    readers = [threading.Thread(target=reading) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert sorted(numbers) == list(range(2, 12))
    assert reader.current().number == 11
    assert reader.fault == ""
    assert seen


def test_the_manifest_names_counts_and_checkpoints_and_no_hash(sessions: Sessions, folder: Path) -> None:
    _add(sessions, _pdq(0xAB))
    with sessions.begin() as session:
        session.execute(update(BankEntry).values(case_numbers={"case-one": "Active"}))
    _publish(sessions, folder)
    text = _file(folder, 1, "manifest").read_text()
    assert json.loads(text)["counts"] == {"entries": 1, "pdq": 1, "frames": 0, "video_md5": 0}
    assert "ab" * 32 not in text
    assert "case-one" not in text
