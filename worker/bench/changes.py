"""How soon a bank's change is searched on a host, and how long a look-up waits meanwhile, at any size of the bank.

A process of its own looks hashes up without a pause, as a worker does, while this one changes the bank and publishes.
"""

from __future__ import annotations

import multiprocessing
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from bank_sync.compaction import Compaction
from bank_sync.epoch import EpochReader, publish_if_changed, read_pointer
from bank_sync.epoch_files import POINTER
from bank_sync.index.protocol import HASH_BYTES
from config.database import Sessions
from config.logs import configure_logs
from config.settings import LogSettings, Settings
from worker.bench.figures import HASHWARDEN, Figure

CHANGES = 1000
"""Half of them new, half withdrawn."""

_ROUNDS = 5
_RADIUS = 31
_STEP = 500_000
_PATIENCE = 120.0
_BANK = "measured"
_FILL = text(
    "INSERT INTO bank_entries (bank, signal_type, signal, signal_key, live) "
    "SELECT :bank, 'pdq', hash, hash, true FROM ("
    "SELECT sha256(int8send(number)) AS hash FROM generate_series(:first, :last) AS number) AS made"
)
_WITHDRAW = text(
    "UPDATE bank_entries SET live = false, withdrawn_at = now() WHERE id IN "
    "(SELECT id FROM bank_entries WHERE live ORDER BY id OFFSET :offset LIMIT :count)"
)


@dataclass(frozen=True, slots=True)
class _Watched:
    """What the searching process saw: when each epoch was first searched (monotonic), and each look-up's seconds."""

    first: dict[int, float]
    # Flat numbers: a list of a million tuples would make the garbage collector pause for what is measured here.
    begun: array[float]
    spent: array[float]

    def longest(self, first: float, last: float) -> float:
        """Milliseconds of the longest look-up that began between two times."""
        begun, spent = np.asarray(self.begun), np.asarray(self.spent)
        return 1000 * float(spent[(begun >= first) & (begun <= last)].max(initial=0.0))


def _nothing_watched() -> _Watched:
    return _Watched({}, array("d"), array("d"))


def change_figures(sessions: Sessions, settings: Settings, hashes: int) -> Iterator[Figure]:
    """Fills an empty database with so many random hashes; `settings` names the folder of epochs."""
    about: dict[str, Any] = {"hashes": hashes}
    for first in range(1, hashes + 1, _STEP):
        _add(sessions, first, min(first + _STEP - 1, hashes))
    spent = _publish(sessions, settings)
    yield Figure(HASHWARDEN, "first_base", round(spent, 2), "s", about)
    with _Watcher(settings) as watcher:
        begun = time.monotonic()
        time.sleep(2 * settings.index.poll_every)
        spans = {"nothing": [(begun, time.monotonic())]}
        published, committed = [], {}
        for number in range(_ROUNDS):
            begin = hashes + 1 + number * CHANGES
            _add(sessions, begin, begin + CHANGES // 2 - 1)
            with sessions.begin() as session:
                session.execute(_WITHDRAW, {"offset": number * CHANGES, "count": CHANGES // 2})
            begun = time.monotonic()
            published.append(_publish(sessions, settings))
            epoch = read_pointer(settings.epochs_dir).number
            committed[epoch] = begun
            watcher.wait_for(epoch)
            spans.setdefault("a change", []).append((begun, time.monotonic()))
        begun = time.monotonic()
        compaction = Compaction(sessions, settings.epochs_dir, after=settings.index.compact_after)
        compacted = compaction.run(always=True)
        ended = time.monotonic()
        spent = ended - begun
        # It is published a moment before the compaction ends: what is left is to remove files.
        published_at = ended - (time.time() - (settings.epochs_dir / POINTER).stat().st_mtime)
        watcher.wait_for(compacted.number or 0)
        spans["a base being built"] = [(begun, published_at)]
        spans["a new base"] = [(published_at, time.monotonic())]
    watched = watcher.watched
    live = [watched.first[epoch] - at for epoch, at in committed.items()]
    about_change = {**about, "changes": CHANGES, "poll_every": settings.index.poll_every}
    yield Figure(HASHWARDEN, "publish", round(float(np.median(published)), 3), "s", about_change)
    for statistic, value in (("median", np.median(live)), ("max", np.max(live))):
        yield Figure(
            HASHWARDEN, "change_live", round(float(value), 2), "s", {**about_change, "statistic": statistic}
        )
    yield Figure(HASHWARDEN, "compaction", round(spent, 1), "s", about)
    for during, times in spans.items():
        longest = max(watched.longest(*span) for span in times)
        yield Figure(HASHWARDEN, "longest_lookup", round(longest, 2), "ms", {**about, "during": during})


def _add(sessions: Sessions, first: int, last: int) -> None:
    with sessions.begin() as session:
        session.execute(_FILL, {"bank": _BANK, "first": first, "last": last})


def _publish(sessions: Sessions, settings: Settings) -> float:
    """Seconds of a publication."""
    begun = time.monotonic()
    with sessions.begin() as session:
        publish_if_changed(session, settings.epochs_dir, keep=settings.index.keep)
    return time.monotonic() - begun


class _Watcher:
    """A process that searches the epoch in force until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._mine, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_search, args=(settings.epochs_dir, settings.index.poll_every, theirs), daemon=True
        )
        self.watched = _nothing_watched()

    def __enter__(self) -> _Watcher:
        self._process.start()
        self._receive()
        return self

    def __exit__(self, *_: object) -> None:
        self._mine.send(None)
        self.watched = self._receive()
        self._process.join()

    def wait_for(self, epoch: int) -> None:
        self._mine.send(epoch)
        self._receive()

    def _receive(self) -> Any:  # noqa: ANN401 (whatever the other end sends)
        if not self._mine.poll(_PATIENCE):
            self._process.kill()
            raise TimeoutError(f"the searching process said nothing for {_PATIENCE:.0f} s")
        return self._mine.recv()


def _search(folder: Path, poll_every: float, asked: Connection) -> None:
    """Answers each epoch number that it is asked for once that epoch is searched; None ends it."""
    # Standard output is for results.
    configure_logs(LogSettings(level="error"))
    reader = EpochReader(folder, poll_every)
    random = np.random.default_rng(1)
    watched = _nothing_watched()
    wanted: int | None = None
    reader.current()
    asked.send(None)
    while True:
        query = random.integers(0, 256, (1, HASH_BYTES), dtype=np.uint8)
        begun = time.monotonic()
        epoch = reader.current()
        epoch.search_pdq(query, _RADIUS)
        ended = time.monotonic()
        watched.begun.append(begun)
        watched.spent.append(ended - begun)
        watched.first.setdefault(epoch.number, ended)
        if wanted is not None and epoch.number >= wanted:
            asked.send(None)
            wanted = None
        if asked.poll():
            wanted = asked.recv()
            if wanted is None:
                asked.send(watched)
                return
