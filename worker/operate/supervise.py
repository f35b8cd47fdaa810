"""Runs several services as child processes: one that ends is started again, and none outlives this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from worker.media.isolation import die_with_parent

log = structlog.get_logger()

PAUSE_FIRST, PAUSE_MAX = 1.0, 30.0
"""Seconds before an ended service starts again: doubled each time, up to the longest."""

STEADY_SECONDS = 60.0
"""A service that ran this long begins with the first pause again."""

STOP_SECONDS = 40.0
"""How long services may take to end: a worker's soft shutdown is 25 s, a long poll 20 s."""

_LOOK_SECONDS = 0.2


@dataclass(slots=True)
class _Service:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    pause: float = PAUSE_FIRST


class Supervisor:
    """Starts, watches, restarts and ends services. For the main thread: children die with the thread that forked."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._services = [_Service(name, command) for name, command in commands.items()]

    def run(self, stop: threading.Event) -> None:
        """Keeps all services running until `stop` is set, then ends them."""
        try:
            while not stop.is_set():
                for service in self._services:
                    self._look_after(service)
                stop.wait(_LOOK_SECONDS)
        finally:
            self._end()

    def pids(self) -> dict[str, int]:
        """The process ids of the services that run now."""
        return {
            service.name: service.process.pid for service in self._services if service.process is not None
        }

    def _look_after(self, service: _Service) -> None:
        now = time.monotonic()
        if service.process is None:
            if now >= service.due_at:
                self._start(service, now)
            return
        code = service.process.poll()
        if code is None:
            return
        if now - service.started_at >= STEADY_SECONDS:
            service.pause = PAUSE_FIRST
        log.error("service_ended", service=service.name, code=code, starts_again_in=service.pause)
        service.process = None
        service.due_at = now + service.pause
        service.pause = min(service.pause * 2, PAUSE_MAX)

    def _start(self, service: _Service, now: float) -> None:
        service.process = subprocess.Popen(  # noqa: S603 (our own command line)
            service.command,
            stdin=subprocess.DEVNULL,
            # Ctrl-C at the terminal reaches this process only, which then ends them in order.
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getpid()),
        )
        service.started_at = now
        log.info("service_started", service=service.name, pid=service.process.pid)

    def _end(self) -> None:
        running = [service for service in self._services if service.process is not None]
        for service in running:
            _signal(service, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for service in running:
            assert service.process is not None  # noqa: S101 (filtered above)
            try:
                service.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("service_killed", service=service.name)
                _signal(service, signal.SIGKILL, group=True)
                service.process.wait()
            service.process = None


def _signal(service: _Service, number: signal.Signals, *, group: bool = False) -> None:
    assert service.process is not None  # noqa: S101 (callers look)
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(service.process.pid, number)
        else:
            service.process.send_signal(number)
