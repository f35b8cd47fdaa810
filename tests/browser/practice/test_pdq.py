"""PDQ in plain JavaScript against pdqhash: same pixels, same bits."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import FilePayload, Page, Route

from tests.browser.practice.hashed import Made, apart, made, reference
from worker.demo.media import PHOTOS

MOST_BITS = 10
GOOD = 80


def _check(page: Page, pictures: list[Path]) -> None:
    compared = 0
    for path, found in zip(pictures, made(page, pictures), strict=True):
        with Image.open(path) as picture:
            wanted, quality = reference(picture)
        if quality >= GOOD:
            compared += 1
            assert apart(found, wanted) <= MOST_BITS, path.name
            assert found.quality is not None
            assert abs(found.quality - quality) <= 2, path.name
        elif quality < 45:
            assert found == Made(quality=found.quality, refused="faint"), path.name
    assert compared >= 0.9 * len(pictures)


def _file(picture: Image.Image, form: str = "PNG", **options: object) -> FilePayload:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return {"name": "picture", "mimeType": f"image/{form.lower()}", "buffer": out.getvalue()}


def test_photographs_hash_as_by_the_reference(visitor: Page) -> None:
    _check(visitor, sorted(PHOTOS.glob("*.jpg")))


def test_public_photographs_hash_as_by_the_reference(visitor: Page, reference_data: Path) -> None:
    found = [path for folder in ("photos", "pdq") for path in (reference_data / folder).rglob("*")]
    pictures = sorted(path for path in found if path.suffix in {".jpg", ".png", ".webp"})
    assert len(pictures) >= 80
    _check(visitor, pictures)


def test_a_photograph_is_hashed_as_its_camera_turned_it(visitor: Page) -> None:
    with Image.open(PHOTOS / "rocket.jpg") as photograph:
        files = []
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            files.append(_file(photograph, "JPEG", exif=exif))
    hashes = set()
    for file, found in zip(files, made(visitor, files), strict=True):
        with Image.open(io.BytesIO(file["buffer"])) as turned:
            wanted, _ = reference(turned)
        assert apart(found, wanted) <= MOST_BITS
        hashes.add(found.value)
    assert len(hashes) == 8


def test_what_is_clear_is_hashed_on_white(visitor: Page) -> None:
    with Image.open(PHOTOS / "palace.jpg") as photograph:
        picture = photograph.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    (found,) = made(visitor, [_file(picture)])
    wanted, _ = reference(picture)
    assert apart(found, wanted) <= MOST_BITS


@pytest.mark.parametrize(
    "size", [(4, 300), (5, 5), (64, 64), (90, 700), (513, 40), (9000, 120), (5200, 3900)]
)
def test_any_size(visitor: Page, size: tuple[int, int]) -> None:
    """Tiny, narrow, the size of a hash's own picture, wider than a tile, and as large as a camera's."""
    with Image.open(PHOTOS / "tulips.jpg") as photograph:
        picture = ImageOps.fit(photograph, size)
    (found,) = made(visitor, [_file(picture)])
    wanted, quality = reference(picture)
    if quality >= 50:
        assert apart(found, wanted) == 0
        assert found.quality == quality
    else:
        assert found.refused == "faint"


def test_other_kinds_of_pixels(visitor: Page) -> None:
    with Image.open(PHOTOS / "cat.jpg") as photograph:
        kinds = [
            _file(photograph.convert("L")),
            _file(photograph.convert("P", palette=Image.Palette.ADAPTIVE)),
            _file(photograph.convert("CMYK"), "JPEG"),
            _file(photograph, "GIF"),
            _file(photograph, "WEBP", lossless=True),
            _file(photograph, "BMP"),
        ]
    for file, found in zip(kinds, made(visitor, kinds), strict=True):
        with Image.open(io.BytesIO(file["buffer"])) as picture:
            wanted, _ = reference(picture)
        assert apart(found, wanted) <= MOST_BITS, file["mimeType"]


_MASKS = {
    "noise": "data.data.forEach((level, at) => { data.data[at] = level ^ (Math.random() * 64); });",
    "one colour": "data.data.fill(255);",
}


@pytest.mark.parametrize("mask", _MASKS)
def test_a_browser_that_hides_pixels_sends_no_hash_of_noise(visitor: Page, mask: str) -> None:
    """As browsers do that protect their users from being recognised by what a canvas shows."""
    masked = (
        "const real = OffscreenCanvasRenderingContext2D.prototype.getImageData;"
        "OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...where) {"
        f" const data = real.apply(this, where); {_MASKS[mask]} return data; }};"
    )

    def add(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text() + masked)

    visitor.context.route("**/picture.js", add)
    video: FilePayload = {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"video"}
    with Image.open(PHOTOS / "cat.jpg") as photograph:
        found = made(visitor, [_file(photograph), video])
    assert [each.refused for each in found] == ["masked", ""]


def test_what_is_no_picture_is_refused(visitor: Page) -> None:
    with Image.open(PHOTOS / "cat.jpg") as photograph:
        whole = _file(photograph, "JPEG")
    files: list[FilePayload] = [
        {"name": "IMG_1.HEIC", "mimeType": "image/heic", "buffer": b"\0\0\0\x18ftypheic" + bytes(200)},
        {"name": "text.txt", "mimeType": "text/plain", "buffer": b"words"},
        {"name": "empty.jpg", "mimeType": "image/jpeg", "buffer": b""},
        whole | {"buffer": whole["buffer"][:200]},
    ]
    assert {found.refused for found in made(visitor, files)} == {"unreadable"}
