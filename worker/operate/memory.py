"""How much memory this host lets its processes have, beside what decoders may take at once."""

from __future__ import annotations

import os
from pathlib import Path

from worker.media.limits import Limits

GIB = 1 << 30

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""Of version 2 and version 1; "max" where there is none."""


def allowed_memory() -> int:
    """Bytes that this process and its neighbours in the container may use: the host's memory, or less by cgroup."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        try:
            told = (_CGROUP / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if told.isdigit():
            limits.append(int(told))
    return min(limits)


def decoder_memory(concurrency: int) -> int:
    """Bytes that the decoders of `hashwarden up` take if all reach their limit: images and half as many videos."""
    limits = Limits()
    return concurrency * limits.image_memory + video_concurrency(concurrency) * limits.video_memory


def video_concurrency(concurrency: int) -> int:
    """How many videos `hashwarden up` decodes at once beside so many images."""
    return max(1, concurrency // 2)
