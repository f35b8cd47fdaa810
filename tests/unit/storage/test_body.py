"""A body says when the store sent fewer or more bytes than it announced."""

import pytest

from worker.errors import StorageError
from worker.storage.protocol import Body


@pytest.mark.parametrize("announced", [5, 7])
def test_a_short_or_long_read_is_a_storage_error(announced: int) -> None:
    with pytest.raises(StorageError, match=f"6 of {announced}"):
        list(Body(announced, "", iter([b"abc", b"def"])))


def test_all_bytes_in_order() -> None:
    assert list(Body(6, "", iter([b"abc", b"def"]))) == [b"abc", b"def"]
