"""Bank files: `type value` lines, refused whole when one of them can't be read."""

from pathlib import Path

import pytest

from bank_sync.exchanges.files import BankFileError, FileExchange, read_signals
from bank_sync.loaded import epoch_from_file
from bank_sync.signals import Frame, pack_frames, write

PDQ_LINE = "pdq " + "0f" * 32


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bank.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_comments_and_blank_lines_are_skipped_and_lines_counted_from_one(tmp_path: Path) -> None:
    path = _file(tmp_path, f"\ufeff# a bank\n\n{PDQ_LINE}\r\n  video_md5   {'AB' * 16}  \n")
    assert list(read_signals(path)) == [
        (3, "pdq", b"\x0f" * 32),
        (4, "video_md5", b"\xab" * 16),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        "pdq 00",
        "nothing",
        "vpdq []",
        'vpdq ["00,100,0"]',
        "vpdq " + "0f" * 32,
        "photodna abc",
        "0f" * 32,
        f"{PDQ_LINE} extra",
    ],
)
def test_a_bad_line_is_named_by_its_number_and_not_quoted(tmp_path: Path, bad: str) -> None:
    path = _file(tmp_path, f"{PDQ_LINE}\n{bad}\n")
    with pytest.raises(BankFileError, match="Line 2 of") as caught:
        list(FileExchange(path).fetch(0, None))
    assert "0f0f" not in str(caught.value)


def test_a_missing_an_empty_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BankFileError, match="can't be read"):
        list(read_signals(tmp_path / "missing.txt"))
    with pytest.raises(BankFileError, match="is empty"):
        list(read_signals(_file(tmp_path, "")))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BankFileError, match="not UTF-8"):
        list(read_signals(tmp_path / "binary.txt"))


def test_a_file_of_comments_alone_is_a_bank_without_signals(tmp_path: Path) -> None:
    (page,) = FileExchange(_file(tmp_path, "# all taken out\n")).fetch(0, None)
    assert (page.records, page.more) == ((), False)


def test_a_file_becomes_an_epoch_whose_entries_are_its_line_numbers(tmp_path: Path) -> None:
    import numpy as np

    frames = pack_frames(
        [Frame(b"\xff" * 32, 80, 1.5), Frame(b"\xff" * 32, 90, 2.0), Frame(b"\x00" * 32, 49, 3)]
    )
    path = _file(
        tmp_path,
        f"# bank\n{PDQ_LINE}\nvpdq {write('vpdq', frames)}\nvideo_md5 {'02' * 16}\nvideo_md5 {'01' * 16}\n",
    )
    epoch = epoch_from_file(path)
    assert epoch.counts == {"pdq": 1, "frames": 1, "video_md5": 2}
    queries = np.array([[0x0F] * 32, [0xFF] * 32, [0x00] * 32], dtype=np.uint8)
    assert [(h.query, h.entry_id, h.distance, h.frame_time) for h in epoch.search_pdq(queries, 31)] == [
        (0, 2, 0, None),
        (1, 3, 0, 1.5),
    ]
    hashes, times = epoch.frames_of(3)
    assert (hashes.tolist(), times.tolist()) == ([[0xFF] * 32], [1.5])
    assert len(epoch.frames_of(2)[0]) == 0
    assert epoch.search_md5(b"\x02" * 16) == [4]
    assert epoch.search_md5(b"\x03" * 16) == []
