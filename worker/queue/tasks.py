"""The Celery worker: one task, a shell over the pipeline, and what a pool child sets up after its fork."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from typing import Any

import structlog
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, signals

from config.logs import configure_logs
from config.settings import Settings
from worker import pipeline
from worker.domain import Lane
from worker.operate.alive import TOUCH_EVERY, Alive
from worker.pipeline import Stages
from worker.queue.celery_app import PROCESS, Announcer, make_app, queue_name
from worker.queue.life import SignOfLife
from worker.queue.parts import Parts

log = structlog.get_logger()


class _Child:
    """What one pool child works with. Nothing of it exists before the fork: connections don't survive one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: Parts | None = None
        self._announcer: Announcer | None = None
        self._life: SignOfLife | None = None

    def start(self, **_: Any) -> None:  # noqa: ANN401 (signature of Celery's signals)
        configure_logs(self._settings.logs)
        self._parts = Parts(self._settings)
        self._announcer = Announcer(self._settings)
        self._life = SignOfLife(self._parts.sessions, self._parts.epochs, _end_worker)
        self._life.start()
        # What stays for good is not gone through again and again for what can be freed.
        gc.freeze()

    def stop(self, **_: Any) -> None:  # noqa: ANN401
        if self._life is not None:
            self._life.stop()
        if self._parts is not None:
            self._parts.close()

    def stages(self) -> Stages:
        assert self._parts is not None  # noqa: S101 (worker_process_init ran before any task)
        assert self._announcer is not None  # noqa: S101
        return self._parts.stages(self._announcer)


def worker_app(settings: Settings) -> Celery:
    """The application of a worker process, with its task registered."""
    app = make_app(settings)
    child = _Child(settings)
    signals.worker_process_init.connect(child.start, weak=False)
    signals.worker_process_shutdown.connect(child.stop, weak=False)
    signals.setup_logging.connect(lambda **_: configure_logs(settings.logs), weak=False)

    @app.task(name=PROCESS)
    def process(upload_id: int) -> None:
        run_task(child.stages, upload_id)

    return app


def _end_worker() -> None:
    """Ends the worker of this pool child in good order: running uploads are brought to their end."""
    os.kill(os.getppid(), signal.SIGTERM)


def _say_that_it_takes(alive: Alive) -> None:
    """The loop that takes messages is seen by `hashwarden alive`: it turns only while the broker is there."""
    entry = None

    def ready(sender: Any, **_: Any) -> None:  # noqa: ANN401 (signature of Celery's signals)
        nonlocal entry
        # Sent again after each loss of the broker.
        if entry is not None:
            entry.cancel()
        alive.turned()
        entry = sender.timer.call_repeatedly(TOUCH_EVERY, alive.turned)

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutdown.connect(lambda **_: alive.ended(), weak=False)


def run_task(stages: Callable[[], Stages], upload_id: int) -> None:
    """The task. Nothing leaves it: Celery writes an exception's text into its log, and a MemoryError ends its worker.

    Whatever happened, the row is due again by itself and the attempt is counted.
    """
    try:
        pipeline.process(stages(), upload_id)
    except SoftTimeLimitExceeded:
        log.warning("soft_time_limit", upload=upload_id)
    except Exception as fault:
        log.error("task_failed", upload=upload_id, exc_info=fault)


def run_worker(settings: Settings, lanes: list[Lane], concurrency: int) -> None:
    """Runs a Celery worker on the lanes' queues until it is told to stop; blocks.

    SIGTERM gives running uploads the soft-shutdown time and then restores their messages.
    """
    # Celery reads this name when it starts: SIGTERM then means the soft shutdown.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    app = worker_app(settings)
    _say_that_it_takes(Alive("worker"))
    name = "-".join(lane.value for lane in lanes)
    app.worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={','.join(queue_name(lane) for lane in lanes)}",
            f"--concurrency={concurrency}",
            f"--hostname={name}-{os.getpid()}@%h",
            "--without-gossip",
            "--without-mingle",
            f"--loglevel={settings.logs.level}",
        ]
    )
