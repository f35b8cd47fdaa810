"""Proves, one thing at a time, that this host's database, broker, buckets, banks and sandbox do what is relied on.

It writes scratch keys to the buckets and deletes them, and changes nothing else. No line carries a credential.
"""

from __future__ import annotations

import base64
import binascii
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from bank_sync.epoch import read_pointer
from bank_sync.epoch_files import path_of
from bank_sync.exchanges.files import read_signals
from bank_sync.loaded import load_epoch
from config.database import database_errors, make_engine
from config.errors import HashwardenError
from config.policy import BankSettings
from config.settings import Settings
from worker.media.isolation import Wall
from worker.media.sandbox import ZygoteSandbox
from worker.operate.broker import ask
from worker.storage.protocol import Versioning
from worker.storage.s3 import S3Store
from worker.store.migrate import require_current

POSTGRES_VERSION = 140000
"""Least server_version_num: PostgreSQL 14."""

PYTHON_VERSION = (3, 11)

_EVERYBODY = ("AllUsers", "AuthenticatedUsers")
"""Groups of S3's access control lists that stand for anybody (S3 user guide, "ACL overview")."""


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `fail`: do not go live so; `warn`: it runs, and something is missing."""

    part: str
    name: str
    status: Status
    detail: str = ""
    next_step: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Every check in order, each as soon as it is done; a fault of one never ends the others."""
    yield from _guarded("host", _host)
    yield from _guarded("database", lambda: _database(settings))
    yield from _guarded("broker", lambda: _broker(settings))
    store = S3Store(settings.storage)
    if not settings.storage.buckets:
        yield Check(
            "storage",
            "buckets",
            Status.FAIL,
            "No bucket is scanned.",
            "Set storage.buckets to the buckets of uploads.",
        )
    for bucket in settings.storage.buckets:
        yield from _guarded(f"bucket {bucket}", partial(_bucket, store, settings, bucket))
    yield from _guarded("quarantine", lambda: _quarantine(store, settings))
    yield from _guarded("events", lambda: _events(settings))
    yield from _guarded("index", lambda: _index(settings))
    for name, bank in settings.banks.items():
        yield from _guarded(f"bank {name}", partial(_bank, name, bank))
    yield from _guarded("sandbox", _sandbox)
    yield from _guarded("webhook", lambda: _webhook(settings))
    yield from _guarded("pages", lambda: _pages(settings))


def _guarded(part: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except HashwardenError as error:
        yield Check(part, error.code, Status.FAIL, error.message, error.next_step)
    except (SQLAlchemyError, BotoCoreError, ClientError, OSError, ValueError) as error:
        yield Check(
            part,
            "reachable",
            Status.FAIL,
            f"It failed ({type(error).__name__}).",
            "Check its settings; docs/reference/settings.md lists them.",
        )


def _host() -> Iterator[Check]:
    version = platform.python_version()
    if sys.version_info < PYTHON_VERSION:
        yield Check("host", "python", Status.FAIL, version, "Install Python 3.11 or newer.")
    else:
        yield Check("host", "python", Status.OK, version)
    if sys.platform == "linux":
        yield Check("host", "system", Status.OK, f"Linux {platform.release()}")
    else:
        yield Check(
            "host", "system", Status.FAIL, platform.system(), "Run it on Linux: the sandbox needs its kernel."
        )


def _database(settings: Settings) -> Iterator[Check]:
    engine = make_engine(settings.database)
    try:
        with database_errors(), engine.connect() as connection:
            number = int(connection.scalar(text("SHOW server_version_num")) or 0)
            name = str(connection.scalar(text("SHOW server_version")))
        if number < POSTGRES_VERSION:
            yield Check(
                "database", "version", Status.FAIL, f"PostgreSQL {name}", "Use PostgreSQL 14 or newer."
            )
        else:
            yield Check("database", "version", Status.OK, f"PostgreSQL {name}")
        require_current(engine)
        yield Check("database", "schema", Status.OK, "is this version's")
    finally:
        engine.dispose()


def _broker(settings: Settings) -> Iterator[Check]:
    facts = ask(settings.broker)
    yield Check("broker", "version", Status.OK, f"{facts.server} {facts.version}")
    if facts.eviction == "noeviction":
        yield Check("broker", "maxmemory-policy", Status.OK, facts.eviction)
    else:
        yield Check(
            "broker",
            "maxmemory-policy",
            Status.FAIL if facts.max_bytes else Status.WARN,
            f"{facts.eviction}: wake-up calls are dropped when memory runs out.",
            "Set maxmemory-policy noeviction in the broker's configuration.",
        )
    if facts.appendonly:
        yield Check("broker", "appendonly", Status.OK, "on")
    else:
        yield Check(
            "broker",
            "appendonly",
            Status.WARN,
            "Off: a restart forgets wake-up calls, and the dispatcher has to announce them again.",
            "Set appendonly yes in the broker's configuration.",
        )


def _bucket(store: S3Store, settings: Settings, bucket: str) -> Iterator[Check]:
    part = f"bucket {bucket}"
    if bucket == settings.storage.quarantine_bucket:
        yield Check(
            part,
            "quarantine",
            Status.FAIL,
            "It is scanned and the quarantine at once.",
            "Name another bucket in storage.quarantine_bucket.",
        )
        return
    versioning = store.versioning(bucket)
    if versioning is Versioning.ENABLED:
        yield Check(part, "versions", Status.OK, "on")
    else:
        yield Check(
            part,
            "versions",
            Status.WARN,
            f"{versioning.value}: a held object is copied to quarantine and its key deleted.",
            "Turn versions on: then a delete marker withholds, and its removal restores exactly.",
        )
    for probe in store.probe(bucket):
        if probe.ok:
            yield Check(part, probe.name, Status.OK, probe.detail)
        else:
            yield Check(
                part,
                probe.name,
                Status.FAIL,
                probe.detail,
                "Until this holds, uploads of this bucket can't be withheld safely: correct permissions or store.",
            )


def _quarantine(store: S3Store, settings: Settings) -> Iterator[Check]:
    bucket = settings.storage.quarantine_bucket
    if not bucket:
        unversioned = [
            name for name in settings.storage.buckets if store.versioning(name) is not Versioning.ENABLED
        ]
        if unversioned:
            yield Check(
                "quarantine",
                "present",
                Status.FAIL,
                f"None is set, and {', '.join(unversioned)} keeps no versions.",
                "Set storage.quarantine_bucket to a private bucket, or turn versions on.",
            )
        return
    store.versioning(bucket, fresh=True)
    yield Check("quarantine", "present", Status.OK, bucket)
    public = _public_by(store, bucket)
    if public is None:
        yield Check(
            "quarantine",
            "private",
            Status.WARN,
            "The store doesn't tell who may read it.",
            "Make sure that nobody but this system may read that bucket.",
        )
    elif public:
        yield Check(
            "quarantine",
            "private",
            Status.FAIL,
            f"Anybody may read it, by its {public}.",
            "Block public access to that bucket: it holds what was withheld.",
        )
    else:
        yield Check("quarantine", "private", Status.OK)


def _public_by(store: S3Store, bucket: str) -> str | None:
    """What opens the bucket to anybody: 'policy', 'access list', '' for nothing, None when the store won't say."""
    told = False
    try:
        status = store.client.get_bucket_policy_status(Bucket=bucket)
        if status["PolicyStatus"]["IsPublic"]:
            return "policy"
        told = True
    except ClientError as error:
        told = error.response["Error"]["Code"] == "NoSuchBucketPolicy"
    try:
        grants = store.client.get_bucket_acl(Bucket=bucket)["Grants"]
    except ClientError:
        return "" if told else None
    anybody = any(str(grant.get("Grantee", {}).get("URI", "")).endswith(_EVERYBODY) for grant in grants)
    return "access list" if anybody else ""


def _events(settings: Settings) -> Iterator[Check]:
    events, storage = settings.events, settings.storage
    if not events.sqs_queue_url:
        yield Check(
            "events",
            "queue",
            Status.WARN,
            f"None is set: uploads are found by the sweep, every {settings.sweep.recent_every:g} s.",
            "Send the buckets' notifications to SQS and set events.sqs_queue_url.",
        )
        return
    client = boto3.client(
        "sqs",
        endpoint_url=events.sqs_endpoint_url or None,
        region_name=storage.region,
        aws_access_key_id=storage.access_key.get_secret_value() if storage.access_key else None,
        aws_secret_access_key=storage.secret_key.get_secret_value() if storage.secret_key else None,
        config=Config(
            connect_timeout=storage.connect_timeout, read_timeout=10, retries={"total_max_attempts": 2}
        ),
    )
    try:
        told = client.get_queue_attributes(
            QueueUrl=events.sqs_queue_url, AttributeNames=["ApproximateNumberOfMessages", "RedrivePolicy"]
        )["Attributes"]
    except (ClientError, BotoCoreError, ValueError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        yield Check(
            "events",
            "queue",
            Status.FAIL,
            f"The queue can't be reached ({code}).",
            "Check events.sqs_queue_url, events.sqs_endpoint_url, the region and sqs:GetQueueAttributes.",
        )
        return
    finally:
        client.close()
    yield Check("events", "queue", Status.OK, f"{told.get('ApproximateNumberOfMessages', '?')} messages wait")
    if "RedrivePolicy" not in told:
        yield Check(
            "events",
            "dead-letter queue",
            Status.WARN,
            "None: a message that can never be taken comes again until it expires.",
            "Give the queue a redrive policy.",
        )


def _index(settings: Settings) -> Iterator[Check]:
    folder = settings.epochs_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
    except OSError as error:
        yield Check(
            "index",
            "folder",
            Status.FAIL,
            f"{folder} can't be written: {error.strerror}.",
            "Correct its permissions, free space, or set index.epochs.",
        )
    else:
        yield Check("index", "folder", Status.OK, str(folder))
    pointer = read_pointer(folder)
    epoch = load_epoch(path_of(folder, pointer.number), pointer.number, pointer.manifest_sha256)
    counts = ", ".join(f"{number} {kind}" for kind, number in epoch.counts.items())
    yield Check("index", "epoch", Status.OK, f"{epoch.number}: {counts}")


def _bank(name: str, bank: BankSettings) -> Iterator[Check]:
    part = f"bank {name}"
    if not bank.enabled:
        yield Check(part, "settings", Status.WARN, "It is off: it is not read and does not match.")
        return
    missing = []
    if bank.exchange == "stopncii":
        missing = [field for field in ("subscription_key", "fetch_key") if getattr(bank, field) is None]
    if missing:
        yield Check(
            part,
            "settings",
            Status.FAIL,
            f"It has no {' and no '.join(missing)}.",
            f"Set HASHWARDEN_BANKS__{name.upper()}__{missing[0].upper()}.",
        )
        return
    if bank.exchange == "file" and bank.path is not None:
        yield Check(part, "file", Status.OK, f"{sum(1 for _ in read_signals(bank.path))} signals")
    if bank.exchange == "stopncii" and bank.send_feedback and bank.feedback_key is None:
        yield Check(
            part,
            "feedback",
            Status.WARN,
            "It has no feedback_key: decisions are not reported back.",
            f"Set HASHWARDEN_BANKS__{name.upper()}__FEEDBACK_KEY, or send_feedback = false.",
        )
        return
    yield Check(part, "settings", Status.OK, bank.exchange)


def _sandbox() -> Iterator[Check]:
    with ZygoteSandbox() as sandbox:
        standing = sandbox.walls
    why = {
        Wall.NO_NETWORK: "Allow unprivileged user namespaces, or unshare(CLONE_NEWNET) to the worker.",
        Wall.OTHER_USER: "Start the worker as root in its container: the decoders then run as nobody.",
        Wall.NO_PRIVILEGES: "Allow prctl(PR_SET_NO_NEW_PRIVS) in the container's seccomp profile.",
    }
    for wall in Wall:
        name = (wall.name or "").lower()
        if wall & standing:
            yield Check("sandbox", name, Status.OK)
        else:
            yield Check(
                "sandbox", name, Status.WARN, "This wall around the decoders is missing here.", why[wall]
            )


def _webhook(settings: Settings) -> Iterator[Check]:
    webhook = settings.webhook
    if not webhook.url:
        yield Check(
            "webhook",
            "settings",
            Status.WARN,
            "None is set: the platform is not told what is held.",
            "Set webhook.url and webhook.secret.",
        )
    elif webhook.secret is None:
        yield Check(
            "webhook",
            "settings",
            Status.FAIL,
            "webhook.url has no webhook.secret: nothing is sent unsigned.",
            "Set HASHWARDEN_WEBHOOK__SECRET to a whsec_... secret that the platform knows.",
        )
    else:
        secret = webhook.secret.get_secret_value().removeprefix("whsec_")
        try:
            length = len(base64.b64decode(secret, validate=True))
        except (binascii.Error, ValueError):
            length = 0
        if 24 <= length <= 64:
            yield Check("webhook", "settings", Status.OK, "signed")
        else:
            yield Check(
                "webhook",
                "settings",
                Status.FAIL,
                "webhook.secret is not 24 to 64 bytes in base64.",
                "Make one with `openssl rand -base64 32` and put whsec_ before it.",
            )


def _pages(settings: Settings) -> Iterator[Check]:
    if settings.review.password is None:
        yield Check(
            "pages",
            "password",
            Status.WARN,
            "None is set: the review pages are off.",
            "Set HASHWARDEN_REVIEW__PASSWORD.",
        )
    else:
        yield Check("pages", "password", Status.OK)
