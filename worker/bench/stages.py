"""Where a worker process spends its time: which call of the pipeline it is in, asked some hundred times a second.

The calls are known by their code, so nothing is put between them and what is measured is what runs in production.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from worker import act, fetch, matching, pipeline, second_look
from worker.store import leases

EVERY = 0.005
"""Seconds between two looks."""

ELSEWHERE = "elsewhere"


def _codes(**stages: Callable[..., Any]) -> Mapping[CodeType, str]:
    return {function.__code__: stage for stage, function in stages.items()}


_STAGES = {
    **_codes(
        lease=leases.claim,
        fetch=fetch._read,
        decode_and_hash=pipeline._hash,
        match=matching.find_matches,
        write=pipeline.conclude,
        act=act.ensure,
    ),
    **_codes(match=second_look._search),
}
"""The innermost of these on the stack is what the process does: a closer look's search is matching."""


@contextmanager
def sampled(counts: Counter[str]) -> Iterator[None]:
    """Counts, for this thread and the time of the block, the looks that found it in each stage."""
    subject = threading.get_ident()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(EVERY):
            counts[_stage_of(sys._current_frames().get(subject))] += 1

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        stop.set()
        looking.join()


def _stage_of(frame: FrameType | None) -> str:
    while frame is not None:
        if (stage := _STAGES.get(frame.f_code)) is not None:
            return stage
        frame = frame.f_back
    return ELSEWHERE
