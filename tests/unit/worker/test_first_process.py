"""As process 1 of a process-id namespace, by real processes: orphans are reaped, signals passed on, codes kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from worker import first_process; first_process.stand_in()\n"


def _may_make_namespaces() -> bool:
    try:
        told = subprocess.run([*_UNSHARE, "true"], capture_output=True)  # noqa: S603 (a fixed command)
        return told.returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(
    not _may_make_namespaces(), reason="this host lets nobody make a process-id namespace"
)


def _as_first(body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 (our own interpreter and code)
        [*_UNSHARE, sys.executable, "-c", _START + body],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def _told(body: str) -> tuple[int, str]:
    process = _as_first(body)
    told, _ = process.communicate(timeout=30)
    return process.returncode, told


def test_the_command_runs_as_a_child_and_its_exit_code_is_kept() -> None:
    code, told = _told("import os; print(os.getpid(), os.getppid(), flush=True); sys.exit(3)")
    assert code == 3
    assert told == "2 1\n"


def test_a_killed_command_ends_with_its_signal_s_code() -> None:
    code, _ = _told("import os; os.kill(os.getpid(), 9)")
    assert code == 128 + signal.SIGKILL


def test_orphans_are_reaped() -> None:
    body = """
import os, time
from pathlib import Path
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(write, os.getpid().to_bytes(4, "big"))
    os._exit(0)
os.wait()
orphan = int.from_bytes(os.read(read, 4), "big")
deadline = time.monotonic() + 20
while Path(f"/proc/{orphan}").exists() and time.monotonic() < deadline:
    time.sleep(0.01)
print(Path(f"/proc/{orphan}").exists())
"""
    assert _told(body) == (0, "False\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_to_process_1_reaches_the_command_once(number: signal.Signals) -> None:
    body = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [{number.value}])
os.kill(1, {number.value})
signal.sigwait([{number.value}])
print(signal.sigpending())
"""
    assert _told(body) == (0, "set()\n")


def test_any_other_process_goes_on_as_it_is() -> None:
    told = subprocess.run(  # noqa: S603 (our own interpreter and code)
        [sys.executable, "-c", _START + "import os; print(os.getppid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(told.stdout) > 1
