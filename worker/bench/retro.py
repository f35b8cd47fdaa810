"""What a hunt takes: new hashes searched in a ledger of so many uploads."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
from sqlalchemy import Engine, text

from bank_sync.bank import BankRecord, upsert
from bank_sync.epoch import publish
from bank_sync.signals import PDQ
from config.database import Sessions
from config.policy import BankSettings
from config.settings import Settings
from worker.bench.figures import HASHWARDEN, Figure
from worker.retro.hunter import Hunter
from worker.store import hunts, ledger

_DAYS = 90
_BLOCK = 100_000
_BANK = "bench"
RETRO_SETTINGS = {"ledger": {"enabled": True}, "banks": {_BANK: BankSettings(exchange="stopncii")}}
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("day_bytes", ">i4"),
        ("day", ">i4"),
        ("content_bytes", ">i4"),
        ("content_id", ">i8"),
        ("part_bytes", ">i4"),
        ("part", ">i4"),
        ("hash_bytes", ">i4"),
        ("hash", "u1", 32),
        ("quality_bytes", ">i4"),
        ("quality", ">i2"),
        ("epoch_bytes", ">i4"),
        ("epoch", ">i8"),
    ]
)


def retro_figures(sessions: Sessions, settings: Settings, uploads: int, hashes: int) -> Iterator[Figure]:
    """Seconds of one hunt by the clock and this process's own CPU, and the most memory that it held.

    Takes an empty database and the settings of `RETRO_SETTINGS`. Random hashes: nothing comes near, so the time is that
    of searching and not of acting.
    """
    engine: Engine = sessions.kw["bind"]
    _publish(settings, sessions)
    hunter = Hunter(settings, sessions)
    hunter.round()
    _fill(engine, sessions, uploads)
    drawn = np.random.default_rng(2).integers(0, 256, (hashes, 32), dtype=np.uint8)
    with sessions.begin() as session:
        upsert(session, _BANK, [BankRecord(PDQ, row.tobytes()) for row in drawn])
    _publish(settings, sessions)
    # The lock of the first round ends a moment after it.
    with _memory() as held:
        clock, cpu = time.perf_counter(), time.process_time()
        while not _done(sessions):
            hunter.round()
        spent, own = time.perf_counter() - clock, time.process_time() - cpu
    params = {"uploads": uploads, "hashes": hashes, "radius": settings.policy.default.review_radius}
    with sessions() as session:
        size = session.scalar(
            text(
                "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'ledger'::regclass"
            )
        )
    yield Figure(HASHWARDEN, "retro_hunt", round(spent, 2), "s", params)
    yield Figure(HASHWARDEN, "retro_hunt_cpu", round(own, 2), "s", params)
    yield Figure(HASHWARDEN, "peak_memory", round(max(held) / 2**20, 1), "MiB", params)
    yield Figure(HASHWARDEN, "ledger_size", round(float(size or 0) / uploads, 1), "B/upload", params)


def _publish(settings: Settings, sessions: Sessions) -> None:
    with sessions.begin() as session:
        publish(session, settings.epochs_dir)


def _done(sessions: Sessions) -> bool:
    with sessions() as session:
        return bool(hunts.list_hunts(session, [hunts.HuntState.DONE]))


def _fill(engine: Engine, sessions: Sessions, uploads: int) -> None:
    """Random rows, as many on each of the days that are kept."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=age) for age in range(_DAYS)]
    with sessions.begin() as session:
        ledger.make_partitions(session, days)
    drawn = np.random.default_rng(1)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101 (the engine takes no other driver)
        columns = "day, content_id, part, hash, quality, index_epoch"
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY ledger ({columns}) FROM STDIN (FORMAT binary)") as copy,
        ):
            copy.write(_HEADER)
            for begin in range(0, uploads, _BLOCK):
                ids = np.arange(begin, min(begin + _BLOCK, uploads))
                rows = np.zeros(len(ids), dtype=_ROW)
                rows["fields"] = 6
                for name in _ROW.names or ():
                    if name.endswith("_bytes"):
                        of = {"content": "content_id"}.get(name[:-6], name[:-6])
                        rows[name] = _ROW[of].itemsize
                # PostgreSQL counts days from 2000.
                newest = (today - datetime(2000, 1, 1, tzinfo=UTC).date()).days
                rows["day"] = newest - (_DAYS - 1) + ids * _DAYS // uploads
                rows["content_id"] = ids + 1
                rows["hash"] = drawn.integers(0, 256, (len(ids), 32), dtype=np.uint8)
                rows["quality"] = 100
                rows["epoch"] = 1
                copy.write(rows.tobytes())
            copy.write(b"\xff\xff")
        driver.commit()
        driver.autocommit = True
        driver.execute("VACUUM ANALYZE ledger")
        driver.autocommit = False


@contextmanager
def _memory() -> Iterator[list[int]]:
    """Bytes that this process holds, looked at often while the block runs."""
    page = resource.getpagesize()
    status = Path("/proc/self/statm")

    def resident() -> int:
        return int(status.read_text(encoding="ascii").split()[1]) * page

    held = [resident()]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            held.append(resident())

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield held
    finally:
        stop.set()
        looking.join()
