"""Bases, deltas and tombstones over time: whatever happens, what is found is what is live."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bank_sync import lineage
from bank_sync.bank import BankEntry, BankRecord, upsert
from bank_sync.compaction import Compaction
from bank_sync.epoch import (
    EpochReader,
    is_behind,
    publish,
    publish_if_changed,
    published_numbers,
    read_pointer,
    rollback,
)
from bank_sync.epoch_files import manifest_name, path_of, read_manifest
from bank_sync.index.flat import FlatIndex
from bank_sync.manifest import EpochError, Manifest
from bank_sync.opened import Opened, open_epoch
from bank_sync.signals import PDQ, VIDEO_MD5, Frame, pack_frames
from config.database import Sessions, make_engine, make_sessions
from config.settings import DatabaseSettings


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "epochs"


def _records(number: int, status: str = "Active") -> list[BankRecord]:
    """One entry of each type."""
    raw = random.Random(number).randbytes(32)  # noqa: S311 (no secret)
    frames = [Frame(bytes(31) + bytes([number % 251]), 90, 1.0), Frame(raw, 90, 2.0)]
    return [
        BankRecord(PDQ, raw, raw_status=status),
        BankRecord("vpdq", pack_frames(frames), raw_status=status),
        BankRecord(VIDEO_MD5, raw[:16], raw_status=status),
    ]


def _put(sessions: Sessions, *numbers: int, status: str = "Active", bank: str = "practice") -> None:
    with sessions.begin() as session:
        upsert(session, bank, [record for number in numbers for record in _records(number, status)])


def _publish(sessions: Sessions, folder: Path, keep: int = 3) -> int:
    with sessions.begin() as session:
        return publish_if_changed(session, folder, keep=keep).number


def _compact(sessions: Sessions, folder: Path, after: float = 3600, **options: bool) -> int | None:
    return Compaction(sessions, folder, after=after).run(**options).number


def _manifest(folder: Path) -> Manifest:
    return read_manifest(folder, read_pointer(folder).number)


def _assert_equal(sessions: Sessions, reader: EpochReader) -> None:
    """The reader finds what a flat index over the live rows finds, at every radius that is asked."""
    epoch = reader.current()
    assert reader.fault == ""
    with sessions() as session:
        live = session.execute(
            select(BankEntry.id, BankEntry.signal_type, BankEntry.signal).where(BankEntry.live)
        ).all()
    rows = [(row.signal, row.id) for row in live if row.signal_type == PDQ]
    for row in live:
        if row.signal_type == "vpdq":
            rows += [(row.signal[at : at + 32], row.id) for at in range(0, len(row.signal), 37)]
    flat = FlatIndex(np.frombuffer(b"".join(signal for signal, _ in rows), dtype=np.uint8).reshape(-1, 32))
    queries = np.frombuffer(bytes(32) + b"".join(signal for signal, _ in rows[:5]), dtype=np.uint8).reshape(
        -1, 32
    )
    for radius in (0, 8, 31, 256):
        found = flat.search(queries, radius)
        expected = sorted(
            (int(query), int(distance), rows[int(row)][1])
            for query, row, distance in zip(found.query, found.row, found.distance, strict=True)
        )
        hits = epoch.search_pdq(queries, radius)
        assert [(hit.query, hit.distance, hit.entry_id) for hit in hits] == expected
    for row in live:
        if row.signal_type == VIDEO_MD5:
            assert epoch.search_md5(row.signal) == [row.id]
        elif row.signal_type == "vpdq":
            assert len(epoch.frames_of(row.id)[0]) == len(row.signal) // 37
    counts = [sum(row.signal_type == kind for row in live) for kind in (PDQ, VIDEO_MD5)]
    assert [epoch.counts[PDQ], epoch.counts[VIDEO_MD5]] == counts
    assert epoch.counts["frames"] == len(rows) - counts[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flat_up_to", [0, 10_000], ids=["buckets", "flat"])
def test_what_is_found_is_what_is_live_after_any_order_of_events(
    sessions: Sessions, folder: Path, seed: int, flat_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bank_sync.loaded.FLAT_UP_TO", flat_up_to)
    chance = random.Random(seed)  # noqa: S311 (no secret)
    reader = EpochReader(folder, 0)
    known: list[int] = []
    for step in range(25):
        event = chance.choice(
            ("add", "add", "withdraw", "withdraw", "return", "compact", "roll back", "anew")
        )
        if event == "add" or not known:
            new = [1000 * step + n for n in range(chance.randint(1, 5))]
            known += new
            _put(sessions, *new)
        elif event in ("withdraw", "return"):
            some = chance.sample(known, chance.randint(1, len(known)))
            _put(sessions, *some, status="Withdrawn" if event == "withdraw" else "Active")
        elif event == "compact":
            _compact(sessions, folder, always=True)
        elif event == "anew":
            with sessions.begin() as session:
                publish(session, folder)
        else:
            number = rollback(folder, chance.choice(published_numbers(folder)))
            assert reader.current().number == number
            _put(sessions, 1000 * step)
            known.append(1000 * step)
        _publish(sessions, folder)
        _assert_equal(sessions, reader)
        with sessions() as session:
            assert not is_behind(session, folder)


def test_a_change_is_published_without_touching_the_base(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1, 2)
    _publish(sessions, folder)
    base = _manifest(folder)["base"]
    before = {name: path_of(folder, file).stat() for name, file in base["files"].items()}
    _put(sessions, 2, status="Withdrawn")
    _put(sessions, 3)
    _publish(sessions, folder)
    manifest = _manifest(folder)
    assert manifest["base"] == base
    assert manifest["delta"]["counts"] == {
        "entries": 3,
        "pdq": 1,
        "frames": 2,
        "video_md5": 1,
        "tombstones": 3,
    }
    assert manifest["counts"] == {"entries": 6, "pdq": 2, "frames": 4, "video_md5": 2}
    after = {name: path_of(folder, file).stat() for name, file in base["files"].items()}
    assert {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in before.items()} == {
        name: (stat.st_ino, stat.st_mtime_ns) for name, stat in after.items()
    }


def test_a_transaction_that_commits_behind_a_newer_one_is_published(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1)
    with sessions() as late:
        upsert(late, "practice", _records(2))
        _put(sessions, 3)
        _publish(sessions, folder)
        assert EpochReader(folder, 0).current().counts[PDQ] == 2
        late.commit()
    with sessions() as session:
        assert is_behind(session, folder)
    _publish(sessions, folder)
    _assert_equal(sessions, EpochReader(folder, 0))


@pytest.mark.parametrize("cause", ["engine", "restored", "many", "damaged"])
def test_what_a_delta_can_not_say_builds_a_new_base(
    sessions: Sessions, folder: Path, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(sessions, 1)
    _put(sessions, 2)
    _publish(sessions, folder)
    former = _manifest(folder)["base"]["built_at"]
    if cause == "many":
        monkeypatch.setattr("bank_sync.epoch.MOST_CHANGES", (2, 0.1))
        _put(sessions, 3)
    elif cause == "damaged":
        path_of(folder, _manifest(folder)["base"]["files"]["pdq.hashes"]).unlink()
    elif cause == "restored":
        # As after a restore: the epoch has seen transactions that the database has not.
        monkeypatch.setattr("bank_sync.epoch.session_snapshot", lambda _connection: "5:5:")
    with sessions.begin() as session:
        assert publish_if_changed(session, folder, buckets=cause != "engine").new
    assert _manifest(folder)["base"]["built_at"] != former
    assert EpochReader(folder, 0).current().counts[PDQ] == 3 if cause == "many" else 2


def test_entries_of_a_database_restored_elsewhere_do_not_fill_the_delta(
    sessions: Sessions, folder: Path
) -> None:
    _put(sessions, 1)
    with sessions.begin() as session:
        session.execute(text("UPDATE bank_entries SET changed_in = '999999999'"))
    _publish(sessions, folder)
    assert _manifest(folder)["delta"]["counts"]["entries"] == 0
    _put(sessions, 1, status="Withdrawn")
    _publish(sessions, folder)
    _assert_equal(sessions, EpochReader(folder, 0))


def test_compaction_is_due_for_many_changes_old_withdrawals_and_damage(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _compact(sessions, folder) is None
    _put(sessions, 1, 2)
    _publish(sessions, folder)
    assert _compact(sessions, folder) is None
    _put(sessions, 3)
    _publish(sessions, folder)
    assert _compact(sessions, folder, after=0) is None
    _put(sessions, 1, status="Withdrawn")
    _publish(sessions, folder)
    assert _compact(sessions, folder) is None
    assert _compact(sessions, folder, after=0) == read_pointer(folder).number
    assert _manifest(folder)["delta"]["counts"]["tombstones"] == 0
    _assert_equal(sessions, EpochReader(folder, 0))
    monkeypatch.setattr("bank_sync.compaction.LEAST_CHANGES", 3)
    _put(sessions, 4)
    _publish(sessions, folder)
    assert _compact(sessions, folder) is not None
    damaged = path_of(folder, _manifest(folder)["base"]["files"]["pdq.hashes"])
    damaged.write_bytes(bytes(damaged.stat().st_size))
    assert _compact(sessions, folder) is not None
    _assert_equal(sessions, EpochReader(folder, 0))


def test_compaction_leaves_a_rolled_back_epoch_alone_until_changes_come(
    sessions: Sessions, folder: Path
) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    _put(sessions, 1, status="Withdrawn")
    _publish(sessions, folder)
    assert [rollback(folder, number, keep=5) for number in (1, 2, 1)] == [3, 4, 5]
    assert _publish(sessions, folder) == 5
    assert _compact(sessions, folder, always=True) is None
    _put(sessions, 2)
    assert _publish(sessions, folder) == 6
    assert _compact(sessions, folder, always=True) == 7
    _assert_equal(sessions, EpochReader(folder, 0))


def test_a_roll_back_outlives_a_compaction_of_what_was_rolled_away(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    _put(sessions, 2)
    _publish(sessions, folder)
    _compact(sessions, folder, always=True)
    rollback(folder, 1)
    assert _publish(sessions, folder) == 4
    assert EpochReader(folder, 0).current().counts[PDQ] == 1
    _put(sessions, 3)
    _publish(sessions, folder)
    _assert_equal(sessions, EpochReader(folder, 0))


def test_withdrawn_means_gone_with_the_time_recorded(sessions: Sessions, folder: Path) -> None:
    def purged() -> list[bool]:
        with sessions() as session:
            rows = session.execute(select(BankEntry.signal, BankEntry.purged_at))
            times = {row.signal: row.purged_at for row in rows}
            return [times[_records(number)[0].signal] is not None for number in (1, 2)]

    signal = _records(1)[0].signal

    def held() -> bool:
        return any(signal in path.read_bytes() for path in (folder / "files").iterdir())

    _put(sessions, 1, 2)
    _publish(sessions, folder)
    _put(sessions, 1, status="Withdrawn")
    _publish(sessions, folder)
    _compact(sessions, folder)
    assert (held(), purged()) == (True, [False, False])
    _compact(sessions, folder, always=True)
    # The former base is kept for a roll-back.
    assert (held(), purged()) == (True, [False, False])
    _compact(sessions, folder, after=0)
    assert (held(), purged()) == (False, [True, False])
    _put(sessions, 1)
    assert purged() == [False, False]
    _publish(sessions, folder)
    _assert_equal(sessions, EpochReader(folder, 0))


def test_epochs_of_bases_before_the_former_one_go(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    for _ in range(3):
        _compact(sessions, folder, always=True)
    assert published_numbers(folder) == [3, 4]


def test_a_new_base_is_swapped_in_beside_the_look_ups(
    sessions: Sessions,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., object],
) -> None:
    monkeypatch.setattr("bank_sync.epoch_reader.AT_ONCE", 0)
    _put(sessions, 1)
    _publish(sessions, folder)
    reader = EpochReader(folder, 0)
    old = reader.current()
    _put(sessions, 2)
    number = _publish(sessions, folder)
    gate = threading.Event()

    def opened(*what: Any) -> Opened:  # noqa: ANN401 (what the reader hands over)
        gate.wait(30)
        return open_epoch(*what)

    monkeypatch.setattr("bank_sync.epoch_reader.open_epoch", opened)
    assert reader.current() is old
    gate.set()
    wait_until(lambda: reader.current().number == number)
    _assert_equal(sessions, reader)
    _put(sessions, 3)
    number = _publish(sessions, folder)
    (folder / manifest_name(number)).write_bytes(b"{}")
    wait_until(lambda: (reader.current(), reader.fault)[1] == "corrupt")
    assert reader.current().counts[PDQ] == 2


def test_a_base_that_is_left_gives_back_its_pages_and_still_answers(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bank_sync.loaded.FLAT_UP_TO", 0)
    _put(sessions, *range(40))
    _publish(sessions, folder)
    reader = EpochReader(folder, 0)
    old = reader.current()
    queries = np.frombuffer(b"".join(_records(number)[0].signal for number in range(40)), dtype=np.uint8)
    found = old.search_pdq(queries.reshape(-1, 32), 31)
    file = path_of(folder, _manifest(folder)["base"]["files"]["pdq.hashes"])
    assert _resident(file) > 0
    _put(sessions, 3, status="Withdrawn")
    _publish(sessions, folder)
    assert reader.current() is not old
    assert _resident(file) > 0
    _compact(sessions, folder, always=True)
    assert reader.current().counts[PDQ] == 39
    assert _resident(file) == 0
    assert old.search_pdq(queries.reshape(-1, 32), 31) == found


def _resident(file: Path) -> int:
    """Kilobytes of a mapped file that are in this process's page tables."""
    _, _, rest = Path("/proc/self/smaps").read_text().partition(str(file))
    size = re.search(r"^Rss: +(\d+) kB", rest, re.MULTILINE)
    assert size is not None
    return int(size[1])


def test_a_reader_begins_anew_when_what_it_opens_was_replaced(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bank_sync import epoch_reader, opened

    _put(sessions, 1)
    _publish(sessions, folder)

    def replaced(where: Path, manifest: Manifest, former: opened.Opened | None = None) -> opened.Opened:
        monkeypatch.setattr(epoch_reader, "open_epoch", opened.open_epoch)
        _put(sessions, 2)
        with sessions.begin() as session:
            publish(session, folder, keep=1)
        return opened.open_epoch(where, manifest, former)

    monkeypatch.setattr(epoch_reader, "open_epoch", replaced)
    reader = EpochReader(folder, 0)
    assert (reader.current().number, reader.fault) == (2, "")


def _restore_rows(session: Session) -> None:
    """The table loaded anew from a dump, with the rows as they were."""
    session.execute(text("CREATE TEMPORARY TABLE dump ON COMMIT DROP AS TABLE bank_entries"))
    session.execute(text("UPDATE dump SET live = true"))
    session.execute(text("TRUNCATE bank_entries CASCADE"))
    columns = "bank, signal_type, signal, signal_key, live, changed_in"
    session.execute(
        text(
            f"INSERT INTO bank_entries (id, {columns}) OVERRIDING SYSTEM VALUE SELECT id, {columns} FROM dump"  # noqa: S608
        )
    )


def _restore_database(session: Session) -> None:
    """The database as it was before the base was built, in place of the files of this cluster."""
    session.execute(text("SET LOCAL session_replication_role = replica"))
    session.execute(text("UPDATE bank_entries SET live = true"))
    session.execute(text("DELETE FROM index_bases"))


@pytest.mark.parametrize("restore", [_restore_rows, _restore_database])
def test_a_restore_that_no_transaction_number_tells_is_noticed(
    sessions: Sessions, folder: Path, restore: Callable[[Session], None]
) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    _put(sessions, 1, status="Withdrawn")
    _publish(sessions, folder)
    _compact(sessions, folder, always=True)
    assert EpochReader(folder, 0).current().counts[PDQ] == 0
    with sessions.begin() as session:
        restore(session)
    _publish(sessions, folder)
    _assert_equal(sessions, EpochReader(folder, 0))
    assert EpochReader(folder, 0).current().counts[PDQ] == 1


@pytest.mark.parametrize("sign", range(3))
def test_a_base_of_another_server_or_timeline_is_built_anew(
    sessions: Sessions, folder: Path, sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    former = _manifest(folder)["base"]
    assert all(former["lineage"]["signs"])
    assert "-" not in former["lineage"]["signs"]
    _publish(sessions, folder)
    assert _manifest(folder)["base"] == former
    signs = list(lineage._SIGNS)
    signs[sign] = "SELECT 'another'"
    monkeypatch.setattr(lineage, "_SIGNS", signs)
    _publish(sessions, folder)
    assert _manifest(folder)["base"]["built_at"] != former["built_at"]


def test_what_a_role_may_not_read_of_the_server_is_done_without(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "_SIGNS", ["SELECT no_such_function()"])
    _put(sessions, 1)
    _publish(sessions, folder)
    former = _manifest(folder)["base"]
    assert former["lineage"]["signs"] == ["-"]
    _publish(sessions, folder)
    assert _manifest(folder)["base"] == former


def test_what_bases_of_another_database_hold_is_not_recorded_as_gone(
    sessions: Sessions, folder: Path
) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    _put(sessions, 1, status="Withdrawn")
    _publish(sessions, folder)
    with sessions.begin() as session:
        # As in a database that was restored elsewhere: its numbers are to come here.
        session.execute(text("DELETE FROM index_bases"))
        session.execute(text("UPDATE bank_entries SET changed_in = '999999999'"))
    _publish(sessions, folder)
    assert Compaction(sessions, folder, after=3600).run().purged == 0
    assert Compaction(sessions, folder, after=0).run().purged == 3


def test_a_wrong_length_is_refused_before_anything_is_written(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1)
    number = _publish(sessions, folder)
    wrong = text(
        "INSERT INTO bank_entries (bank, signal_type, signal, signal_key, live) "
        "VALUES ('practice', :type, :signal, :signal, true)"
    )
    for kind, size in ((PDQ, 31), (VIDEO_MD5, 17), ("vpdq", 38)):
        with pytest.raises(IntegrityError), sessions.begin() as session:
            session.execute(wrong, {"type": kind, "signal": b"z" * size})
    with sessions.begin() as session:
        session.execute(text("ALTER TABLE bank_entries DROP CONSTRAINT ck_bank_entries_signal"))
        session.execute(wrong, {"type": PDQ, "signal": b"z" * 31})
    with pytest.raises(EpochError, match="wrong length"):
        _publish(sessions, folder)
    assert read_pointer(folder).number == number
    assert EpochReader(folder, 0).current().counts[PDQ] == 1


def test_a_damaged_delta_is_mended_by_the_next_confirmation(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    _put(sessions, 2)
    _publish(sessions, folder)
    damaged = path_of(folder, _manifest(folder)["delta"]["files"]["pdq.hashes"])
    damaged.write_bytes(bytes(damaged.stat().st_size))
    assert _publish(sessions, folder) == 2
    _assert_equal(sessions, EpochReader(folder, 0))


def test_a_roll_back_stays_where_the_base_it_left_is_not_kept(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    _put(sessions, 2)
    _publish(sessions, folder)
    _compact(sessions, folder, always=True)
    assert rollback(folder, 1) == 4
    manifest = _manifest(folder)
    kept = {file["sha256"] for file in manifest["base"]["files"].values()}
    kept |= {file["sha256"] for file in manifest["delta"]["files"].values()}
    for file in manifest["rolled_away"]["base"]["files"].values():
        if file["sha256"] not in kept:
            path_of(folder, file).unlink()
    confirmed = read_pointer(folder).confirmed_at
    assert _publish(sessions, folder) == 4
    assert read_pointer(folder).confirmed_at > confirmed
    _put(sessions, 3)
    assert _publish(sessions, folder) == 5
    _assert_equal(sessions, EpochReader(folder, 0))


def test_changes_are_counted_by_rows_before_they_are_read(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bank_sync.epoch.MOST_CHANGES", (4, 0.0))
    _publish(sessions, folder)
    former = _manifest(folder)["base"]["built_at"]
    _put(sessions, 1)
    _publish(sessions, folder)
    assert _manifest(folder)["base"]["built_at"] == former
    with sessions.begin() as session:
        frames = [Frame(bytes([n]) * 32, 90, float(n)) for n in range(5)]
        upsert(session, "practice", [BankRecord("vpdq", pack_frames(frames))])
    _publish(sessions, folder)
    assert _manifest(folder)["base"]["built_at"] != former


def test_a_base_that_was_overtaken_is_built_again_later(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(sessions, 1)
    number = _publish(sessions, folder)
    with monkeypatch.context() as patched:
        patched.setattr("bank_sync.compaction.MOST_AT_ONCE", -1)
        assert _compact(sessions, folder, always=True) is None
        patched.setattr("bank_sync.epoch.MOST_AT_ONCE", -1)
        with pytest.raises(EpochError, match="Too much changed"), sessions.begin() as session:
            publish(session, folder)
    assert read_pointer(folder).number == number
    assert _compact(sessions, folder, always=True) == number + 1


def test_a_folder_that_was_emptied_goes_on_with_its_numbers(sessions: Sessions, folder: Path) -> None:
    _put(sessions, 1)
    _publish(sessions, folder)
    reader = EpochReader(folder, 0)
    reader.current()
    with sessions.begin() as session:
        assert rollback(folder, 1, session=session) == 2
    shutil.rmtree(folder)
    assert _publish(sessions, folder) == 3
    assert (reader.current().number, reader.fault) == (3, "")


def test_hashes_are_not_for_everybody_to_read(sessions: Sessions, folder: Path) -> None:
    before = os.umask(0o022)
    try:
        _put(sessions, 1)
        _publish(sessions, folder)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir()) if path.is_dir()}
    assert modes == {0o750}
    files = [*(folder / "files").iterdir(), folder / "CURRENT", folder / manifest_name(1)]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}


def test_buckets_have_their_space_before_they_are_mapped(
    sessions: Sessions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bank_sync.loaded.FLAT_UP_TO", 0)
    _put(sessions, 1)

    def full(_descriptor: int, _offset: int, _length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(EpochError, match="No space left") as caught:
            _publish(sessions, folder)
    assert "Free some space" in caught.value.next_step
    _publish(sessions, folder)
    _assert_equal(sessions, EpochReader(folder, 0))
