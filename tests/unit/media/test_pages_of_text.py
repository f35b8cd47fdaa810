"""Pages of text are not guessed at: two that look alike must not become one by a guessed crop."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from worker.bench.pages import text_pages
from worker.domain import Profile
from worker.media import pdq
from worker.media.axis import Matrix
from worker.media.copies import hash_copies
from worker.media.page import is_page

PAGES = text_pages(24)


def _luma(picture: Image.Image) -> Matrix:
    return pdq.picture_luma(picture)


def test_sparse_pages_are_known_and_pictures_are_not() -> None:
    chats = {2, 8, 14, 20}
    assert {at for at, page in enumerate(PAGES) if is_page(_luma(page))} >= set(range(24)) - chats
    noise = np.random.default_rng(1).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    body = Image.fromarray(noise).resize((300, 500), Image.Resampling.BICUBIC)
    studio = Image.new("RGB", (800, 700), "black")
    studio.paste(body, (250, 150))
    assert not is_page(_luma(studio))


@pytest.mark.parametrize("profile", [Profile.STANDARD, Profile.THOROUGH])
def test_no_view_of_a_page_comes_near_another_page(profile: Profile) -> None:
    hashes = [pdq.hash_image(page)[0].hash for page in PAGES]
    for at in (4, 10, 16, 22):
        quality = pdq.hash_image(PAGES[at])[0].quality
        for view in hash_copies(PAGES[at], quality, profile):
            assert min(pdq.distance(view.hash, other) for n, other in enumerate(hashes) if n != at) > 48


def test_the_picture_on_a_page_is_found() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((520, 390), Image.Resampling.BICUBIC)
    page = Image.new("RGB", (1200, 1600), "white")
    ImageDraw.Draw(page).text((100, 100), "a page with a picture", fill="black")
    page.paste(picture, (300, 700))
    assert is_page(_luma(page))
    bank = pdq.hash_image(picture)[0].hash
    views = hash_copies(page, pdq.hash_image(page)[0].quality, Profile.STANDARD)
    assert min(pdq.distance(view.hash, bank) for view in views) <= 31
