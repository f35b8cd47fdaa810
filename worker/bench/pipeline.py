"""Uploads a second from event to committed decision, beside what decoding and hashing alone would allow.

One worker has a core to itself; PostgreSQL, Valkey, S3 and this process, which takes the events as `ingest` does,
share the others. The S3 server is moto, which is slow: its time is the worker's waiting time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import Float, cast, func, select

from bank_sync.bank import BankRecord, upsert
from bank_sync.epoch import publish
from bank_sync.signals import PDQ
from config.database import Sessions
from config.policy import BankSettings
from config.settings import Settings
from worker.bench.banks import random_bank
from worker.bench.cores import Busy, Cores, floor, stages
from worker.bench.figures import HASHWARDEN, Figure
from worker.bench.uploads import Pictures
from worker.domain import PURGED, EventKind, ObjectRef, Profile, State, UploadEvent
from worker.events.inbox import Announce, Inbox
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from
from worker.storage.s3 import S3Store
from worker.store.models import Upload
from worker.store.transitions import FINAL

FLOOR = "decode-floor"
BUCKET = "uploads"
PIPELINE_SETTINGS: dict[str, Any] = {
    "storage": {"buckets": [BUCKET]},
    "banks": {"own": BankSettings(exchange="own"), "measured": BankSettings(exchange="file", path="-")},
}
_HELD_EVERY = 4
"""At half load every so many uploads match."""
_BATCH = 10
"""Events that `ingest` takes at once from SQS."""
_ROUNDS = 7
_POLL = 0.004
_DEADLINE = 600.0


@dataclass(frozen=True)
class Place:
    """The running servers, and how the worker gets its calls."""

    settings: Settings
    sessions: Sessions
    announce: Announce
    cores: Cores
    concurrency: int


def make_bucket(settings: Settings) -> None:
    """The bucket of the measured uploads, with versions."""
    client = S3Store(settings.storage).client
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})


def fill_index(place: Place, matching: Pictures, hashes: int) -> None:
    """An epoch of so many random hashes and those of one picture, which `matching` then meets."""
    records = [BankRecord(PDQ, row.tobytes()) for row in random_bank(hashes, np.random.default_rng(1))]
    with InProcessSandbox() as sandbox, memfd_from([matching.bodies[0]]) as media:
        records.append(BankRecord(PDQ, sandbox.hash(media).originals[0].hash))
    with place.sessions.begin() as session:
        upsert(session, "measured", records)
    with place.sessions.begin() as session:
        publish(session, place.settings.epochs_dir)


def pipeline_figures(place: Place, pictures: Pictures, matching: Pictures, uploads: int) -> Iterator[Figure]:
    """One kind of pictures: floor and worker in turns at full load, the worker's stages, and holds at half load."""
    profile = Profile(place.settings.policy.profile)
    about: dict[str, Any] = {
        "pictures": pictures.name,
        "pixels": pictures.pixels,
        "uploads": uploads,
        "profile": profile.value,
        "concurrency": place.concurrency,
        "rounds": _ROUNDS,
    }
    run = _Run(place)
    run.go(pictures.take(4 * place.concurrency, f"{pictures.name} warm"))
    rates, floors, shares, busy = [], [], [], []
    for each in range(_ROUNDS):
        measured = pictures.take(uploads, f"{pictures.name} {each}")
        least = floor(place.cores.worker, measured, profile)
        seconds, core = run.go(measured)
        rates.append(uploads / seconds)
        floors.append(uploads / least)
        shares.append(100 * least / seconds)
        busy.append(100 * core)
    rate = median(rates)
    yield Figure(HASHWARDEN, "uploads_per_second", round(rate, 2), "1/s", about)
    yield Figure(FLOOR, "uploads_per_second", round(median(floors), 2), "1/s", about)
    for statistic, value in (("median", median(shares)), ("least", min(shares)), ("most", max(shares))):
        yield Figure(HASHWARDEN, "share_of_floor", round(value, 1), "%", {**about, "statistic": statistic})
    yield Figure(HASHWARDEN, "core_busy", round(median(busy), 1), "%", about)
    yield from _stage_figures(run, pictures, uploads, about)
    held = run.half_load(_some_match(pictures, matching, uploads), rate / 2)
    for statistic, share in (("p50", 50), ("p99", 99)):
        params = {**about, "statistic": statistic, "load": "half", "holds": len(held)}
        value = round(1000 * float(np.percentile(held, share)))
        yield Figure(HASHWARDEN, "event_to_hold", value, "ms", params)


def _stage_figures(run: _Run, pictures: Pictures, uploads: int, about: dict[str, Any]) -> Iterator[Figure]:
    """Of a process that takes uploads one after another: what it waits for others cannot fill."""
    looks = run.stages(pictures.take(uploads + 1, f"{pictures.name} stages"))
    for stage, number in looks.most_common():
        params = {**about, "stage": stage, "concurrency": 1, "looks": looks.total()}
        yield Figure(HASHWARDEN, "stage_share", round(100 * number / looks.total(), 1), "%", params)


def _some_match(pictures: Pictures, matching: Pictures, uploads: int) -> list[tuple[bytes, bool]]:
    plain = pictures.take(uploads, f"{pictures.name} half")
    meeting = matching.take(uploads, f"{pictures.name} held")
    return [
        (meeting[each], True) if each % _HELD_EVERY == 0 else (plain[each], False) for each in range(uploads)
    ]


class _Run:
    """Puts objects into the bucket, tells the inbox of them, and waits for what becomes of them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._store = S3Store(place.settings.storage)
        self._inbox = Inbox(place.sessions, self._store, place.announce, place.settings.storage)
        self._silent = Inbox(place.sessions, self._store, lambda _uploads: None, place.settings.storage)

    def go(self, bodies: Sequence[bytes]) -> tuple[float, float]:
        """Seconds from the first event to the last decision, and how busy the worker's core was, 0 to 1.

        The events come one batch after another, faster than the worker takes them.
        """
        events = [self._put(body) for body in bodies]
        first = self._newest()
        busy = Busy(self._place.cores.worker)
        begun = self._now()
        for at in range(0, len(events), _BATCH):
            self._inbox.take(events[at : at + _BATCH], "event")
        self._wait(lambda: self._undecided(first) == 0)
        share = busy.share()
        with self._place.sessions() as session:
            ended = session.scalar(
                select(func.max(func.extract("epoch", Upload.state_since))).where(Upload.id > first)
            )
        return float(ended or 0) - begun, share

    def stages(self, bodies: Sequence[bytes]) -> Counter[str]:
        events = [self._put(body) for body in bodies]
        first = self._newest()
        self._silent.take(events, "event")
        with self._place.sessions() as session:
            ids = session.scalars(select(Upload.id).where(Upload.id > first).order_by(Upload.id)).all()
        return stages(self._place.cores.worker, self._place.settings, ids)

    def half_load(self, bodies: Sequence[tuple[bytes, bool]], rate: float) -> list[float]:
        """Seconds from the event of each upload that matches until its object is denied, at so many a second."""
        events = [(self._put(body), matches) for body, matches in bodies]
        gaps = np.random.default_rng(3).exponential(1 / rate, len(events)).tolist()
        told: dict[str, float] = {}
        denied: dict[str, float] = {}
        due = time.monotonic()
        for (event, matches), gap in zip(events, gaps, strict=True):
            due += gap
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, _POLL))
                self._see_denied(told, denied)
            if matches:
                told[event.ref.key] = time.monotonic()
            self._inbox.take([event], "event")
        self._wait(lambda: self._see_denied(told, denied))
        return [denied[key] - at for key, at in told.items()]

    def _see_denied(self, told: dict[str, float], denied: dict[str, float]) -> bool:
        waiting = told.keys() - denied.keys()
        if waiting:
            with self._place.sessions() as session:
                found = session.scalars(
                    select(Upload.key).where(
                        Upload.key.in_(waiting),
                        Upload.state == State.HELD,
                        Upload.access_applied.in_(("denied", PURGED)),
                    )
                ).all()
            now = time.monotonic()
            denied.update(dict.fromkeys(found, now))
        return told.keys() == denied.keys()

    def _put(self, body: bytes) -> UploadEvent:
        key = f"bench/{time.monotonic_ns()}.jpg"
        put = self._store.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        ref = ObjectRef(BUCKET, key, put["VersionId"], put["ETag"].strip('"'), len(body))
        return UploadEvent(EventKind.CREATED, ref)

    def _newest(self) -> int:
        with self._place.sessions() as session:
            return session.scalar(select(func.max(Upload.id))) or 0

    def _now(self) -> float:
        with self._place.sessions() as session:
            now = session.scalars(select(cast(func.extract("epoch", func.clock_timestamp()), Float))).one()
        return float(now)

    def _undecided(self, first: int) -> int:
        with self._place.sessions() as session:
            query = select(func.count()).where(Upload.id > first, Upload.state.not_in(FINAL))
            return session.scalars(query).one()

    def _wait(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + _DEADLINE
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError("the worker does not come to an end; its log says why")
            time.sleep(0.02)
