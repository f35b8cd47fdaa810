"""The drawing of a region holds the upload and the region, also where that reaches outside."""

import pytest

from worker.domain import Region
from worker.review.desk.drawing import draw


@pytest.mark.parametrize(
    "region",
    [(0.0, 0.0, 1.0, 1.0), (0.25, 0.5, 0.5, 0.25), (-0.3, -0.1, 1.5, 1.2), (-4.0, 3.0, 0.1, 4.0)],
)
def test_the_view_holds_the_upload_and_the_region(region: Region) -> None:
    drawing = draw(region)
    left, top, width, height = (float(number) for number in drawing.view_box.split())
    x, y, across, down = drawing.found
    assert left < min(0, x)
    assert top < min(0, y)
    assert left + width > max(drawing.frame[0], x + across)
    assert top + height > max(drawing.frame[1], y + down)
    assert drawing.width / drawing.height == pytest.approx(width / height, rel=0.05, abs=0.05)


def test_it_says_the_same_in_words() -> None:
    assert draw((0.25, 0.5, 0.5, 0.25)).words == (
        "From 25% to 75% of the width and from 50% to 75% of the height of the upload"
    )
