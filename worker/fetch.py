"""Reads exactly one object version into sealed memory, with the MD5 and SHA-256 of the very bytes that are decoded.

It never decodes, and never keeps more than the spool limit: a larger object is read for its digests only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from config.settings import MediaSettings
from worker.domain import Kind, Lane, ObjectRef
from worker.media.media import Media, open_memory, seal
from worker.media.sniff import HEAD_BYTES, sniff
from worker.storage.protocol import Body, ObjectStore, Receipt


class WrongLane(Exception):
    """The first bytes belong to the other lane's queue and limits."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self.lane = lane


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object's bytes and digests. `media` is None when it is longer than the spool limit."""

    media: Media | None
    size: int
    md5: bytes | None
    sha256: bytes | None
    """None for an object longer than the digest limit: it was not read to its end."""


@contextmanager
def fetch(
    store: ObjectStore, ref: ObjectRef, lane: Lane, settings: MediaSettings, receipt: Receipt | None = None
) -> Iterator[Fetched]:
    """Reads `ref`, or its quarantine copy where `receipt` says so; the memory is freed when the context ends.

    Raises WrongLane when an image lane meets a video or the other way round, ObjectGone and ObjectSuperseded when
    that version is no more, StorageError when the read broke off.
    """
    fd = open_memory()
    media: Media | None = None
    try:
        fetched = _read(store.open(ref, receipt), lane, settings, fd)
        media = fetched.media
        yield fetched
    finally:
        if media is not None:
            media.close()
        else:
            os.close(fd)


def _read(opening: AbstractContextManager[Body], lane: Lane, settings: MediaSettings, fd: int) -> Fetched:
    md5 = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256()
    size = 0
    head = b""
    known = False
    with opening as chunks:
        for chunk in chunks:
            size += len(chunk)
            if size > settings.digest_bytes:
                return Fetched(media=None, size=size, md5=None, sha256=None)
            if not known:
                head += chunk[: HEAD_BYTES - len(head)]
                if len(head) >= HEAD_BYTES:
                    known = _check_lane(head, lane)
            md5.update(chunk)
            sha256.update(chunk)
            if size <= settings.spool_bytes:
                _write(fd, chunk)
    if not known:
        _check_lane(head, lane)
    if size > settings.spool_bytes:
        return Fetched(media=None, size=size, md5=md5.digest(), sha256=sha256.digest())
    return Fetched(media=seal(fd), size=size, md5=md5.digest(), sha256=sha256.digest())


def _check_lane(head: bytes, lane: Lane) -> bool:
    """Only a video leaves the image lane, and only a picture the video lane; anything else stays where it is."""
    kind = sniff(head).kind
    if kind is Kind.VIDEO and lane is Lane.IMAGE:
        raise WrongLane(Lane.VIDEO)
    if kind is Kind.IMAGE and lane is Lane.VIDEO:
        raise WrongLane(Lane.IMAGE)
    return True


def _write(fd: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(fd, rest) :]
