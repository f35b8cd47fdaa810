"""Compaction and publishing killed at every change of the disk: there is always a good epoch, and nothing stays."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from bank_sync.bank import BankEntry, BankRecord, upsert
from bank_sync.compaction import Compaction
from bank_sync.epoch import EpochReader, publish, publish_if_changed
from bank_sync.epoch_files import kept_manifests, needed_files
from config.database import Sessions, make_engine, make_sessions
from config.settings import DatabaseSettings

QUERY = np.zeros((1, 32), dtype=np.uint8)


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    engine = make_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield make_sessions(engine)
    engine.dispose()


def _live(sessions: Sessions) -> set[int]:
    with sessions() as session:
        return set(session.scalars(select(BankEntry.id).where(BankEntry.live)))


def _found(reader: EpochReader) -> set[int]:
    return {hit.entry_id for hit in reader.current().search_pdq(QUERY, 256)}


@pytest.mark.timeout(600)
def test_killed_at_every_step(sessions: Sessions, database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "epochs"
    with sessions.begin() as session:
        upsert(session, "practice", [BankRecord("pdq", bytes([n]) * 32) for n in range(8)])
        publish(session, folder)
    script = Path(__file__).with_name("faulty_compaction.py")
    reader = EpochReader(folder, 0)
    with subprocess.Popen(  # noqa: S603 (our own script)
        [sys.executable, str(script), database_url, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as faulty:
        assert faulty.stdin is not None
        assert faulty.stdout is not None
        assert faulty.stdout.readline() == "ready\n"
        for step in itertools.count(1):
            before = _live(sessions)
            with sessions.begin() as session:
                status = "Withdrawn" if step % 2 else "Active"
                upsert(session, "practice", [BankRecord("pdq", b"\x01" * 32, raw_status=status)])
                upsert(session, "practice", [BankRecord("pdq", step.to_bytes(32, "big"))])
            print(step, file=faulty.stdin, flush=True)
            outcome = faulty.stdout.readline()
            assert outcome in {"killed\n", "done\n"}
            assert _found(reader) in (before, _live(sessions))
            assert reader.fault == ""
            assert _found(EpochReader(folder, 0)) == _found(reader)
            if outcome == "done\n":
                break
            with sessions.begin() as session:
                publish_if_changed(session, folder, keep=2)
            assert _found(reader) == _live(sessions)
        faulty.stdin.close()
        assert faulty.wait() == 0
    assert step > 30
    Compaction(sessions, folder, after=3600, keep=2).run()
    assert {path.name for path in (folder / "files").iterdir()} == needed_files(
        kept_manifests(folder).values()
    )
    assert not [path for path in folder.iterdir() if path.name.endswith(".new") or "building" in path.name]
