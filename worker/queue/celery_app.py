"""The Celery application: two queues, one integer a message, and settings that were each measured.

Celery's own guarantees are not relied on: a lost, doubled or late message changes nothing but the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue

from config.settings import Settings
from worker.domain import Lane

PROCESS = "hashwarden.process"


def queue_name(lane: Lane) -> str:
    return f"hashwarden.{lane.value}"


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Every setting that differs from Celery's default, with its reason."""
    queue = settings.queue
    return {
        "broker_url": settings.broker.url.get_secret_value(),
        "broker_transport_options": {
            # Twice the longest hard limit: a message that comes back earlier would start a second copy.
            "visibility_timeout": settings.broker.visibility_timeout,
            # The default sweep for lost messages takes 100 s; these make it 10 s.
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            # Without a socket time-out a publish on a dead link waits for ever and health checks never run.
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
            # `unacked` and its like carry no prefix of their own and would collide with another deployment's.
            "global_keyprefix": settings.broker.key_prefix,
        },
        # Results live in our tables.
        "result_backend": None,
        "task_ignore_result": True,
        # Acknowledged after the commit of the outcome.
        "task_acks_late": True,
        # A killed child's message comes back at once; the attempts in the row bound how often.
        "task_reject_on_worker_lost": True,
        "task_retry_on_worker_lost": False,
        # The row holds the truth: requeueing a failed or timed-out task would loop without end.
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        # Nothing waits inside a worker, ageing towards the visibility time-out.
        "worker_prefetch_multiplier": 1,
        # A lost broker with remote control on ends a 5.7.0 worker; off, it reconnects.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        # On Redis an acknowledgement is a hash delete: a task that outlives a broker restart acknowledges fine.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": 25,
        "worker_enable_soft_shutdown_on_idle": False,
        # Against fragmentation and leaks of codecs; not 1, a fork costs an index load.
        "worker_max_tasks_per_child": 500,
        # A leak guard: it is looked at only after a task.
        "worker_max_memory_per_child": 1_500_000,
        # Loading the index may take longer than the default 4 s.
        "worker_proc_alive_timeout": 60,
        # Outlives a broker that comes up later or goes away.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_acquire_timeout": 10,
        # A message is one integer; nothing is ever unpickled.
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_queues": [
            Queue(queue_name(lane), Exchange("hashwarden"), routing_key=lane.value) for lane in Lane
        ],
        "task_default_queue": queue_name(Lane.IMAGE),
        # A typing error in a route fails loudly.
        "task_create_missing_queues": False,
        "task_annotations": {
            PROCESS: {"soft_time_limit": queue.soft_limit_image, "time_limit": queue.hard_limit_image}
        },
        # structlog owns logging.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "enable_utc": True,
    }


def make_app(settings: Settings) -> Celery:
    """An application for publishing; `tasks.worker_app` adds the task for a worker."""
    app = Celery("hashwarden", set_as_current=False)
    app.conf.update(celery_settings(settings))
    return app


class Announcer:
    """Publishes wake-up calls. Best effort: the dispatcher announces again whatever is still due."""

    def __init__(self, settings: Settings) -> None:
        self._app = make_app(settings)
        self._limits = {
            Lane.IMAGE: (settings.queue.soft_limit_image, settings.queue.hard_limit_image),
            Lane.VIDEO: (settings.queue.soft_limit_video, settings.queue.hard_limit_video),
        }

    def __call__(self, uploads: Iterable[tuple[int, Lane]]) -> None:
        """Announces (upload id, lane) pairs over one connection. Raises the broker's error when it is away."""
        with self._app.producer_pool.acquire(block=True, timeout=10) as producer:
            for upload_id, lane in uploads:
                soft, hard = self._limits[lane]
                self._app.send_task(
                    PROCESS,
                    args=[upload_id],
                    queue=queue_name(lane),
                    producer=producer,
                    soft_time_limit=soft,
                    time_limit=hard,
                    retry=False,
                )

    def close(self) -> None:
        self._app.close()
