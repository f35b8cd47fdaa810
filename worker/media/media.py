"""The exact bytes of one object in sealed memory: what was fetched, summed and decoded can't differ.

A sealed memory file can't be changed or resized by anyone who holds it, so a hostile decoder can't alter
what is read after it.
"""

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from worker.media.sniff import HEAD_BYTES, Format, sniff

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Media:
    """A sealed memory file of `size` bytes. Closing it, or leaving its `with`, frees the memory."""

    fd: int
    size: int

    def format(self) -> Format:
        """What the first 64 KiB say these bytes are."""
        return sniff(os.pread(self.fd, HEAD_BYTES, 0))

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_memory() -> int:
    """A new, empty, unsealed memory file: write to it, then `seal` it. The caller closes it on failure."""
    return os.memfd_create("media", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal(fd: int) -> Media:
    """Make a memory file from `open_memory` immutable for good; the result owns `fd`."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return Media(fd, os.fstat(fd).st_size)


def memfd_from(chunks: Iterable[bytes]) -> Media:
    """Copy chunks into sealed memory. The caller bounds their sum."""
    fd = open_memory()
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(fd, rest) :]
        return seal(fd)
    except BaseException:
        os.close(fd)
        raise
