"""How many records a second a first load takes into the database: from a file, and page by page from a bank's wire.

Nothing is published. The practice bank answers on a real socket from this same process, so its share is in the figures.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bank_sync.sandbox.app import running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sync import SyncReport, sync_bank
from config.database import Sessions
from config.policy import BankSettings
from worker.bench.banks import random_bank
from worker.bench.figures import HASHWARDEN, Figure

PAGE_SIZES = (800, 5000)
"""What StopNCII's client asks for by default, and more."""

_LINES = 100_000
_OF_A_CASE = 50_000


def file_figures(sessions: Sessions, records: int) -> Iterator[Figure]:
    """A bank of so many PDQ lines from a file into an empty database, and the process's memory at its most."""
    with tempfile.TemporaryDirectory(prefix="hashwarden-sync-") as folder:
        path = Path(folder) / "bank.txt"
        _write(path, records)
        bank = BankSettings(exchange="file", path=path)
        begun = time.perf_counter()
        report = sync_bank(sessions, "listed", bank)
        yield from _figures(report, records, time.perf_counter() - begun, {"source": "file"})
        # Linux counts in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        about = {"records": records, "source": "file"}
        yield Figure(HASHWARDEN, "peak_memory", round(peak / 1e6), "MB", about)


def wire_figures(
    sessions: Sessions, records: int, page_sizes: Sequence[int] = PAGE_SIZES
) -> Iterator[Figure]:
    """As many records from a practice bank, once with each page size, each into a bank of its own."""
    hashes = random_bank(records, np.random.default_rng(1))
    with running() as address, PracticeClient(address, timeout=120) as client:
        for begin in range(0, records, _OF_A_CASE):
            client.open_case([("pdq", row.tobytes()) for row in hashes[begin : begin + _OF_A_CASE]])
        for size in page_sizes:
            begun = time.perf_counter()
            report = sync_bank(sessions, f"practice-{size}", client.bank_settings(page_size=size, timeout=60))
            spent = time.perf_counter() - begun
            yield from _figures(report, records, spent, {"source": "wire", "page_size": size})


def _figures(report: SyncReport, records: int, spent: float, about: dict[str, str | int]) -> Iterator[Figure]:
    params = {"records": records, **about, "pages": report.pages}
    yield Figure(HASHWARDEN, "records_per_second", round(records / spent), "1/s", params)
    yield Figure(HASHWARDEN, "seconds", round(spent, 1), "s", params)


def _write(path: Path, records: int) -> None:
    random = np.random.default_rng(2)
    with path.open("w", encoding="ascii") as file:
        for begin in range(0, records, _LINES):
            rows = random_bank(min(_LINES, records - begin), random)
            file.writelines(f"pdq {row.tobytes().hex()}\n" for row in rows)
