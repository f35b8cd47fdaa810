"""What hashing a minute of video costs, beside one hash a second at full size as vPDQ takes them."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pdqhash

from worker.bench.figures import HASHWARDEN, Figure
from worker.domain import Kind
from worker.media.in_process import InProcessSandbox
from worker.media.limits import Limits
from worker.media.media import memfd_from

VPDQ = "vpdq-by-pdqhash"
_RATES = (4.0, Limits().video_rate)


def video_figures(paths: Sequence[Path]) -> list[Figure]:
    """CPU seconds for a minute of video, over all clips and of the dearest, at 4 frames a second and by default."""
    figures = []
    for rate in dict.fromkeys(_RATES):
        costs = []
        for path in paths:
            limits = replace(Limits(), video_rate=rate)
            with InProcessSandbox(limits) as sandbox, memfd_from([path.read_bytes()]) as media:
                before = time.process_time()
                found = sandbox.hash(media)
                if found.kind is Kind.VIDEO:
                    costs.append((time.process_time() - before, found.duration))
        figures += _figures(HASHWARDEN, costs, {"frames_per_second": rate})
    return figures + _figures(VPDQ, [_each_second(path) for path in paths], {"frames_per_second": 1})


def _figures(subject: str, costs: Sequence[tuple[float, float]], params: dict[str, float]) -> list[Figure]:
    if not costs:
        return []
    mean = 60 * sum(cpu for cpu, _ in costs) / sum(seconds for _, seconds in costs)
    most = max(60 * cpu / seconds for cpu, seconds in costs)
    return [
        Figure(
            subject, "cpu_seconds_per_minute", round(value, 2), "s", {**params, "of": of, "clips": len(costs)}
        )
        for of, value in (("all", mean), ("dearest", most))
    ]


def _each_second(path: Path) -> tuple[float, float]:
    before = time.process_time()
    seconds = 0.0
    with av.open(io.BytesIO(path.read_bytes()), mode="r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        step = max(1, int(stream.average_rate or 1))
        for at, frame in enumerate(container.decode(stream)):
            seconds = float(frame.time or 0)
            if at % step == 0:
                pdqhash.compute(np.ascontiguousarray(frame.to_ndarray(format="rgb24")))
    return time.process_time() - before, seconds
