"""Real workers as processes, a real broker, and a gate before the store that holds a download for as long as needed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import select

from config.policy import BankSettings
from config.settings import Settings
from worker.domain import State
from worker.queue.celery_app import Announcer
from worker.queue.dispatch import Dispatcher
from worker.store.models import History

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.integration.conftest import Rig

HERE = Path(__file__).parent


class Gate:
    """A TCP proxy to the store. While it is shut, answers wait; what has come is passed on when it opens."""

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        self._upstream = (address.hostname or "127.0.0.1", address.port or 80)
        self._open = threading.Event()
        self._open.set()
        self.waiting = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._upstream) as server:
            back = threading.Thread(target=self._copy, args=(server, client, True), daemon=True)
            back.start()
            self._copy(client, server, False)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket, gated: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                if gated and not self._open.is_set():
                    self.waiting.release()
                    self._open.wait()
                target.sendall(chunk)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def plain(value: Any) -> Any:  # noqa: ANN401
    """Settings as JSON can hold them, secrets included: the file is the test's own."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


class Fleet:
    """Worker processes and a dispatcher over one rig."""

    def __init__(self, rig: Rig, gate: Gate, folder: Path, wait_until: Callable[..., Any]) -> None:
        self.rig = rig
        self.gate = gate
        self.wait_until = wait_until
        self._settings_file = folder / "settings.json"
        self._log = folder / "workers.log"
        workers = rig.settings.model_copy(
            update={"storage": rig.settings.storage.model_copy(update={"endpoint_url": gate.url})}
        )
        self._settings_file.write_text(json.dumps(plain(workers)))
        self.workers: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self._announcer = Announcer(rig.settings)
        self.dispatcher = Dispatcher(rig.settings, rig.sessions, self._announcer)
        self._thread: threading.Thread | None = None

    def start(self, fault: str = "") -> subprocess.Popen[bytes]:
        """Starts a worker process and waits until its pool children are up."""
        command = [
            sys.executable,
            str(HERE / "faulty_worker.py"),
            str(self._settings_file),
            *([fault] if fault else []),
        ]
        with self._log.open("ab") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        self.workers.append(worker)
        self.wait_until(lambda: len(self.children(worker)) >= 2 or worker.poll() is not None, timeout=30)
        assert worker.poll() is None, self.log()
        return worker

    def dispatch(self) -> None:
        """Starts the dispatcher's loops in this process."""
        self._thread = threading.Thread(target=self.dispatcher.run, args=(self._stop,))
        self._thread.start()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @staticmethod
    def children(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The pool children of a worker; a child's own sandbox is left out."""
        with contextlib.suppress(psutil.Error):
            return [c for c in psutil.Process(worker.pid).children() if c.status() != psutil.STATUS_ZOMBIE]
        return []

    def busy_child(self, upload_id: int) -> int:
        """Waits until an upload is being scanned and returns the process id of the pool child that does it."""
        self.wait_for(upload_id, State.SCANNING)
        with self.rig.sessions() as session:
            actor = session.scalars(
                select(History.actor)
                .where(History.upload_id == upload_id, History.to_state == State.SCANNING)
                .order_by(History.id.desc())
            ).first()
        assert actor
        return int(actor.rpartition(":")[2])

    def wait_for(self, upload_id: int, *states: State, timeout: float = 40.0) -> State:
        """Waits until an upload is in one of the states and its effect holds."""

        def reached() -> bool:
            row = self.rig.row(upload_id)
            return row.state in states and (row.access_due_at is None or State.SCANNING in states)

        try:
            self.wait_until(reached, timeout=timeout)
        except BaseException:
            print(self.log()[-4000:])  # noqa: T201 (what pytest shows of a failure)
            raise
        return State(self.rig.row(upload_id).state)

    def stop(self) -> None:
        self._stop.set()
        self.gate.open()
        if self._thread is not None:
            self._thread.join()
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        self._announcer.close()
        self.gate.close()


@pytest.fixture
def fleet(
    settings: Settings,
    s3: S3Client,
    tmp_path: Path,
    wait_until: Callable[..., Any],
    request: pytest.FixtureRequest,
) -> Iterator[Fleet]:
    """Short times throughout; a test marks what differs by `@pytest.mark.parametrize('queue', [...])`."""
    from tests.integration.conftest import Rig

    queue = {
        "max_attempts": 3,
        "lease_image": 4.0,
        "lease_video": 4.0,
        "soft_limit_image": 20.0,
        "hard_limit_image": 30.0,
        "soft_limit_video": 20.0,
        "hard_limit_video": 30.0,
        "retry_base": 0.2,
        "dispatch_every": 0.3,
        "reannounce_after": 1.0,
        **getattr(request, "param", {}),
    }
    changed = settings.model_copy(
        update={
            "queue": settings.queue.model_copy(update=queue),
            "index": settings.index.model_copy(update={"poll_every": 0.1}),
            "banks": {**settings.banks, "stopncii": BankSettings(exchange="stopncii", send_feedback=False)},
        }
    )
    rig = Rig(changed, s3)
    gate = Gate(changed.storage.endpoint_url or "")
    made = Fleet(rig, gate, tmp_path, wait_until)
    yield made
    made.stop()
    rig.close()
