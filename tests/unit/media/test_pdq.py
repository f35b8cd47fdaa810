import numpy as np
import pdqhash
import pytest
from PIL import Image, ImageOps

from worker.media import pdq
from worker.media.dihedral import dihedral_hashes


def _picture(width: int = 700, height: int = 540, seed: int = 7) -> Image.Image:
    """Smooth random blobs: a picture with structure at every scale that PDQ looks at."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def _hash(image: Image.Image) -> bytes:
    return pdq.hash_image(image)[0].hash


@pytest.mark.parametrize("size", [(1600, 1004), (513, 7), (40, 900), (512, 512), (3, 2), (4032, 3024)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK"])
def test_shrinking_takes_the_rows_and_columns_that_cimg_takes(size: tuple[int, int], mode: str) -> None:
    width, height = size
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    source = np.asarray(image)
    if max(size) > 512:
        steps = np.arange(512)
        source = source[steps * height // 512][:, steps * width // 512]
    assert np.array_equal(np.asarray(pdq.nearest_512(image)), source)


@pytest.mark.parametrize(
    ("done", "view"),
    [
        (Image.Transpose.ROTATE_90, "rotate_270"),
        (Image.Transpose.ROTATE_180, "rotate_180"),
        (Image.Transpose.ROTATE_270, "rotate_90"),
        (Image.Transpose.FLIP_TOP_BOTTOM, "flip_vertical"),
        (Image.Transpose.FLIP_LEFT_RIGHT, "flip_horizontal"),
        (Image.Transpose.TRANSPOSE, "transpose"),
        (Image.Transpose.TRANSVERSE, "transverse"),
    ],
)
def test_a_view_names_what_is_done_to_the_upload_so_that_it_matches(done: Image.Transpose, view: str) -> None:
    bank = _hash(_picture())
    views = {each.view: each.hash for each in pdq.hash_image(_picture().transpose(done))}
    assert pdq.distance(views[view], bank) <= 2
    assert pdq.distance(views[""], bank) > 31


@pytest.mark.parametrize("size", [(1600, 1004), (333, 250), (513, 90), (512, 512)])
def test_turned_hashes_are_those_of_the_turned_picture(size: tuple[int, int]) -> None:
    """Fine texture shows a shift of one pixel, which hashes derived from the unturned picture have."""
    picture = Image.effect_noise(size, 90).convert("RGB")
    for view, upload in {
        "rotate_90": picture.transpose(Image.Transpose.ROTATE_90),
        "flip_horizontal": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "transverse": picture.transpose(Image.Transpose.TRANSVERSE),
    }.items():
        views = {each.view: each.hash for each in pdq.hash_image(picture)}
        assert pdq.distance(views[view], _hash(upload)) <= 4


def test_the_identity_of_the_own_transform_is_the_reference_hash() -> None:
    picture = _picture(512, 512)
    luma = np.asarray(picture.convert("L"), dtype=np.float32)
    assert pdq.distance(dihedral_hashes([luma] * 4)[0], _hash(picture)) <= 2


def test_a_negative_is_the_complement() -> None:
    everything = bytes([255] * 32)
    negative = _hash(ImageOps.invert(_picture()))
    assert pdq.distance(negative, _hash(_picture())) >= 250
    assert len(negative) == len(everything)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L", "LA", "RGBA", "RGBX", "LAB", "P", "I;16", "I", "F"])
def test_every_mode_hashes_as_the_picture_it_shows(mode: str) -> None:
    picture = _picture()
    if mode in {"I;16", "I"}:
        levels = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        shown = Image.fromarray(levels if mode == "I;16" else levels.astype(np.int32))
    elif mode == "F":
        shown = Image.fromarray(np.asarray(picture.convert("L")).astype(np.float32) / 255)
    elif mode == "LAB":
        from PIL import ImageCms

        shown = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        ).apply(picture)
    elif mode == "P":
        shown = picture.quantize(256)
    else:
        shown = picture.convert(mode)
    assert shown.mode == mode
    views = pdq.hash_image(shown)
    assert len(views) == 8
    # Neither 256 colours nor eight bits of L*a*b* hold every colour of this picture.
    assert pdq.distance(views[0].hash, _hash(picture)) <= (24 if mode in {"LAB", "P"} else 10)


def test_a_transparent_picture_is_hashed_as_stored_on_white_and_on_black() -> None:
    picture = _picture()
    alpha = _picture(seed=3).convert("L")
    picture.putalpha(alpha)
    views = {each.view: each.hash for each in pdq.hash_image(picture)}
    assert len(views) == 24
    assert pdq.distance(views[""], _hash(picture.convert("RGB"))) == 0
    for view, colour in (("on_white", "white"), ("on_black", "black")):
        shown = Image.new("RGBA", picture.size, colour)
        shown.alpha_composite(picture)
        assert pdq.distance(views[view], _hash(shown.convert("RGB"))) <= 4
    assert pdq.distance(views["on_white"], views["on_black"]) > 31


def test_a_palette_with_a_transparent_entry_shows_its_backgrounds() -> None:
    picture = _picture().quantize(16)
    picture.info["transparency"] = 3
    assert len(pdq.hash_image(picture)) == 24


def test_a_darkened_picture_keeps_its_hash_and_gets_its_quality_back() -> None:
    dark = _picture().point(lambda level: level // 6)
    original, found = pdq.hash_image(_picture())[0], pdq.hash_image(dark)[0]
    assert pdqhash.compute(np.asarray(pdq.nearest_512(dark)))[1] < pdq.MATCHABLE_QUALITY
    assert found.quality >= pdq.MATCHABLE_QUALITY
    assert pdq.distance(found.hash, original.hash) <= 10


def test_a_single_colour_stays_of_no_quality() -> None:
    flat = np.full((300, 300, 3), 120, dtype=np.uint8)
    flat[::7, ::5] = 122
    assert pdq.hash_image(Image.fromarray(flat))[0].quality < pdq.MATCHABLE_QUALITY


def test_the_smallest_picture_has_a_hash_of_no_quality() -> None:
    views = pdq.hash_image(Image.new("RGB", (1, 1), "red"))
    assert [each.quality for each in views] == [0] * 8
