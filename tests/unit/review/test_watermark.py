import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from worker.media.rungs import Raster, Rung
from worker.review.reveal.png import png
from worker.review.reveal.sheet import sheet
from worker.review.reveal.watermark import burn, text_of

AT = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)


def test_the_text_names_who_and_the_minute() -> None:
    assert text_of("maria", AT) == "maria 2026-11-25 01:02Z"
    assert text_of("José", AT) == "Jose 2026-11-25 01:02Z"


def test_names_that_letters_cannot_tell_apart_have_different_texts() -> None:
    names = ["Анна", "Олег", "a" * 30, "a" * 31]
    assert len({text_of(name, AT) for name in names}) == len(names)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(160, 120, 1), (1024, 700, 3), (40, 30, 3)])
def test_it_shows_on_any_ground_and_hides_little(level: int, size: tuple[int, int, int]) -> None:
    pixels = np.full(size, level, dtype=np.uint8)
    marked = burn(pixels, text_of("maria", AT))
    changed = marked != pixels
    assert marked.shape == size
    assert 0.01 < changed.mean() < 0.2
    assert np.abs(marked.astype(int) - level)[changed].max() >= 30
    assert not np.shares_memory(marked, pixels)


def test_every_quarter_of_a_picture_has_some_of_it() -> None:
    marked = burn(np.zeros((480, 640, 3), dtype=np.uint8), text_of("maria", AT))
    for down in (0, 240):
        for across in (0, 320):
            assert marked[down : down + 240, across : across + 320].any()


def test_another_name_leaves_other_pixels() -> None:
    pixels = np.zeros((300, 400, 3), dtype=np.uint8)
    assert not np.array_equal(burn(pixels, text_of("ann", AT)), burn(pixels, text_of("eve", AT)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels_and_nothing_else(channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (37, 23, channels), dtype=np.uint8)
    found = Image.open(io.BytesIO(png(pixels)))
    found.load()
    assert found.info == {}
    assert np.array_equal(np.asarray(found).reshape(pixels.shape), pixels)


def test_stills_lie_four_abreast_and_a_mosaic_has_no_letters() -> None:
    stills = [Raster(16, 16, 3, bytes([at]) * 768, float(at)) for at in range(12)]
    body, width, height = sheet(stills, Rung.MOSAIC, "maria")
    assert (width, height) == (4 * 16 + 3 * 2, 3 * 16 + 2 * 2)
    found = np.asarray(Image.open(io.BytesIO(body)))
    assert [found[at // 4 * 18, at % 4 * 18, 0] for at in range(12)] == list(range(12))
    body, width, height = sheet(stills[:1], Rung.MOSAIC, "maria")
    assert (width, height) == (16, 16)
    assert not np.asarray(Image.open(io.BytesIO(body))).any()
