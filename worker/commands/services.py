"""The services of a deployment, each one command, and `up`, which runs them all on this host."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from config.settings import Settings
    from worker.events.inbox import Inbox
    from worker.media.isolation import Wall
    from worker.queue.celery_app import Announcer
    from worker.queue.parts import Parts

_LANES = click.Choice(["image", "video", "both"])

_concurrency = click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    help="Uploads at once; else the CPUs.",
)


@click.command(epilog="Example: hashwarden migrate")
def migrate() -> None:
    """Bring the database's schema to this version. Safe to run again, and by two hosts at once."""
    from config.database import make_engine
    from config.settings import load_settings
    from worker.store.migrate import current_revision, upgrade

    database = load_settings().database
    # Refuses an address that is none before Alembic meets it.
    make_engine(database).dispose()
    url = database.url.get_secret_value()
    upgrade(url)
    click.echo(f"The database has schema {current_revision(url)}.")


@click.command(epilog="Example: hashwarden worker --lane video --concurrency 1")
@click.option(
    "--lane",
    type=_LANES,
    default="both",
    show_default=True,
    help="Which uploads: give videos a host of theirs.",
)
@_concurrency
def worker(lane: str, concurrency: int) -> None:
    """Scan uploads until told to stop. Run as many as you like, on any number of hosts."""
    from worker.domain import Lane
    from worker.queue.tasks import run_worker

    run_worker(_checked("worker"), list(Lane) if lane == "both" else [Lane(lane)], concurrency)


@click.command(epilog="Example: hashwarden ingest")
def ingest() -> None:
    """Take upload events from the SQS queue or MinIO's Redis list until told to stop.

    A message leaves the queue or the list when its rows are committed.
    """
    from worker.events import bridge
    from worker.events.sources import open_source

    settings = _checked("ingest")
    with (
        closing(open_source(settings)) as source,
        _parts(settings) as (parts, announcer),
        _until_signalled() as stop,
    ):
        bridge.run(source, _inbox(settings, parts, announcer), stop)


@click.command(epilog="Example: hashwarden dispatch")
def dispatch() -> None:
    """Announce every due upload again, send webhooks and feedback, release what was withdrawn, until told to stop.

    Safe to run on two hosts at once.
    """
    from worker.queue.dispatch import Dispatcher

    settings = _checked("dispatch")
    with _parts(settings) as (parts, announcer), _until_signalled() as stop:
        Dispatcher(settings, parts.sessions, announcer).run(stop)


@click.command(epilog="Example: hashwarden sweep --full")
@click.option("--full", is_flag=True, help="List every bucket whole, once, and exit.")
@click.option("--recent", is_flag=True, help="Look at what was modified lately, once, and exit.")
@click.option("--once", is_flag=True, help="Both, once, and exit.")
def sweep(full: bool, recent: bool, once: bool) -> None:
    """Find uploads that no event told of, by listing the buckets, until told to stop.

    The first full sweep of a bucket is its backfill; one that is broken off goes on where it was.
    """
    from worker.events.sweep import Sweeper

    settings = _checked("sweep")
    with _parts(settings) as (parts, announcer), _until_signalled() as stop:
        sweeper = Sweeper(parts.sessions, parts.store, _inbox(settings, parts, announcer), settings)
        if not (full or recent or once):
            sweeper.run(stop)
            return
        for bucket in settings.storage.buckets:
            for wanted, run in ((recent or once, sweeper.recent), (full or once, sweeper.full)):
                if wanted and not run(bucket, stop) and not stop.is_set():
                    click.echo(f"Bucket {bucket} is being swept by another process.", err=True)


@click.command("review-app", epilog="Example: hashwarden review-app")
def review_app() -> None:
    """Serve the review pages, /metrics, /health/live and /health/ready until told to stop.

    `hashwarden people` says who may sign in. Other hosts are served only with TLS in front (review.tls).
    """
    from bank_sync.epoch import read_pointer
    from config.database import make_engine, make_sessions
    from worker.commands.wake import wake
    from worker.media.limits import Limits
    from worker.media.sandbox import ZygoteSandbox
    from worker.operate.metrics import Metrics
    from worker.operate.serve import Place, serve
    from worker.review.app import make_app
    from worker.review.reveal.reveals import Reveals
    from worker.storage.s3 import S3Store

    settings = _checked("review-app")
    engine = make_engine(settings.database)
    sessions = make_sessions(engine)

    def walls() -> Wall:
        with ZygoteSandbox() as sandbox:
            return sandbox.walls

    metrics = Metrics(settings, sessions, lambda: read_pointer(settings.epochs_dir), walls=walls)
    limits = Limits(video_bytes=settings.media.spool_bytes)
    try:
        with ZygoteSandbox(limits) as pictures, ZygoteSandbox(limits) as films, _until_signalled() as stop:
            reveals = Reveals(settings, sessions, S3Store(settings.storage), pictures, films)
            app = make_app(
                settings, sessions, lambda moved: wake(settings, moved), metrics=metrics, reveals=reveals
            )
            review = settings.review
            place = Place("review pages", "review", review.host, review.port, review.tls)
            serve(app, place, stop, lambda address: click.echo(f"Review pages at {address}"))
    finally:
        engine.dispose()


@click.command("inbox-app", epilog="Example: hashwarden inbox-app")
def inbox_app() -> None:
    """Take uploads that stores and the platform push over HTTP, until told to stop. It needs a token.

    A push is answered by 2xx when its rows are committed. Other hosts are served only with TLS in front (inbox.tls).
    """
    from config.errors import SettingsError
    from worker.operate.serve import Place, serve
    from worker.push.app import PushApp

    settings = _checked("inbox-app")
    taken = settings.inbox
    if not taken.is_open:
        raise SettingsError(
            "Neither inbox.store_tokens nor inbox.platform_tokens is set, so nobody could push anything.",
            next_step="Make one with `openssl rand -hex 32`, and set HASHWARDEN_INBOX__STORE_TOKENS='[\"...\"]'.",
        )
    with _parts(settings) as (parts, announcer), _until_signalled() as stop:
        app = PushApp(settings, parts.sessions, parts.store, _inbox(settings, parts, announcer))
        place = Place("inbox", "inbox", taken.host, taken.port, taken.tls)
        serve(app.asgi, place, stop, lambda address: click.echo(f"Inbox at {address}"))


@click.command(epilog="Example: hashwarden up --concurrency 4")
@_concurrency
def up(concurrency: int) -> None:
    """Run all services of this host as child processes; one that ends is started again.

    Bank syncs are not among them: let cron run `hashwarden bank sync --all`.
    """
    from worker.operate.memory import video_concurrency
    from worker.operate.supervise import Supervisor

    settings = _checked("up")
    services = {
        "worker-image": ["worker", "--lane", "image", "--concurrency", str(concurrency)],
        "worker-video": ["worker", "--lane", "video", "--concurrency", str(video_concurrency(concurrency))],
        "dispatch": ["dispatch"],
        "sweep": ["sweep"],
        "review-app": ["review-app"],
    }
    if settings.events.has_source:
        services["ingest"] = ["ingest"]
    if settings.inbox.is_open:
        services["inbox-app"] = ["inbox-app"]
    with _until_signalled() as stop:
        Supervisor({name: own_command(*command) for name, command in services.items()}).run(stop)


def own_command(*arguments: str) -> list[str]:
    """The command line that runs `hashwarden ARGUMENTS` with this very installation."""
    # -P: a folder `worker` where the command is run must not be taken for ours.
    return [sys.executable, "-P", "-m", "worker.cli", *arguments]


def _checked(service: str) -> Settings:
    """The settings in force, with logs set up. With which ones a service started stands in the audit log.

    The service ends here with one sentence when it could not work at all: raises SettingsError or DatabaseError.
    A broker that is away is no reason: services go on without it.
    """
    from config.database import make_engine, make_sessions
    from config.logs import configure_logs
    from config.settings import load_settings
    from worker.operate.broker import open_broker
    from worker.review import audit, rules
    from worker.store.migrate import require_current

    files = load_settings()
    configure_logs(files.logs)
    open_broker(files.broker).close()
    engine = make_engine(files.database)
    try:
        require_current(engine)
        with make_sessions(engine).begin() as session:
            settings = rules.begin(session, files, service=service)
            audit.record(
                session,
                actor=f"service:{service}",
                action="service_started",
                details={
                    "settings": settings.revision,
                    "rules": settings.rules.revision,
                    "policy": settings.policy.revision,
                    "mode": settings.policy.mode,
                    "version": version("hashwarden"),
                },
            )
    finally:
        engine.dispose()
    return settings


@contextmanager
def _parts(settings: Settings) -> Iterator[tuple[Parts, Announcer]]:
    from worker.queue.celery_app import Announcer
    from worker.queue.parts import Parts

    parts = Parts(settings)
    announcer = Announcer(settings)
    try:
        yield parts, announcer
    finally:
        announcer.close()
        parts.close()


def _inbox(settings: Settings, parts: Parts, announcer: Announcer) -> Inbox:
    from worker.events.inbox import Inbox

    return Inbox(parts.sessions, parts.store, announcer, settings.storage)


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; a second Ctrl-C ends the process at once.

    Loops that ask for it are seen by `hashwarden alive`.
    """
    from worker.operate.alive import Alive, Turns

    alive = Alive(click.get_current_context().info_name or "")
    stop = Turns(alive)

    def end(_number: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        alive.ended()
