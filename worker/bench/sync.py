"""How many records a second a first load takes into the database and an epoch: from a file, and from a bank's wire.

The practice bank answers on a real socket from this same process, so its share is in the figures.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from bank_sync.epoch import publish
from bank_sync.sandbox.app import running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sync import sync_bank
from config.database import Sessions
from config.policy import BankSettings
from config.settings import Settings
from worker.bench.banks import random_bank
from worker.bench.figures import HASHWARDEN, Figure

PAGE_SIZES = (800, 5000)
"""What StopNCII's client asks for by default, and more."""

_LINES = 100_000
_OF_A_CASE = 50_000


Scratch = Callable[[], AbstractContextManager[tuple[Settings, Sessions]]]
"""An empty database of its own, and settings with a folder for its epochs."""


def file_figures(scratch: Scratch, records: int) -> Iterator[Figure]:
    """A bank of so many PDQ lines from a file into an empty database, and the process's memory at its most."""
    with tempfile.TemporaryDirectory(prefix="hashwarden-sync-") as folder:
        path = Path(folder) / "bank.txt"
        _write(path, records)
        bank = BankSettings(exchange="file", path=path)
        with scratch() as (settings, sessions):
            yield from _figures(settings, sessions, "listed", bank, {"records": records, "source": "file"})
        # Linux counts in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        about = {"records": records, "source": "file"}
        yield Figure(HASHWARDEN, "peak_memory", round(peak / 1e6), "MB", about)


def wire_figures(scratch: Scratch, records: int, page_sizes: Sequence[int] = PAGE_SIZES) -> Iterator[Figure]:
    """As many records from a practice bank, once with each page size, each into an empty database."""
    hashes = random_bank(records, np.random.default_rng(1))
    with running() as address, PracticeClient(address, timeout=120) as client:
        for begin in range(0, records, _OF_A_CASE):
            client.open_case([("pdq", row.tobytes()) for row in hashes[begin : begin + _OF_A_CASE]])
        for size in page_sizes:
            bank = client.bank_settings(page_size=size, timeout=60)
            about: dict[str, str | int] = {"records": records, "source": "wire", "page_size": size}
            with scratch() as (settings, sessions):
                yield from _figures(settings, sessions, "practice", bank, about)


def _figures(
    settings: Settings, sessions: Sessions, name: str, bank: BankSettings, about: dict[str, str | int]
) -> Iterator[Figure]:
    """Until the records are in the database, and until an epoch with them can be loaded."""
    begun = time.perf_counter()
    report = sync_bank(sessions, name, bank)
    loaded = time.perf_counter() - begun
    with sessions.begin() as session:
        publish(session, settings.epochs_dir)
    published = time.perf_counter() - begun
    for until, seconds in (("database", loaded), ("epoch", published)):
        params = {**about, "pages": report.pages, "until": until}
        yield Figure(HASHWARDEN, "records_per_second", round(int(about["records"]) / seconds), "1/s", params)
        yield Figure(HASHWARDEN, "seconds", round(seconds, 1), "s", params)


def _write(path: Path, records: int) -> None:
    random = np.random.default_rng(2)
    with path.open("w", encoding="ascii") as file:
        for begin in range(0, records, _LINES):
            rows = random_bank(min(_LINES, records - begin), random)
            file.writelines(f"pdq {row.tobytes().hex()}\n" for row in rows)
