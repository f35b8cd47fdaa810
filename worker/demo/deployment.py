"""A whole deployment on this machine: embedded servers, a practice bank and the real services as processes.

It ends with this process, however that ends. What it holds is made for practice: nothing in it is a secret.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from sqlalchemy import Engine

from bank_sync.sandbox.app import PracticeKeys
from config.database import Sessions, make_engine, make_sessions
from config.settings import CONFIG_FILE_VARIABLE, Settings, load_settings
from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY, Embedded
from worker.demo.processes import EmbeddedError, Server, spawn
from worker.demo.receiver import Receiver, receiving
from worker.store import migrate
from worker.store.people import Role

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BANK = "practice"
BUCKET = "uploads"
REVIEW_PORT_VARIABLE = "HASHWARDEN_REVIEW__PORT"
REMOVAL_DELAY = 2.0
"""Seconds until removed bytes are deleted; the default of ten minutes would outlast the demonstration."""

_START_SECONDS = 90.0  # six interpreters start at once, perhaps on one busy core
_HOST = "127.0.0.1"
_LINK_MINUTES = 60
_BANK_ADDRESS = re.compile(r"practice bank at (http://\S+)")
_SERVICES: Mapping[str, tuple[str, ...]] = {
    "image-worker": ("worker", "--lane", "image", "--concurrency", "2"),
    "video-worker": ("worker", "--lane", "video", "--concurrency", "1"),
    "ingest": ("ingest",),
    "dispatch": ("dispatch",),
    "sweep": ("sweep",),
    "review-app": ("review-app",),
}


class Service(Server):
    """One `hashwarden` command as a process of its own, its output in a log file."""

    def __init__(
        self, name: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        super().__init__(folder / "logs" / f"{name}.log")
        self.name = name
        self._arguments = arguments
        self._folder = folder
        self._environment = environment
        self._ready: Callable[[], bool] = lambda: True

    def begin(self) -> None:
        self.log_path.unlink(missing_ok=True)
        self._process = spawn(
            [sys.executable, "-P", "-m", "worker.cli", *self._arguments],
            log_path=self.log_path,
            working_folder=self._folder,
            environment=self._environment,
        )

    def answers(self) -> bool:
        return self._ready()

    def ready_when(self, condition: Callable[[], bool]) -> None:
        self._ready = condition

    def end_soon(self) -> None:
        """Asks it to end and does not wait."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)


@dataclass
class Deployment:
    """The running parts and how to reach them."""

    embedded: Embedded
    settings: Settings
    engine: Engine
    sessions: Sessions
    s3: S3Client
    receiver: Receiver
    bank_url: str
    config_path: Path
    services: list[Service] = field(default_factory=list)

    def command(self, *arguments: str) -> str:
        """Runs one `hashwarden` command against this deployment; its standard output.

        Raises EmbeddedError with the command's own sentence when it fails.
        """
        done = subprocess.run(  # noqa: S603 (our own command line, no shell)
            [sys.executable, "-P", "-m", "worker.cli", *arguments],
            env=_environment(self.config_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise EmbeddedError(
                f"`hashwarden {' '.join(arguments)}` failed: {said[-1]}", next_step="Start anew."
            )
        return done.stdout.strip()

    def sign_in_link(self) -> str:
        """Where a person of the demonstration, who is made now, signs in once: with every role."""
        made = self.command("people", "add", "Demo", *(f"--role={role}" for role in Role), "--json")
        pseudonym: str = json.loads(made)["pseudonym"]
        link = self.command("people", "link", pseudonym, f"--minutes={_LINK_MINUTES}", "--json")
        found: str = json.loads(link)["link"]
        return found

    def start_services(self) -> None:
        for name, arguments in _SERVICES.items():
            service = Service(
                name, arguments, self.embedded.state_dir, {CONFIG_FILE_VARIABLE: str(self.config_path)}
            )
            if name == "review-app":
                service.ready_when(partial(_listens, self.review_url))
            service.begin()
            self.services.append(service)

    def wait_for_services(self) -> None:
        """Returns when the review pages answer. Raises EmbeddedError, with the log's path, when one has ended."""
        for service in self.services:
            service.wait_ready(_START_SECONDS)
        self.require_services()

    def require_services(self) -> None:
        """Raises EmbeddedError when a service has ended by itself."""
        for service in self.services:
            if not service.running:
                raise EmbeddedError(
                    f"The service {service.name} ended by itself.",
                    next_step=f"Its log {service.log_path} says why.",
                )

    def end_services(self) -> None:
        for service in self.services:
            service.end_soon()
        for service in self.services:
            service.stop()

    @property
    def review_url(self) -> str:
        return f"http://{_HOST}:{self.settings.review.port}"

    def object_url(self, key: str) -> str:
        """Where anybody on this machine can GET an object: the embedded S3 asks for no signature."""
        return f"{self.embedded.s3_endpoint}/{BUCKET}/{key}"

    def watch_bucket(self) -> None:
        """From now on each object created or removed in the bucket is told to the queue, as on AWS."""
        arn = f"arn:aws:sqs:{REGION}:123456789012:{BUCKET}"
        self.s3.put_bucket_notification_configuration(
            Bucket=BUCKET,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
                ]
            },
        )


@contextmanager
def deployed(state_dir: Path, *, any_port: bool) -> Iterator[Deployment]:
    """Embedded servers, practice bank, schema, bucket and queue; the services are started by `start_services`.

    `any_port`: the review pages take a free port where no port was asked for. Raises EmbeddedError.
    """
    port = _review_port(any_port=any_port)
    _forget_settings()
    with ExitStack() as ending:
        embedded = ending.enter_context(Embedded(state_dir, fresh=True))
        folder = embedded.state_dir
        shutil.rmtree(folder / "epochs", ignore_errors=True)
        bank = Service("practice-bank", ("bank", "sandbox", "--port", "0"), folder, {})
        ending.callback(bank.stop)
        bank.begin()
        migrate.upgrade(embedded.database_url)
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        receiver = ending.enter_context(receiving(secret))
        queue_url = _make_bucket_and_queue(embedded.s3_endpoint)
        bank.ready_when(lambda: _BANK_ADDRESS.search(_text(bank.log_path)) is not None)
        bank.wait_ready(_START_SECONDS)
        found = _BANK_ADDRESS.search(_text(bank.log_path))
        assert found is not None  # noqa: S101 (wait_ready has seen it)
        config_path = folder / "demo.toml"
        values = _settings(embedded, found[1], queue_url, receiver.url, secret, port)
        _write_private(config_path, to_toml(values))
        os.environ[CONFIG_FILE_VARIABLE] = str(config_path)
        settings = load_settings()
        engine = make_engine(settings.database)
        ending.callback(engine.dispose)
        deployment = Deployment(
            embedded=embedded,
            settings=settings,
            engine=engine,
            sessions=make_sessions(engine),
            s3=boto3.client("s3", **_aws(embedded.s3_endpoint)),
            receiver=receiver,
            bank_url=found[1],
            config_path=config_path,
        )
        ending.callback(deployment.end_services)
        yield deployment


def _settings(
    embedded: Embedded,
    bank_url: str,
    queue_url: str,
    webhook_url: str,
    secret: str,
    port: int,
) -> dict[str, Any]:
    """What the services read. Waits are short, so that a person can watch."""
    keys = PracticeKeys()
    return {
        "state_dir": str(embedded.state_dir),
        "database": {"url": embedded.database_url},
        "broker": {"url": embedded.broker_url},
        "storage": {
            "endpoint_url": embedded.s3_endpoint,
            "region": REGION,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "buckets": [BUCKET],
        },
        "events": {
            "sqs_queue_url": queue_url,
            "sqs_endpoint_url": embedded.s3_endpoint,
            "sqs_wait_seconds": 1,
        },
        "sweep": {"recent_every": 30},
        "queue": {"dispatch_every": 0.5},
        "index": {"poll_every": 0.5},
        "webhook": {"url": webhook_url, "secret": secret},
        "review": {"host": _HOST, "port": port},
        "policy": {"removal_delay": REMOVAL_DELAY},
        "banks": {
            BANK: {
                "exchange": "stopncii",
                "base_url": bank_url,
                "subscription_key": keys.subscription,
                "fetch_key": keys.fetch,
                "feedback_key": keys.feedback,
            }
        },
    }


def to_toml(values: Mapping[str, Any], name: str = "") -> str:
    """Nested tables of strings, numbers and lists of strings as TOML; JSON's scalars are TOML's too."""
    lines = [
        f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, Mapping)
    ]
    if name and lines:
        lines.insert(0, f"[{name}]")
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += ["", to_toml(value, f"{name}.{key}" if name else key)]
    return "\n".join(lines).strip() + "\n"


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with open(path, "x", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
        file.write(text)


def _review_port(*, any_port: bool) -> int:
    """The port that was asked for, or the default, or a free one. Raises EmbeddedError when it is taken."""
    wanted = load_settings().review.port
    if any_port and REVIEW_PORT_VARIABLE not in os.environ:
        wanted = 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, wanted))
        except OSError as error:
            raise EmbeddedError(
                f"The port {wanted} for the review pages is not free: {error.strerror}.",
                next_step=f"End the program that listens there, or set {REVIEW_PORT_VARIABLE} to another port, "
                "0 for any free one.",
            ) from error
        port: int = probe.getsockname()[1]
        return port


def _forget_settings() -> None:
    """The demonstration has settings of its own: one of a real deployment must not reach it."""
    for name in [name for name in os.environ if name.startswith("HASHWARDEN_")]:
        del os.environ[name]


def _environment(config_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", CONFIG_FILE_VARIABLE: str(config_path)}


def _aws(endpoint: str) -> dict[str, Any]:
    return {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
    }


def _make_bucket_and_queue(endpoint: str) -> str:
    """A bucket that keeps versions, and a queue for its notifications; the queue's address."""
    s3 = boto3.client("s3", **_aws(endpoint))
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.close()
    sqs = boto3.client("sqs", **_aws(endpoint))
    url: str = sqs.create_queue(QueueName=BUCKET)["QueueUrl"]
    sqs.close()
    return url


def _listens(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
