"""Proves, one thing at a time, that this host's database, broker, buckets, banks and sandbox do what is relied on.

It writes scratch keys to the buckets and deletes them, and changes nothing else. No line carries a credential.
"""

from __future__ import annotations

import base64
import binascii
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from bank_sync.bank import BankCheckpoint
from bank_sync.epoch import read_pointer
from bank_sync.exchanges.files import read_signals
from bank_sync.opened import load_epoch
from bank_sync.sync import replica_of
from config.database import database_errors, make_engine, make_sessions
from config.errors import DatabaseError, HashwardenError
from config.policy import BankSettings
from config.settings import Settings
from worker.media.isolation import Wall
from worker.media.sandbox import ZygoteSandbox
from worker.operate.broker import ask
from worker.operate.check import Check, Status
from worker.operate.doctor_events import event_checks
from worker.operate.doctor_redis import keeping_checks
from worker.operate.doctor_storage import bucket_checks, quarantine_checks
from worker.operate.memory import GIB, allowed_memory, decoder_memory
from worker.storage.s3 import S3Store
from worker.store.adjudication import active
from worker.store.migrate import require_current
from worker.store.people import Person
from worker.store.rulesets import settings_in_force

POSTGRES_VERSION = 140000
"""Least server_version_num: PostgreSQL 14."""

PYTHON_VERSION = (3, 11)


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
        yield from _guarded(f"bucket {bucket}", partial(bucket_checks, store, settings, bucket))
    yield from _guarded("quarantine", lambda: quarantine_checks(store, settings))
    yield from _guarded("events", lambda: event_checks(settings))
    yield from _guarded("index", lambda: _index(settings))
    yield from _guarded("rules", lambda: _rules(settings))
    for name, bank in settings.banks.items():
        yield from _guarded(f"bank {name}", partial(_bank, name, bank))
    yield from _guarded("banks", lambda: _second_keys(settings))
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
    yield memory_check(allowed_memory(), os.cpu_count() or 1)


def memory_check(allowed: int, concurrency: int) -> Check:
    """Whether so many bytes hold the decoders of `hashwarden up` at this concurrency, all at their limit."""
    needed = decoder_memory(concurrency)
    about = f"{allowed / GIB:.1f} GiB; decoders of `hashwarden up` take at most {needed / GIB:.1f} GiB"
    if needed <= allowed:
        return Check("host", "memory", Status.OK, about)
    fitting = max((some for some in range(1, concurrency) if decoder_memory(some) <= allowed), default=0)
    return Check(
        "host",
        "memory",
        Status.WARN,
        about,
        f"Start it with `--concurrency {fitting}`, or give it more memory."
        if fitting
        else f"Give it {decoder_memory(1) / GIB:.1f} GiB: bombs may end workers with less.",
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
    yield from keeping_checks(
        "broker",
        facts,
        evicts="wake-up calls are dropped",
        forgets="a restart forgets wake-up calls, and the dispatcher has to announce them again",
        where="in the broker's configuration",
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
    replica = replica_of(settings)
    if replica is not None:
        replica.pull(folder)
        yield Check("index", "publish_to", Status.OK, "reached")
    pointer = read_pointer(folder)
    epoch = load_epoch(folder, pointer.number, pointer.manifest_sha256)
    counts = ", ".join(f"{number} {kind}" for kind, number in epoch.counts.items())
    yield Check("index", "epoch", Status.OK, f"{epoch.number}: {counts}")


def _bank(name: str, bank: BankSettings) -> Iterator[Check]:
    part = f"bank {name}"
    if not bank.enabled:
        yield Check(part, "settings", Status.WARN, "It is off: it is not read and does not match.")
        return
    missing = []
    if bank.exchange == "stopncii":
        missing = [
            field
            for field in ("subscription_key", "fetch_key")
            if getattr(bank, field) is None and getattr(bank, f"second_{field}") is None
        ]
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
    if (
        bank.exchange == "stopncii"
        and bank.send_feedback
        and not (bank.feedback_key or bank.second_feedback_key)
    ):
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
        Wall.FILTERED_CALLS: "Run it on x86_64 or aarch64, on a kernel with CONFIG_SECCOMP_FILTER.",
        Wall.NO_FILES: "Run it on Linux 5.13 or newer with landlock among the kernel's security modules.",
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
    elif not webhook.secrets:
        yield Check(
            "webhook",
            "settings",
            Status.FAIL,
            "webhook.url has no webhook.secret: nothing is sent unsigned.",
            "Set HASHWARDEN_WEBHOOK__SECRET to a whsec_... secret that the platform knows.",
        )
    elif all(map(_is_secret, webhook.secrets)):
        both = len(webhook.secrets) > 1
        yield Check("webhook", "settings", Status.OK, "signed by two secrets" if both else "signed")
    else:
        yield Check(
            "webhook",
            "settings",
            Status.FAIL,
            "webhook.secret or webhook.second_secret is not 24 to 64 bytes in base64.",
            "Make one with `openssl rand -base64 32` and put whsec_ before it.",
        )


def _is_secret(secret: str) -> bool:
    try:
        return 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    except (binascii.Error, ValueError):
        return False


def _second_keys(settings: Settings) -> Iterator[Check]:
    engine = make_engine(settings.database)
    try:
        with engine.connect() as connection:
            rows = connection.execute(select(BankCheckpoint.bank, BankCheckpoint.second_keys)).all()
    except SQLAlchemyError:
        # The database's own checks say what is wrong.
        return
    finally:
        engine.dispose()
    for name, refused in rows:
        if refused and name in settings.banks:
            yield Check(
                f"bank {name}",
                "keys",
                Status.WARN,
                f"It refused {', '.join(refused)}: the second keys are in use.",
                "docs/how-to/rotate-secrets.md says what to do.",
            )


def _rules(settings: Settings) -> Iterator[Check]:
    engine = make_engine(settings.database)
    try:
        found = settings_in_force(make_sessions(engine), settings)
    except (SQLAlchemyError, DatabaseError):
        # The database's own checks say what is wrong.
        return
    finally:
        engine.dispose()
    if found.unapproved is None:
        yield Check("rules", "approved", Status.OK, f"revision {found.rules.revision}")
    else:
        yield Check(
            "rules",
            "approved",
            Status.WARN,
            f"The files say others ({found.unapproved.revision}); {found.rules.revision} stays in force.",
            "`hashwarden rules diff` lists what differs; `hashwarden rules propose` asks for a second person.",
        )


def _pages(settings: Settings) -> Iterator[Check]:
    engine = make_engine(settings.database)
    try:
        with engine.connect() as connection:
            query = select(func.count()).select_from(Person).where(Person.disabled.is_(False))
            people = connection.scalar(query)
            able = connection.scalar(query.where(active()))
    except SQLAlchemyError:
        # The database's own checks say what is wrong.
        return
    finally:
        engine.dispose()
    if not people and not settings.oidc.issuer:
        yield Check(
            "pages",
            "people",
            Status.WARN,
            "Nobody can sign in to the review pages.",
            "`hashwarden people add NAME --role admin` makes the first person.",
        )
    else:
        yield Check(
            "pages", "people", Status.OK, f"{people}, and a provider" if settings.oidc.issuer else f"{people}"
        )
    if settings.policy.second_review.asks and not able:
        yield Check(
            "pages",
            "adjudicators",
            Status.WARN,
            "Second reviews are asked for, and nobody may decide where two persons disagree.",
            "`hashwarden people roles NAME adjudicator` lets somebody.",
        )
