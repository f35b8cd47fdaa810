import contextlib
import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain import HashedMedia, Kind, Placement, ViewHash
from worker.media.edited import WHOLE, placed
from worker.media.limits import Limits, Reason, refused
from worker.media.record import RecordError, longest, pack, parse, parse_placement
from worker.media.sniff import Format

_LIMITS = Limits()
_CORNERS = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)
_PICTURE = HashedMedia(
    kind=Kind.IMAGE,
    hashes=(
        ViewHash(bytes(range(32)), 90),
        ViewHash(bytes(32), 90, "on_black_transverse"),
        ViewHash(bytes(32), 80, "uncropped", None, placed((-0.125, 0.0, 1.25, 1.0), "flip_horizontal")),
        ViewHash(bytes(32), 80, "filled", None, placed(WHOLE, "", (1, 0, 20, 64))),
        ViewHash(bytes(32), 80, "part", None, Placement(_CORNERS, None, (2, 0, 1, -127, 0, 127, 4, 5, 6, 7))),
    ),
    width=640,
    height=480,
)
_CLIP = HashedMedia(
    kind=Kind.VIDEO,
    reason=Reason.CPU_LIMIT,
    hashes=(ViewHash(bytes(32), 100, "", 0.0), ViewHash(bytes(32), 99, "rotate_90", 12.5)),
    partial=True,
    width=1920,
    height=1080,
    duration=60.04,
)


@pytest.mark.parametrize(
    ("media", "format_"),
    [
        (_PICTURE, Format.PNG),
        (_CLIP, Format.MP4),
        *((refused(reason), Format.MP4) for reason in Reason),
    ],
)
def test_what_is_packed_is_parsed(media: HashedMedia, format_: Format) -> None:
    assert parse(pack(media), format_, _LIMITS) == media


@pytest.mark.parametrize(
    ("media", "format_"),
    [
        (_PICTURE, Format.MP4),
        (_CLIP, Format.JPEG),
        (dataclasses.replace(_PICTURE, hashes=()), Format.PNG),
        (dataclasses.replace(_PICTURE, hashes=_PICTURE.hashes[1:]), Format.PNG),
        (dataclasses.replace(_PICTURE, reason=Reason.CPU_LIMIT), Format.PNG),
        (dataclasses.replace(_PICTURE, width=1 << 24), Format.PNG),
        (dataclasses.replace(_CLIP, duration=math.nan), Format.MP4),
        (dataclasses.replace(_CLIP, duration=-1.0), Format.MP4),
        (dataclasses.replace(_CLIP, hashes=(ViewHash(bytes(32), 101, "", 0.0),)), Format.MP4),
        (dataclasses.replace(_CLIP, hashes=(ViewHash(bytes(32), 100, "", math.inf),)), Format.MP4),
        (HashedMedia(Kind.UNSCANNABLE), Format.PNG),
        (HashedMedia(Kind.UNSUPPORTED, Reason.BROKEN), Format.PNG),
        (HashedMedia(Kind.UNSCANNABLE, Reason.EMPTY), Format.PNG),
        (HashedMedia(Kind.UNSCANNABLE, Reason.BROKEN, hashes=_PICTURE.hashes), Format.PNG),
    ],
)
def test_a_record_that_no_healthy_child_writes_is_refused(media: HashedMedia, format_: Format) -> None:
    with pytest.raises(RecordError):
        parse(pack(media), format_, _LIMITS)


def test_a_record_longer_than_the_budget_of_frames_is_refused() -> None:
    few = Limits(video_frames=1, video_bank_frames=0)
    frames = tuple(ViewHash(bytes(32), 100, "", float(at)) for at in range(9))
    clip = dataclasses.replace(_CLIP, hashes=frames)
    assert len(pack(clip)) > longest(Format.MP4, few)
    with pytest.raises(RecordError):
        parse(pack(clip), Format.MP4, few)


def test_frames_to_look_up_and_frames_of_a_bank_have_budgets_of_their_own() -> None:
    limits = Limits(video_frames=1, video_bank_frames=8)
    frames = tuple(ViewHash(bytes(32), 100, "", float(at)) for at in range(9))
    for clip in (
        dataclasses.replace(_CLIP, hashes=frames, vpdq=frames[:1]),
        dataclasses.replace(_CLIP, hashes=frames[:1], vpdq=frames),
    ):
        assert len(pack(clip)) <= longest(Format.MP4, limits)
        with pytest.raises(RecordError):
            parse(pack(clip), Format.MP4, limits)
    sound = dataclasses.replace(_CLIP, hashes=frames[:8], vpdq=frames[:8])
    assert parse(pack(sound), Format.MP4, limits) == sound


@pytest.mark.parametrize(
    "frame", [ViewHash(bytes(32), 100, "rotate_90", 1.0), ViewHash(bytes(32), 100)], ids=["turned", "still"]
)
def test_a_frame_of_a_bank_is_one_as_it_is(frame: ViewHash) -> None:
    with pytest.raises(RecordError):
        parse(pack(dataclasses.replace(_CLIP, vpdq=(frame,))), Format.MP4, _LIMITS)


@given(st.binary(max_size=400), st.sampled_from(list(Format)))
def test_arbitrary_bytes_are_refused(untrusted: bytes, format_: Format) -> None:
    with pytest.raises(RecordError):
        parse(untrusted, format_, _LIMITS)


@given(st.integers(0, len(pack(_PICTURE)) - 1), st.integers(0, 255))
def test_a_changed_byte_gives_bounded_values_or_a_refusal(at: int, value: int) -> None:
    record = bytearray(pack(_PICTURE))
    record[at] = value
    media = None
    with contextlib.suppress(RecordError):
        media = parse(bytes(record), Format.PNG, _LIMITS)
    if media is None:
        return
    assert media.kind is Kind.IMAGE
    assert all(0 <= each.quality <= 100 and len(each.hash) == 32 for each in media.hashes)


@pytest.mark.parametrize("untrusted_rims", [(0, 1), (1, 0), (4, 1), (1, 255)])
def test_a_rim_that_is_none_is_refused(untrusted_rims: tuple[int, int]) -> None:
    with pytest.raises(RecordError):
        parse_placement([1] * 8 + [0] * 4 + [*untrusted_rims] + [0] * 8)
