"""Frames hashed from their luma: the same as the picture they show, in every turn and pixel format."""

from typing import cast

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from PIL import Image

from worker.media import pdq
from worker.media.dihedral import dihedral_hashes
from worker.media.frames import FOLD_BITS, hash_frame, is_repeat, luma_of
from worker.media.views import DIHEDRAL

_NEAR = 8
"""Bits: ten bits of luma are eight in the picture, and strong colours clip there."""


def _picture(seed: int, width: int = 320, height: int = 180) -> Image.Image:
    small = np.random.default_rng(seed).integers(40, 210, (9, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def _frame(picture: Image.Image, pixel_format: str) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.asarray(picture.convert("RGB")), format="rgb24")
    return VideoReformatter().reformat(frame, format=pixel_format)


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuvj420p", "yuv444p", "nv12", "yuv420p10le", "yuv422p10le", "gray", "rgb24", "gbrp", "bgr0"],
)
@pytest.mark.parametrize("size", [(320, 180), (90, 162)], ids=["wide", "narrow"])
def test_a_frame_hashes_as_the_picture_it_shows(pixel_format: str, size: tuple[int, int]) -> None:
    frame = _frame(_picture(1, *size), pixel_format)
    shown = pdq.vpdq_frame(cast(pdq.Pixels, frame.to_ndarray(format="rgb24")), frame_time=0.0)
    found = hash_frame(luma_of(frame, VideoReformatter()), frame_time=2.5)
    assert pdq.distance(found[0].hash, shown.hash) <= _NEAR
    assert abs(found[0].quality - shown.quality) <= 2
    assert {each.frame_time for each in found} == {2.5}


@pytest.mark.parametrize("size", [(320, 180), (180, 321)])
def test_turned_hashes_are_those_of_the_turned_frame(size: tuple[int, int]) -> None:
    picture = _picture(2, *size).convert("L")
    found = hash_frame(luma_of(_frame(picture, "gray"), VideoReformatter()), frame_time=0.0)
    expected = dihedral_hashes([np.asarray(picture, dtype=np.float32)] * 4)
    assert [each.view for each in found] == list(DIHEDRAL)
    for each, hash_ in zip(found, expected, strict=True):
        assert pdq.distance(each.hash, hash_) <= 2, each.view


def test_a_faint_frame_keeps_its_hash_and_gets_its_quality_back() -> None:
    picture = _picture(3)
    plain = hash_frame(luma_of(_frame(picture, "yuv444p10le"), VideoReformatter()), frame_time=0.0)[0]
    faint = hash_frame(
        luma_of(
            _frame(picture.point([level // 8 for level in range(256)] * 3), "yuv444p10le"), VideoReformatter()
        ),
        frame_time=0.0,
    )[0]
    assert pdq.distance(plain.hash, faint.hash) <= 20
    assert plain.quality >= pdq.MATCHABLE_QUALITY <= faint.quality


def test_a_frame_of_one_colour_stays_of_no_quality() -> None:
    grey = Image.new("RGB", (64, 64), (90, 90, 90))
    assert hash_frame(luma_of(_frame(grey, "yuv420p"), VideoReformatter()), frame_time=0.0)[0].quality == 0


def test_the_smallest_frame_has_a_hash() -> None:
    dot = hash_frame(luma_of(_frame(_picture(4, 2, 2), "yuv420p"), VideoReformatter()), frame_time=0.0)
    assert [len(each.hash) for each in dot] == [32] * len(DIHEDRAL)


def test_a_frame_is_folded_into_one_that_is_as_near_as_noise() -> None:
    first, other = (
        hash_frame(luma_of(_frame(_picture(seed), "yuv420p"), VideoReformatter()), frame_time=0.0)
        for seed in (5, 6)
    )
    assert is_repeat(first, first)
    assert not is_repeat(other, first)
    assert FOLD_BITS < 31
