import os

import pytest

from worker.media.media import memfd_from, open_memory, seal
from worker.media.sniff import Format


def test_chunks_are_kept_in_order_and_recognised() -> None:
    with memfd_from([b"\x89PNG", b"", b"\r\n\x1a\n", b"rest"]) as media:
        assert os.pread(media.fd, 100, 0) == b"\x89PNG\r\n\x1a\nrest"
        assert media.size == 12
        assert media.format() is Format.PNG


def test_sealed_memory_can_neither_be_written_nor_resized() -> None:
    fd = open_memory()
    os.write(fd, b"bytes")
    with seal(fd) as media:
        for change in (
            lambda: os.pwrite(media.fd, b"X", 0),
            lambda: os.truncate(media.fd, 2),
            lambda: os.truncate(media.fd, 20),
        ):
            with pytest.raises(PermissionError):
                change()
        assert os.pread(media.fd, 100, 0) == b"bytes"


def test_a_source_that_fails_leaves_no_descriptor_behind() -> None:
    def broken() -> object:
        yield b"part"
        raise ConnectionError

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - descriptors, not files
    with pytest.raises(ConnectionError):
        memfd_from(broken())  # type: ignore[arg-type]
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
