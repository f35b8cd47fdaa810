"""Which core does what while uploads are measured: one for the worker, the others for servers and the measuring."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from config.settings import Settings
from worker.bench.stages import sampled
from worker.domain import Profile
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from
from worker.pipeline import process
from worker.queue.parts import Parts

_PROC_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Cores:
    """The worker's core, and the others."""

    worker: int
    others: frozenset[int]

    @classmethod
    def split(cls) -> Cores | None:
        """The last core that this process may use, and the rest; None where there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[-1], frozenset(allowed[:-1])) if len(allowed) > 1 else None

    def give_others(self, pids: Collection[int]) -> None:
        """Keeps this process and these off the worker's core, with what they start from now on."""
        for pid in (0, *pids):
            os.sched_setaffinity(pid, self.others)

    def give_worker(self, pid: int) -> None:
        """Keeps a process that has just begun to the worker's core, with what it starts from now on."""
        os.sched_setaffinity(pid, {self.worker})


class Busy:
    """How busy a core was since this was made."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._before = self._ticks()

    def share(self) -> float:
        """0 to 1."""
        idle, total = (now - then for now, then in zip(self._ticks(), self._before, strict=True))
        return 1 - idle / max(total, 1)

    def _ticks(self) -> tuple[int, int]:
        for line in _PROC_STAT.read_text().splitlines():
            name, *ticks = line.split()
            if name == f"cpu{self._core}":
                numbers = [int(each) for each in ticks[:8]]
                return numbers[3] + numbers[4], sum(numbers)
        raise AssertionError(f"there is no core {self._core}")


def floor(core: int, bodies: Sequence[bytes], profile: Profile) -> float:
    """Seconds in which a process on this core decodes and hashes these files, from memory and without a sandbox."""
    with _process_on(core) as there:
        return there.submit(_hash_all, bodies, profile).result()


def stages(core: int, settings: Settings, upload_ids: Sequence[int]) -> Counter[str]:
    """In which stage a process on this core was, look by look, while it took these uploads through the pipeline.

    The first upload is not counted: it loads the index and connects.
    """
    with _process_on(core) as there:
        return there.submit(_process_all, settings, upload_ids).result()


def _process_on(core: int) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, _begin, (core,))


def _begin(core: int) -> None:
    os.sched_setaffinity(0, {core})
    # Standard output is for the figures.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _hash_all(bodies: Sequence[bytes], profile: Profile) -> float:
    with InProcessSandbox() as sandbox:
        begun = 0.0
        # The first is not counted: it loads what the decoders need.
        for number, body in enumerate([bodies[0], *bodies]):
            if number == 1:
                begun = time.perf_counter()
            with memfd_from([body]) as media:
                sandbox.hash(media, profile)
        return time.perf_counter() - begun


def _process_all(settings: Settings, upload_ids: Sequence[int]) -> Counter[str]:
    parts = Parts(settings)
    ready = parts.stages(lambda _uploads: None)
    counts: Counter[str] = Counter()
    try:
        process(ready, upload_ids[0])
        with sampled(counts):
            for upload_id in upload_ids[1:]:
                process(ready, upload_id)
    finally:
        parts.close()
    return counts
