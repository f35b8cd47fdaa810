import contextlib
import dataclasses
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain import Kind
from worker.media import request
from worker.media.limits import Reason
from worker.media.raster import longest, pack, parse
from worker.media.record import RecordError
from worker.media.rungs import LONGEST_SIDE, MOST_STILLS, Cut, Raster, Rung, Showing, Shown
from worker.media.sniff import Format

_GREY = Shown((Raster(4, 3, 1, bytes(range(12))),), 400, 300)
_FILM = Shown(tuple(Raster(2, 2, 3, bytes([at] * 12), float(at)) for at in range(MOST_STILLS)), 640, 360)
_WHOLE = Showing(Rung.WHOLE)


@pytest.mark.parametrize(
    ("shown", "showing", "kind"),
    [
        (_GREY, Showing(Rung.GREY), Kind.IMAGE),
        (_FILM, _WHOLE, Kind.VIDEO),
        *((Shown(reason=reason), _WHOLE, Kind.IMAGE) for reason in Reason),
    ],
)
def test_what_is_packed_is_parsed(shown: Shown, showing: Showing, kind: Kind) -> None:
    assert parse(pack(shown), showing, kind) == shown


def _wide(rung: Rung) -> Shown:
    side = LONGEST_SIDE[rung] + 1
    channels = 1 if rung is Rung.GREY else 3
    return Shown((Raster(side, 1, channels, bytes(side * channels)),), 1, 1)


@pytest.mark.parametrize(
    ("shown", "showing", "kind"),
    [
        (_GREY, _WHOLE, Kind.IMAGE),
        (_FILM, _WHOLE, Kind.IMAGE),
        *((_wide(rung), Showing(rung), Kind.IMAGE) for rung in LONGEST_SIDE),
        (_wide(Rung.GREY), Showing(Rung.GREY), Kind.VIDEO),
        (Shown((Raster(161, 1, 3, bytes(483)),), 1, 1), _WHOLE, Kind.VIDEO),
        (Shown(), _WHOLE, Kind.IMAGE),
        (dataclasses.replace(_GREY, reason=Reason.BROKEN), Showing(Rung.GREY), Kind.IMAGE),
        (dataclasses.replace(_GREY, width=1 << 24), Showing(Rung.GREY), Kind.IMAGE),
        (Shown((Raster(0, 3, 1, b""),)), Showing(Rung.GREY), Kind.IMAGE),
        (Shown((Raster(4, 3, 1, bytes(11)),)), Showing(Rung.GREY), Kind.IMAGE),
        (Shown((Raster(4, 3, 1, bytes(13)),)), Showing(Rung.GREY), Kind.IMAGE),
        (Shown((Raster(1, 1, 3, bytes(3), math.nan),)), _WHOLE, Kind.VIDEO),
        (Shown((Raster(1, 1, 3, bytes(3), -2.0),)), _WHOLE, Kind.VIDEO),
    ],
)
def test_a_record_that_no_healthy_child_writes_is_refused(shown: Shown, showing: Showing, kind: Kind) -> None:
    with pytest.raises(RecordError):
        parse(pack(shown), showing, kind)


@given(record=st.binary(max_size=2_000))
def test_bytes_are_refused_or_within_bounds(record: bytes) -> None:
    _refused_or_within_bounds(record)


@given(data=st.data())
def test_a_changed_record_is_refused_or_within_bounds(data: st.DataObject) -> None:
    record = bytearray(pack(_FILM))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(record) - 1))
        record[at] = data.draw(st.integers(0, 255))
    _refused_or_within_bounds(bytes(record[: data.draw(st.integers(0, len(record)))]))
    _refused_or_within_bounds(bytes(record))


def _refused_or_within_bounds(record: bytes) -> None:
    with contextlib.suppress(RecordError):
        shown = parse(record, _WHOLE, Kind.VIDEO)
        assert len(shown.rasters) <= MOST_STILLS
        for each in shown.rasters:
            assert max(each.width, each.height) <= 160
            assert len(each.pixels) == each.width * each.height * 3
            assert each.seconds is None or each.seconds >= 0


def test_the_longest_record_holds_what_the_rung_allows() -> None:
    for rung, side in LONGEST_SIDE.items():
        showing = Showing(rung)
        full = Raster(side, side, showing.channels, bytes(side * side * showing.channels))
        record = pack(Shown((full,), side, side))
        assert len(record) == longest(showing, Kind.IMAGE)
        with pytest.raises(RecordError):
            parse(record + struct.pack("B", 0), showing, Kind.IMAGE)


@pytest.mark.parametrize(
    "showing",
    [
        Showing(Rung.MOSAIC),
        Showing(Rung.PEEK, Cut((0.1, 0.2, 0.3, 0.4), upright=True), (1.5, 2.5)),
        Showing(Rung.PEEK, Cut((-0.1, 0.2, 3.0, 0.4), upright=False), tuple(map(float, range(MOST_STILLS)))),
    ],
)
def test_a_request_arrives_as_it_was_sent(showing: Showing) -> None:
    packed = request.pack(7, Format.MP4, showing)
    assert len(packed) <= request.LONGEST
    assert request.unpack(packed) == (7, Format.MP4, showing)
