"""The services as processes: `up` runs them all, starts an ended one again, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from worker.commands.services import own_command

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

SERVICES = {"worker-image", "worker-video", "ingest", "dispatch", "sweep", "review-app"}

Wait = Callable[..., object]


def children(pid: int) -> dict[int, str]:
    """The child processes of a process and what they run: `sweep`, `worker --lane image`, ..."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            if "worker.cli" in words:
                found[int(child)] = " ".join(words[words.index("worker.cli") + 1 :]).strip()
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def up(rig: Rig, environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`hashwarden up` with an index, its output in a file."""
    rig.publish()
    variables = {
        **os.environ,
        **environment,
        "HASHWARDEN_REVIEW__PORT": "0",
        "HASHWARDEN_BANKS__STOPNCII__EXCHANGE": "stopncii",
    }
    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (our own command)
            own_command("up", "--concurrency", "1"), env=variables, stdout=log, stderr=log
        )
        yield process
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def _log(tmp_path: Path) -> str:
    return (tmp_path / "up.log").read_text()


def test_an_upload_goes_its_way_under_up(
    up: subprocess.Popen[bytes], rig: Rig, versioned_bucket: str, tmp_path: Path, wait_until: Wait
) -> None:
    wait_until(lambda: len(children(up.pid)) == len(SERVICES), timeout=30)
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    rig.s3.put_object(Bucket=versioned_bucket, Key="a.jpg", Body=body)
    wait_until(lambda: rig.get(versioned_bucket, "a.jpg") is None, timeout=60)

    def address() -> str:
        lines = [line for line in _log(tmp_path).splitlines() if line.startswith("Review pages at ")]
        return lines[0].removeprefix("Review pages at ") if lines else ""

    wait_until(address, timeout=30)
    ready = httpx.get(f"{address()}health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)

    running = children(up.pid)
    sweep = next(pid for pid, what in running.items() if what == "sweep")
    os.kill(sweep, signal.SIGKILL)
    wait_until(lambda: "sweep" in children(up.pid).values() and sweep not in children(up.pid), timeout=20)

    running = children(up.pid)
    up.terminate()
    assert up.wait(60) == 0
    assert not [what for pid, what in running.items() if alive(pid)]
    # Who looked at what, and which object it was, is in no log line.
    assert "a.jpg" not in _log(tmp_path)
    assert "health/ready" not in _log(tmp_path)


def test_no_service_outlives_a_killed_supervisor(up: subprocess.Popen[bytes], wait_until: Wait) -> None:
    wait_until(lambda: len(children(up.pid)) == len(SERVICES), timeout=30)
    running = children(up.pid)
    up.kill()
    up.wait(10)
    wait_until(lambda: not any(alive(pid) for pid in running), timeout=60)
    assert up.returncode == -signal.SIGKILL


@pytest.mark.parametrize("command", ["dispatch", "ingest", "inbox-app", "sweep", "review-app"])
def test_a_service_ends_in_order_when_it_is_told_to(
    environment: dict[str, str], command: str, wait_until: Wait
) -> None:
    variables = {
        **os.environ,
        **environment,
        "HASHWARDEN_REVIEW__PORT": "0",
        "HASHWARDEN_INBOX__PORT": "0",
        "HASHWARDEN_INBOX__STORE_TOKENS": f'["{"k" * 40}"]',
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(  # noqa: S603 (our own command)
        own_command(command), env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            wait_until(lambda: catches(process.pid, signal.SIGTERM), timeout=30)
            process.terminate()
            assert process.wait(40) == 0
        finally:
            process.kill()


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal: from then on it ends in order."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)
