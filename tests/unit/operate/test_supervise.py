"""The supervisor on small real processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from worker.operate import supervise
from worker.operate.supervise import Supervisor


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_an_ended_service_is_started_again_after_a_growing_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "PAUSE_FIRST", 0.01)
    monkeypatch.setattr(supervise, "_LOOK_SECONDS", 0.01)
    stop = threading.Event()
    marks = tmp_path / "marks"
    code = f"open({str(marks)!r}, 'a').write('x'); raise SystemExit(3)"

    class Counting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if marks.exists() and len(marks.read_text()) >= 3:
                self.set()
            return stop.wait(timeout) or self.is_set()

    supervisor = Supervisor({"failing": python(code)})
    supervisor.run(Counting())
    assert len(marks.read_text()) == 3
    assert supervisor.pids() == {}


def test_a_service_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervise, "STOP_SECONDS", 0.2)
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )

    class WhenReady(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if ready.exists():
                self.set()
            return super().wait(timeout)

    supervisor = Supervisor({"stubborn": python(code)})
    supervisor.run(WhenReady())
    assert supervisor.pids() == {}


def test_a_child_whose_parent_ended_before_it_looked_does_not_stay() -> None:
    """The death signal is sent once: a child that asks for it too late has to see for itself."""
    ask = "die_with_parent(15, os.getpid())"
    code = f"import os; from worker.media.isolation import die_with_parent; {ask}; print('stays')"
    late = subprocess.run(python(code), capture_output=True, check=False)  # noqa: S603 (our own command)
    assert (late.returncode, late.stdout) == (1, b"")
