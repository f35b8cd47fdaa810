"""`hashwarden demo` as a person runs it: everything as expected, nothing left behind, one sentence when it can't."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.demo.deployment import REVIEW_PORT_VARIABLE, to_toml
from worker.demo.media import PHOTOS
from worker.demo.processes import FolderLock, alive, children_of
from worker.demo.receiver import receiving
from worker.demo.screen import percentile

WaitUntil = Callable[..., object]

pytestmark = pytest.mark.timeout(400)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "worker.cli", "demo", *arguments]


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HASHWARDEN_")}
    return {**kept, "COLUMNS": "80", **more}


def _run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (our own command line, no shell)
        _command(*arguments),
        env=_environment(**more),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@contextmanager
def _running(state_dir: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 (as above)
            _command("--state-dir", str(state_dir)),
            env=_environment(**{REVIEW_PORT_VARIABLE: "0"}),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = [child for child in children_of(waiting.pop()) if child not in found]
        found.update(children)
        waiting += children
    return found


def _says(output: Path, words: str) -> bool:
    return words in output.read_text(encoding="utf-8")


def _follow(process: subprocess.Popen[bytes], output: Path, words: str, wait_until: WaitUntil) -> None:
    wait_until(lambda: _says(output, words) or process.poll() is not None, timeout=240)
    assert process.poll() is None, output.read_text(encoding="utf-8")


def test_once_shows_the_whole_way_and_ends(tmp_path: Path) -> None:
    done = _run("--once", "--state-dir", str(tmp_path / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    text = " ".join(done.stdout.split())
    for said in (
        "4 entries are live in the database",
        "the sweep found 2 of 2",
        "41 of 41 came out as expected",
        "17 of 17 held: denied",
        "26 of 26 others: served, byte for byte",
        "its version is deleted",
        "the own bank recognised the copy",
        "6 of 6 held uploads are served again, byte for byte",
        "arrived, every signature right",
        "p95",
        "coverage:",
    ):
        assert said in text
    assert re.search(r"All \d+ checks came out as expected", text)
    assert "✗" not in text
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r"[0-9a-f]{32}", done.stdout), "a hash or a case number was shown"
    assert "\x1b" not in done.stdout
    # Nothing runs on, and nothing but the state folder is left.
    FolderLock(tmp_path / "state" / "demo" / "embedded.lock").release()


def test_killed_it_leaves_no_process(tmp_path: Path, wait_until: WaitUntil) -> None:
    output = tmp_path / "output"
    with _running(tmp_path / "state", output) as demo:
        _follow(demo, output, "uploads by plain put_object", wait_until)
        family = _descendants(demo.pid)
        assert len(family) > 10
        demo.send_signal(signal.SIGKILL)
        demo.wait()
        wait_until(lambda: not any(alive(pid) for pid in family), timeout=30)


def test_asked_to_end_it_ends_its_parts_first(tmp_path: Path, wait_until: WaitUntil) -> None:
    output = tmp_path / "output"
    with _running(tmp_path / "state", output) as demo:
        _follow(demo, output, "Three people give hashes", wait_until)
        family = _descendants(demo.pid)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 128 + signal.SIGTERM
        assert family
        assert not any(alive(pid) for pid in family)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = _run("--state-dir", str(tmp_path), **{REVIEW_PORT_VARIABLE: str(port)})
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert REVIEW_PORT_VARIABLE in done.stderr
    assert "Traceback" not in done.stderr


def test_two_never_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    lock = FolderLock(tmp_path / "demo" / "embedded.lock")
    try:
        done = _run("--once", "--state-dir", str(tmp_path))
    finally:
        lock.release()
    assert done.returncode == 1
    assert "in use by another running hashwarden" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = _run("--once", "--state-dir", str(tmp_path / "file" / "var"))
    assert done.returncode == 1
    assert "can't be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_receiver_takes_only_what_is_signed() -> None:
    import httpx

    with receiving("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") as receiver:
        headers = {
            "webhook-id": "1",
            "webhook-timestamp": str(int(time.time())),
            "webhook-signature": "v1,bm90IGEgc2lnbmF0dXJl",
        }
        assert httpx.post(receiver.url, content=b'{"type": "item.held"}', headers=headers).status_code == 401
        assert receiver.refused == 1
        assert receiver.received() == []


def test_every_photograph_has_its_licence_line() -> None:
    licences = (PHOTOS / "LICENSES.md").read_text(encoding="utf-8")
    names = [path.name for path in PHOTOS.glob("*.jpg")]
    assert len(names) >= 12
    assert [name for name in names if f"| {name} |" not in licences] == []


def test_settings_are_written_as_toml() -> None:
    import tomllib

    values = {"a": 'x"y\\z', "n": {"port": 1, "names": ["b", "c"], "deep": {"ratio": 0.5, "on": True}}}
    assert tomllib.loads(to_toml(values)) == values


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.95) == 95
