"""A worker process tells that it lives, which epoch it searches and why not the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from bank_sync.bank import BankRecord, upsert
from bank_sync.epoch import EpochReader, publish, read_pointer
from bank_sync.epoch_files import path_of, read_manifest
from config.database import Sessions, make_engine, make_sessions
from config.settings import DatabaseSettings
from worker.queue.life import SignOfLife
from worker.store import heartbeats
from worker.store.migrate import own_schema
from worker.store.models import Heartbeat
from worker.store.schema_support import SchemaSupport


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


def _publish(sessions: Sessions, folder: Path, byte: int) -> int:
    with sessions.begin() as session:
        upsert(session, "practice", [BankRecord("pdq", bytes([byte]) * 32, raw_status="Active")])
        return publish(session, folder, keep=3)


def _told(sessions: Sessions) -> Heartbeat | None:
    with sessions() as session:
        return session.scalar(select(Heartbeat).where(Heartbeat.service == heartbeats.WORKER))


def test_an_idle_worker_tells_its_epoch_and_follows_the_newest(sessions: Sessions, tmp_path: Path) -> None:
    life = SignOfLife(sessions, EpochReader(tmp_path, poll_every=0))
    life.beat()
    told = _told(sessions)
    assert told is not None
    assert (told.index_epoch, told.index_confirmed_at) == (None, None)
    assert told.index_fault != ""
    for byte in (1, 2):
        number = _publish(sessions, tmp_path, byte)
        life.beat()
        told = _told(sessions)
        assert told is not None
        assert (told.index_epoch, told.index_fault) == (number, "")
        assert told.index_confirmed_at == read_pointer(tmp_path).confirmed_at


def test_a_refused_epoch_is_told_and_the_last_good_one_stays(sessions: Sessions, tmp_path: Path) -> None:
    good = _publish(sessions, tmp_path, 1)
    life = SignOfLife(sessions, EpochReader(tmp_path, poll_every=0))
    life.beat()
    bad = _publish(sessions, tmp_path, 2)
    file = read_manifest(tmp_path, bad)["delta"]["files"]["pdq.hashes"]
    path = path_of(tmp_path, file)
    path.chmod(0o644)
    path.write_bytes(bytes(file["bytes"]))
    life.beat()
    told = _told(sessions)
    assert told is not None
    assert (told.index_epoch, told.index_fault) == (good, "corrupt")


def test_a_worker_that_stops_in_good_order_is_not_missed(
    sessions: Sessions, tmp_path: Path, wait_until: Callable[..., object]
) -> None:
    _publish(sessions, tmp_path, 1)
    life = SignOfLife(sessions, EpochReader(tmp_path, poll_every=0))
    life.start()
    wait_until(lambda: _told(sessions) is not None)
    life.stop()
    assert _told(sessions) is None


def test_signs_of_life_of_long_ago_are_forgotten(sessions: Sessions) -> None:
    with sessions.begin() as session:
        heartbeats.beat(session, heartbeats.WORKER)
        heartbeats.forget_old(session)
    assert _told(sessions) is not None
    with sessions.begin() as session:
        session.execute(update(Heartbeat).values(at=func.clock_timestamp() - text("interval '25 hours'")))
        heartbeats.forget_old(session)
    assert _told(sessions) is None


def test_a_worker_ends_when_newer_migrations_end_its_support(sessions: Sessions, tmp_path: Path) -> None:
    ended: list[bool] = []
    life = SignOfLife(sessions, EpochReader(tmp_path, poll_every=0), lambda: ended.append(True))
    life.beat()
    assert ended == []
    told = _told(sessions)
    assert told is not None
    assert told.schema == own_schema()
    with sessions.begin() as session:
        session.execute(update(SchemaSupport).values(oldest="9000"))
    life.beat()
    assert ended == [True]
