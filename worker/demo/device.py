"""Stands for a person's own device: hashes their files and gives away nothing but the hashes."""

from __future__ import annotations

import hashlib

from bank_sync.signals import PDQ, VIDEO_MD5
from worker.demo.scenario import PlannedCase
from worker.media.limits import Limits
from worker.media.media import memfd_from
from worker.media.sandbox import ZygoteSandbox


def hash_on_device(case: PlannedCase) -> list[tuple[str, bytes]]:
    """Signal types and packed signals of a case's files: PDQ of the picture, MD5 of the video."""
    with ZygoteSandbox(Limits()) as sandbox, memfd_from([case.picture]) as media:
        signals = [(PDQ, sandbox.hash(media).originals[0].hash)]
    if case.video is not None:
        signals.append((VIDEO_MD5, hashlib.md5(case.video, usedforsecurity=False).digest()))
    return signals
