"""Views of edited copies: each undoes its edit on a picture with structure, exactly where it can be exact."""

import numpy as np
import pdqhash
import pytest
from PIL import Image, ImageDraw, ImageOps

from worker.domain import CloserLook, Placement, Profile, ViewHash
from worker.media import pdq
from worker.media.axis import centred_blur, transform
from worker.media.canvas import Canvas
from worker.media.copies import hash_copies
from worker.media.edited import threshold
from worker.media.regions import rectangles


def _picture(size: tuple[int, int] = (800, 600), seed: int = 7) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


BANK = pdq.hash_image(_picture())[0].hash


def _closest(upload: Image.Image, profile: Profile = Profile.THOROUGH) -> tuple[int, ViewHash]:
    quality = pdq.hash_image(upload)[0].quality
    return min(
        ((pdq.distance(view.hash, BANK), view) for view in hash_copies(upload, quality, profile)),
        key=lambda found: found[0],
    )


def test_the_whole_picture_by_matrices_is_the_references_hash() -> None:
    luma = np.asarray(pdq.nearest_512(_picture()).convert("L"))
    found = threshold((transform(512) @ luma.astype(np.float32) @ transform(512).T)[np.newaxis])[0]
    vector, _ = pdqhash.compute(np.repeat(luma[:, :, np.newaxis], 3, axis=2))
    assert pdq.distance(found.tobytes(), np.packbits(vector).tobytes()) <= 2


def test_a_mirrored_rim_is_the_really_padded_picture() -> None:
    luma = np.asarray(_picture((512, 512)).convert("L"))
    rows = transform(512, -0.125, 1.125, rim="mirror")
    found = threshold((rows @ luma.astype(np.float32) @ rows.T)[np.newaxis])[0]
    padded = Image.fromarray(np.pad(luma, 64, mode="symmetric")).convert("RGB")
    assert pdq.distance(found.tobytes(), pdq.hash_image(padded)[0].hash) <= 14


def test_the_mirrored_transform_is_that_of_the_mirrored_picture() -> None:
    luma = np.asarray(_picture((512, 512)).convert("L"), dtype=np.float32)
    for start, stop in ((0.0, 1.0), (-0.1, 1.02)):
        rows = transform(512, start, stop)
        upright = rows @ luma[:, ::-1] @ transform(512, 1 - stop, 1 - start).T
        mirrored = rows @ luma @ transform(512, start, stop, mirrored=True).T
        assert np.allclose(upright, mirrored, rtol=1e-3, atol=0.5)


def _bordered() -> Image.Image:
    return ImageOps.expand(_picture(), 70, "white")


def _screenshot() -> Image.Image:
    page = Image.new("RGB", (1080, 2000), "white")
    page.paste(_picture((1080, 810)), (0, 300))
    draw = ImageDraw.Draw(page)
    for line in range(20):
        draw.rectangle((60, 1200 + 30 * line, 900, 1212 + 30 * line), fill="black")
    return page


def _collage() -> Image.Image:
    page = Image.new("RGB", (1600, 600))
    page.paste(_picture(seed=8), (0, 0))
    page.paste(_picture(), (800, 0))
    return page


def _covered() -> Image.Image:
    picture = _picture()
    ImageDraw.Draw(picture).rectangle((0, 510, 800, 600), fill="white")
    return picture


def _print(degrees: float) -> Image.Image:
    """A print with a white rim, lying turned on a patterned table."""
    card = ImageOps.expand(_picture(), 40, "white").convert("RGBA")
    lying = card.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    table = _picture((1100, 950), seed=9).point(lambda level: level // 3)
    table.paste(lying, (90, 110), lying)
    return table


@pytest.mark.parametrize(
    ("upload", "view", "profile", "within"),
    [
        (_bordered(), "part", Profile.STANDARD, 16),
        (ImageOps.mirror(_bordered()), "part_flip_horizontal", Profile.STANDARD, 16),
        (_bordered().transpose(Image.Transpose.ROTATE_90), "part_rotate_270", Profile.STANDARD, 16),
        (_screenshot(), "part", Profile.STANDARD, 16),
        (_collage(), "part", Profile.THOROUGH, 16),
        (_picture().crop((30, 24, 770, 576)), "uncropped", Profile.STANDARD, 31),
        (
            ImageOps.mirror(_picture()).crop((30, 24, 770, 576)),
            "uncropped_flip_horizontal",
            Profile.STANDARD,
            31,
        ),
        (_picture().rotate(3, Image.Resampling.BICUBIC, expand=True), "straightened", Profile.THOROUGH, 24),
        (_picture().rotate(-2, Image.Resampling.BICUBIC), "straightened", Profile.STANDARD, 24),
        (_print(4.3), "straightened", Profile.THOROUGH, 24),
        (ImageOps.mirror(_print(-2.5)), "straightened_flip_horizontal", Profile.THOROUGH, 24),
        (_covered(), "filled", Profile.THOROUGH, 40),
    ],
)
def test_an_edit_is_undone(upload: Image.Image, view: str, profile: Profile, within: int) -> None:
    distance, found = _closest(upload, profile)
    assert distance <= within
    assert found.view == view
    assert pdq.distance(pdq.hash_image(upload)[0].hash, BANK) > 31


def test_the_region_is_where_the_picture_lies() -> None:
    _, found = _closest(_screenshot(), Profile.STANDARD)
    assert found.region == pytest.approx((0, 0.15, 1, 0.405), abs=0.006)


def test_nothing_is_guessed_of_the_plain_profile_or_a_picture_without_structure() -> None:
    assert hash_copies(_bordered(), 100, Profile.PLAIN) == []
    assert hash_copies(Image.new("RGB", (600, 600)), 0, Profile.THOROUGH) == []
    assert hash_copies(_picture((40, 300)), 100, Profile.THOROUGH) == []


@pytest.mark.parametrize("size", [(64, 64), (65, 900), (900, 65), (300, 200), (513, 512)])
@pytest.mark.parametrize("profile", [Profile.STANDARD, Profile.THOROUGH])
def test_any_shape_is_taken(size: tuple[int, int], profile: Profile) -> None:
    views = hash_copies(_picture(size), 100, profile)
    assert len(views) > 200
    assert all(len(view.hash) == 32 and view.region is not None for view in views)


@pytest.mark.parametrize("kind", ["flat", "stripes", "noise", "half"])
def test_odd_pictures_have_no_wild_regions(kind: str) -> None:
    luma = np.zeros((512, 512), dtype=np.float32)
    if kind == "stripes":
        luma[::2] = 255
    if kind == "noise":
        luma += np.random.default_rng(2).uniform(0, 255, luma.shape).astype(np.float32)
    if kind == "half":
        luma[256:] = 200
    for top, left, bottom, right in rectangles(luma, Profile.THOROUGH):
        assert 0 <= top < bottom <= 512
        assert 0 <= left < right <= 512


def test_halves_and_thirds_are_guessed_only_where_a_picture_breaks_off() -> None:
    y, x = np.mgrid[0:1:256j, 0:1:256j]
    smooth = (128 + 60 * np.sin(7 * x + 3 * y) + 60 * np.cos(5 * y - 4 * x)).astype(np.float32)
    joined = smooth.copy()
    joined[:, 128:] = smooth[::-1, 128:] * 0.97 + 4
    left_half = (0, 0, 256, 128)
    assert left_half not in rectangles(smooth, Profile.THOROUGH)
    assert left_half in rectangles(joined, Profile.THOROUGH)


def test_a_further_look_begins_with_its_seed_as_it_was() -> None:
    upload = _picture().crop((90, 40, 800, 560))
    corners = (-0.08, -0.1, -0.08, 1.0, 1.07, 1.0, 1.07, -0.1)
    first = hash_copies(upload, 100, Profile.THOROUGH, CloserLook(0, (("uncropped", Placement(corners)),)))
    again = CloserLook(1, ((first[7].view, _seed(first[7])),))
    second = hash_copies(upload, 100, Profile.THOROUGH, again)
    shaded = CloserLook(2, ((second[9].view, _seed(second[9])),))
    third = hash_copies(upload, 100, Profile.THOROUGH, shaded)
    assert (second[0].hash, second[0].placement) == (first[7].hash, first[7].placement)
    assert any(_seed(second[9]).outside[2:]), "the ninth view was not shaded: take another"
    assert (third[0].hash, third[0].placement) == (second[9].hash, second[9].placement)


def _seed(view: ViewHash) -> Placement:
    assert view.placement is not None
    return view.placement


def test_a_canvas_that_grew_shows_what_one_shows_that_was_large_from_the_start() -> None:
    blurred = centred_blur(np.asarray(_picture((512, 300)).convert("L"), dtype=np.float32))
    rims = np.zeros((3, 2), dtype=np.int64)
    corners = np.array([[[-by, -by], [-by, 1.0], [1.0, 1.0], [1.0, -by]] for by in (0.0, 0.1, 0.33)])
    grown, large = Canvas(blurred), Canvas(blurred)
    large.tiles(corners[2:], rims[2:])
    for at in range(3):
        one = slice(at, at + 1)
        assert np.array_equal(grown.tiles(corners[one], rims[one]), large.tiles(corners[one], rims[one]))
    assert grown.tiles(corners[:0], rims[:0]).shape == (0, 64, 64)


def test_a_seed_without_a_width_costs_the_others_nothing() -> None:
    good = Placement((0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0))
    flat = Placement((0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 0.5))
    alone = hash_copies(_picture(), 100, Profile.STANDARD, CloserLook(0, (("uncropped", good),)))
    with np.errstate(all="ignore"):
        both = hash_copies(
            _picture(), 100, Profile.STANDARD, CloserLook(0, (("uncropped", good), ("uncropped", flat)))
        )
    assert {view.hash for view in alone} <= {view.hash for view in both}
