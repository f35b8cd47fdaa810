"""Signal types: strict lengths, lossless packing, and error texts that quote nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank_sync.signals import (
    MD5_BYTES,
    PDQ,
    PDQ_BYTES,
    VIDEO_MD5,
    VPDQ,
    Frame,
    SignalError,
    pack_frames,
    parse,
    signal_key,
    unpack_frames,
    write,
)


@given(st.binary(min_size=PDQ_BYTES, max_size=PDQ_BYTES))
def test_pdq_survives_being_written_and_parsed_in_either_case(signal: bytes) -> None:
    assert parse(PDQ, write(PDQ, signal)) == signal
    assert parse(PDQ, write(PDQ, signal).upper()) == signal


@given(st.binary(min_size=MD5_BYTES, max_size=MD5_BYTES))
def test_md5_survives_being_written_and_parsed(signal: bytes) -> None:
    assert parse(VIDEO_MD5, write(VIDEO_MD5, signal)) == signal


frames = st.lists(
    st.builds(
        Frame,
        hash=st.binary(min_size=32, max_size=32),
        quality=st.integers(0, 100),
        time=st.floats(0, 1e7, width=32),
    ),
    min_size=1,
    max_size=5,
)


@given(frames)
def test_vpdq_packs_without_loss(given_frames: list[Frame]) -> None:
    packed = pack_frames(given_frames)
    assert len(packed) == 37 * len(given_frames)
    assert unpack_frames(packed) == given_frames
    assert parse(VPDQ, write(VPDQ, packed)) == packed


def test_vpdq_is_read_as_either_tool_writes_it() -> None:
    """python-threatexchange prints three significant digits of a time; vPDQ's own lines begin with the frame."""
    hash_ = "0f" * 32
    expected = pack_frames([Frame(bytes.fromhex(hash_), 100, 1230.0)])
    assert parse(VPDQ, json.dumps([f"{hash_},100,1.23e+03"])) == expected
    assert parse(VPDQ, json.dumps([f"36900,100,{hash_},1230.0"])) == expected


@pytest.mark.parametrize(
    ("signal_type", "text"),
    [
        (PDQ, "0" * 32),
        (PDQ, "0" * 63),
        (PDQ, "0" * 65),
        (PDQ, ""),
        (PDQ, "0" * 62 + " 0"),
        (PDQ, "0" * 63 + "g"),
        (PDQ, "\u0660" * 64),
        (VIDEO_MD5, "0" * 64),
        (VIDEO_MD5, "0x" + "0" * 30),
        (VPDQ, "[]"),
        (VPDQ, "{}"),
        (VPDQ, "not json"),
        (VPDQ, "[" * 100_000),
        (VPDQ, json.dumps(["00,100,0"])),
        (VPDQ, json.dumps(["0" * 64 + ",101,0"])),
        (VPDQ, json.dumps(["0" * 64 + ",50,-1"])),
        (VPDQ, json.dumps(["0" * 64 + ",50,nan"])),
        (VPDQ, json.dumps(["0" * 64 + ",50,1e39"])),
        (VPDQ, json.dumps(["0" * 64 + ",50"])),
        (VPDQ, json.dumps([3])),
        (VPDQ, json.dumps([{"hash": "0" * 64, "quality": 50, "time": 0}])),
        (VPDQ, json.dumps(["x,50," + "0" * 64 + ",0"])),
        (VPDQ, json.dumps(["0,50," + "0" * 64 + ",0,0"])),
        (VPDQ, json.dumps(["0" * 64 + ",fifty,0"])),
        ("photodna", "0" * 64),
    ],
)
def test_what_is_not_a_signal_is_refused_and_not_quoted(signal_type: str, text: str) -> None:
    with pytest.raises(SignalError) as caught:
        parse(signal_type, text)
    assert "0" * 30 not in str(caught.value)
    assert caught.value.next_step


def test_a_long_signal_is_known_by_its_digest() -> None:
    assert signal_key(b"a" * 32) == b"a" * 32
    assert len(signal_key(b"a" * 37)) == 32
    assert signal_key(b"a" * 37) != signal_key(b"b" * 37)
