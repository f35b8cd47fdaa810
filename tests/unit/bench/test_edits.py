"""The edits that accuracy is measured on: the same each time, all of them real changes, some held out."""

import io

import numpy as np
import pytest
from PIL import Image

from worker.bench.accuracy import photo_is_held_out
from worker.bench.edits import EDITS, HELD_OUT, edited

_PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize(
    (640, 480), Image.Resampling.BICUBIC
)


def test_there_are_enough_and_some_are_held_out() -> None:
    assert len(EDITS) >= 60
    assert 10 <= len(HELD_OUT) < len(EDITS) / 2
    held = [photo_is_held_out(f"{number}.jpg") for number in range(300)]
    assert 60 < sum(held) < 140


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_the_same_each_time_and_changes_the_picture(name: str) -> None:
    body = edited(name, _PICTURE, "a.jpg")
    assert body == edited(name, _PICTURE, "a.jpg")
    copy = Image.open(io.BytesIO(body)).convert("RGB")
    same_size = np.asarray(copy.resize(_PICTURE.size), dtype=np.int16)
    assert np.abs(same_size - np.asarray(_PICTURE, dtype=np.int16)).mean() > 1.5


def test_random_parameters_differ_from_photograph_to_photograph() -> None:
    sizes = {Image.open(io.BytesIO(edited("border_10", _PICTURE, str(at)))).size for at in range(6)}
    assert len(sizes) > 2
