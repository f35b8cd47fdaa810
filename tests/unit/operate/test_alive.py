"""A service that turns is seen; one that is stuck, or whose process is gone, is not taken for one that turns."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from worker.cli import cli
from worker.operate.alive import FOLDER_VARIABLE, STUCK_SECONDS, Alive, Turns, signs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def _make_older(folder: Path, seconds: float) -> None:
    for file in folder.iterdir():
        at = file.stat().st_mtime - seconds
        os.utime(file, (at, at))


def test_a_loop_that_asks_whether_to_stop_turns(folder: Path) -> None:
    stop = Turns(Alive("sweep"))
    assert signs(folder) == []
    assert not stop.is_set()
    (sign,) = signs(folder)
    assert (sign.service, sign.pid, sign.stuck) == ("sweep", os.getpid(), False)


def test_waiting_is_turning_and_ends_when_it_is_told_to(folder: Path) -> None:
    stop = Turns(Alive("ingest"))
    assert not stop.wait(0.01)
    assert len(signs(folder)) == 1
    ended = threading.Thread(target=stop.wait)
    ended.start()
    stop.set()
    ended.join(timeout=10)
    assert not ended.is_alive()
    assert stop.wait(0)


def test_one_stuck_thread_shows_beside_one_that_turns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("worker.operate.alive.time.time", lambda: now)
    stop = Turns(Alive("dispatch"))
    once = threading.Thread(target=stop.is_set)
    once.start()
    once.join()
    now += STUCK_SECONDS + 1
    stop.is_set()
    (sign,) = signs(folder)
    assert sign.stuck


def test_a_service_that_stopped_in_good_order_is_not_missed(folder: Path) -> None:
    alive = Alive("worker")
    alive.turned()
    alive.ended()
    assert signs(folder) == []


def test_what_a_killed_process_left_does_not_count(folder: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (folder / f"worker-{ended.pid}.alive").touch()
    (folder / "notes.txt").touch()
    assert signs(folder) == []


def test_nothing_is_written_where_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    Alive("worker").turned()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanished_ends_no_service(folder: Path) -> None:
    alive = Alive("worker")
    folder.rmdir()
    alive.turned()


@pytest.mark.parametrize(
    ("older", "code", "said"),
    [
        (0.0, 0, "turned"),
        (STUCK_SECONDS + 5, 1, "worker did not turn for 600 s"),
    ],
)
def test_the_command_says_so(folder: Path, older: float, code: int, said: str) -> None:
    Alive("worker").turned()
    _make_older(folder, older)
    told = CliRunner().invoke(cli, ["alive"])
    assert told.exit_code == code
    assert said in told.output


@pytest.mark.parametrize("missing", ["variable", "sign", "folder"])
def test_no_sign_at_all_is_a_failure_with_a_next_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "variable":
        monkeypatch.delenv(FOLDER_VARIABLE)
    elif missing == "folder":
        folder.rmdir()
    told = CliRunner().invoke(cli, ["alive"])
    assert told.exit_code == 1
    assert ("No such file" if missing == "folder" else "No service runs here that says so.") in told.output
    assert FOLDER_VARIABLE in told.output
