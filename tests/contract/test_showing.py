"""What every sandbox owes a reviewer: few pixels, upright, of the region that was asked for, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from PIL import Image, ImageOps

from tests.unit.media.hostile.test_hostile_media import CASES, Case
from worker.domain import CloserLook, Kind, Placement, Profile
from worker.media.in_process import InProcessSandbox
from worker.media.limits import Limits, Reason
from worker.media.media import memfd_from
from worker.media.rungs import (
    GREY_CELLS,
    LONGEST_SIDE,
    MOST_STILLS,
    STILL_SIDE,
    Cut,
    Raster,
    Rung,
    Showing,
    Shown,
)
from worker.media.sandbox import MediaViewer, ZygoteSandbox

RUNGS = [Rung.MOSAIC, Rung.GREY, Rung.PEEK, Rung.WHOLE]
CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
"""Top left, top right, bottom left, bottom right of `quarters`."""

Pixels = npt.NDArray[np.uint8]


def quarters(size: tuple[int, int] = (1500, 900)) -> Image.Image:
    """A picture of four flat colours, so that what is shown tells where it came from."""
    picture = Image.new("RGB", size)
    width, height = size[0] // 2, size[1] // 2
    for at, colour in enumerate(CORNERS):
        picture.paste(colour, ((at % 2) * width, (at // 2) * height, size[0], size[1]))
        if at % 2 == 0:
            picture.paste(CORNERS[at + 1], (width, (at // 2) * height, size[0], size[1]))
    return picture


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def clip(
    colours: list[tuple[int, int, int]], *, size: tuple[int, int] = (640, 360), container: str = "mp4"
) -> bytes:
    """A video of one second a colour."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as writer:
        stream = writer.add_stream("libx264", rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for second, colour in enumerate(colours):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), colour, dtype=np.uint8))
            for step in range(10):
                frame.pts = second * 10 + step
                writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return out.getvalue()


@pytest.fixture(params=[InProcessSandbox, ZygoteSandbox], scope="module")
def viewer(request: pytest.FixtureRequest) -> Iterator[MediaViewer]:
    with request.param() as made:
        yield made


def show(viewer: MediaViewer, content: bytes, showing: Showing) -> Shown:
    with memfd_from([content]) as media:
        return viewer.show(media, showing)


def pixels(raster: Raster) -> Pixels:
    """Rows x columns x channels."""
    shape = (raster.height, raster.width, raster.channels)
    return np.frombuffer(raster.pixels, dtype=np.uint8).reshape(shape)


def one(shown: Shown) -> Pixels:
    assert shown.reason == ""
    (raster,) = shown.rasters
    return pixels(raster)


def close(found: Pixels, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(found.astype(int) - colour).max() <= 40)


def corners(found: Pixels) -> list[Pixels]:
    quarter, third = found.shape[0] // 4, found.shape[1] // 4
    return [found[y, x] for y in (quarter, -quarter - 1) for x in (third, -third - 1)]


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"])
@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_of_each_format_is_no_larger_than_it_says(
    viewer: MediaViewer, name: str, rung: Rung
) -> None:
    pillow_heif.register_heif_opener()
    shown = show(viewer, saved(quarters(), name), Showing(rung))
    found = one(shown)
    longest = LONGEST_SIDE[rung]
    assert max(found.shape[:2]) == longest
    assert found.shape[:2] == (16, 16) or abs(found.shape[1] / found.shape[0] - 1500 / 900) < 0.02
    assert found.shape[2] == (1 if rung is Rung.GREY else 3)
    assert (shown.width, shown.height) == (1500, 900)
    if rung is not Rung.GREY:
        assert all(close(at, colour) for at, colour in zip(corners(found), CORNERS, strict=True))


def test_a_small_picture_is_not_enlarged(viewer: MediaViewer) -> None:
    content = saved(quarters((60, 40)), "PNG")
    for rung in (Rung.GREY, Rung.PEEK, Rung.WHOLE):
        assert one(show(viewer, content, Showing(rung))).shape[:2] == (40, 60)
    assert one(show(viewer, content, Showing(Rung.MOSAIC))).shape[:2] == (16, 16)


@pytest.mark.parametrize("period", [2, 8, 20, 40])
def test_no_finer_detail_than_a_cell_is_in_the_grey_thumbnail(viewer: MediaViewer, period: int) -> None:
    """Stripes of under a cell, of which there are GREY_CELLS along the side, come out as flat grey."""
    side = 960
    assert period * 2 <= side // GREY_CELLS * 2
    stripes = (np.arange(side) // max(1, period // 2) % 2 * 255).astype(np.uint8)
    picture = Image.fromarray(np.tile(stripes, (side, 1)))
    found = one(show(viewer, saved(picture, "PNG"), Showing(Rung.GREY))).astype(int)
    assert found.max() - found.min() <= 26


def test_the_mosaic_holds_sixteen_means_a_side(viewer: MediaViewer) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    found = one(show(viewer, saved(Image.fromarray(noise), "PNG"), Showing(Rung.MOSAIC)))
    assert np.abs(found.astype(int) - 128).max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_picture_is_shown_upright_as_viewers_do(viewer: MediaViewer, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pillow_heif.register_heif_opener()
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(saved(quarters(), "JPEG", exif=exif))))
    expected = np.asarray(upright.convert("RGB"))
    content = saved(quarters(), name, exif=exif if name == "TIFF" else exif.tobytes())
    shown = show(viewer, content, Showing(Rung.WHOLE))
    assert all(
        close(at, tuple(int(level) for level in colour))  # type: ignore[arg-type]
        for at, colour in zip(corners(one(shown)), corners(expected), strict=True)
    )
    # The top left ninth of what is seen, wherever it is stored.
    cell = one(show(viewer, content, Showing(Rung.PEEK, Cut((0.0, 0.0, 1 / 3, 1 / 3), upright=True))))
    assert close(cell[5, 5], tuple(int(level) for level in corners(expected)[0]))  # type: ignore[arg-type]
    assert (shown.width, shown.height) == upright.size


def test_a_stored_region_is_that_of_the_hashed_picture(viewer: MediaViewer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(quarters(), "JPEG", exif=exif)
    for at, (left, top) in enumerate(((0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.6, 0.6))):
        found = one(show(viewer, content, Showing(Rung.PEEK, Cut((left, top, 0.4, 0.4), upright=False))))
        assert close(found[found.shape[0] // 2, found.shape[1] // 2], CORNERS[at])


def test_a_region_outside_the_picture_is_cut_at_its_edge(viewer: MediaViewer) -> None:
    content = saved(quarters(), "PNG")
    for region in ((-0.5, -0.5, 1.0, 1.0), (0.0, 0.0, 1e-9, 1e-9), (0.9, 0.9, 5.0, 5.0)):
        found = one(show(viewer, content, Showing(Rung.PEEK, Cut(region, upright=False))))
        assert max(found.shape[:2]) <= LONGEST_SIDE[Rung.PEEK]


def test_a_region_of_a_large_jpeg_is_sharp(viewer: MediaViewer) -> None:
    size = (6000, 4000)
    fine = Image.fromarray((np.indices((size[1], size[0])).sum(0) // 8 % 2 * 255).astype(np.uint8))
    content = saved(fine, "JPEG", quality=95)
    found = one(show(viewer, content, Showing(Rung.PEEK, Cut((0.4, 0.4, 0.05, 0.05), upright=False))))
    assert found.max() - found.min() > 200


def test_transparency_is_shown_on_grey(viewer: MediaViewer) -> None:
    for mode, name in (("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")):
        clear = Image.new(mode, (300, 200), 0)
        assert close(one(show(viewer, saved(clear, name), Showing(Rung.WHOLE))), (128, 128, 128))


def test_an_animation_shows_its_first_frame_or_the_one_of_the_match(viewer: MediaViewer) -> None:
    frames = [Image.new("RGB", (200, 150), colour) for colour in CORNERS]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=500)
    assert close(one(show(viewer, content, Showing(Rung.WHOLE))), CORNERS[0])
    for at, colour in enumerate(CORNERS):
        found = one(show(viewer, content, Showing(Rung.WHOLE, seconds=(at * 0.5 + 0.1,))))
        assert close(found, colour)
    assert close(one(show(viewer, content, Showing(Rung.WHOLE, seconds=(99.0,)))), CORNERS[-1])


@pytest.mark.parametrize("rung", RUNGS)
def test_a_video_is_few_small_stills(viewer: MediaViewer, rung: Rung) -> None:
    colours = [CORNERS[at % 4] for at in range(20)]
    cut = Cut((0.0, 0.0, 1 / 3, 1 / 3), upright=True) if rung is Rung.PEEK else None
    shown = show(viewer, clip(colours), Showing(rung, cut))
    assert shown.reason == ""
    assert len(shown.rasters) == MOST_STILLS
    assert all(max(each.width, each.height) <= min(STILL_SIDE, LONGEST_SIDE[rung]) for each in shown.rasters)
    assert [each.seconds for each in shown.rasters] == sorted(each.seconds or 0.0 for each in shown.rasters)
    if rung is Rung.WHOLE:
        for each in shown.rasters:
            assert each.seconds is not None
            assert close(pixels(each), colours[int(each.seconds)])


def test_stills_are_taken_at_the_asked_seconds(viewer: MediaViewer) -> None:
    colours = [CORNERS[at % 4] for at in range(8)]
    asked = (6.55, 1.25, 3.05, 1.25, 99.0)
    shown = show(viewer, clip(colours), Showing(Rung.WHOLE, seconds=asked))
    found = [each.seconds for each in shown.rasters]
    assert found == pytest.approx([1.2, 3.0, 6.5, 7.9], abs=0.11)
    for each in shown.rasters:
        assert each.seconds is not None
        assert close(pixels(each), colours[int(each.seconds)])


def test_a_limit_is_a_typed_reason(viewer: MediaViewer) -> None:
    tight = Limits(image_side=600, video_bytes=100)
    made = ZygoteSandbox(tight) if isinstance(viewer, ZygoteSandbox) else InProcessSandbox(tight)
    with made as limited:
        assert show(limited, saved(quarters(), "PNG"), Showing(Rung.WHOLE)) == Shown(reason=Reason.SIDE_LIMIT)
        assert show(limited, clip([CORNERS[0]]), Showing(Rung.WHOLE)) == Shown(reason=Reason.FILE_SIZE_LIMIT)
    for content, reason in ((b"", Reason.EMPTY), (b"%PDF-1.7\n", Reason.FORMAT_NOT_ALLOWED)):
        assert show(viewer, content, Showing(Rung.GREY)) == Shown(reason=reason)


@pytest.mark.parametrize("case", CASES, ids=lambda each: f"{each.number}-{each.name}")
@pytest.mark.parametrize("rung", [Rung.GREY, pytest.param(Rung.WHOLE, marks=pytest.mark.storm)])
def test_a_hostile_file_is_shown_small_or_refused(zygote: ZygoteSandbox, case: Case, rung: Rung) -> None:
    shown = show(zygote, case.make(), Showing(rung))
    if case.kind in {Kind.UNSUPPORTED, Kind.UNSCANNABLE}:
        # Where less than half of a picture arrived it is not hashed, and still shown as far as it goes.
        assert shown.reason == case.reason or (case.reason == Reason.TRUNCATED and shown.rasters)
    else:
        assert (shown.reason, bool(shown.rasters)) == ("", True)
    assert all(max(each.width, each.height) <= LONGEST_SIDE[rung] for each in shown.rasters)


@pytest.fixture(scope="module")
def zygote() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as sandbox:
        yield sandbox


def test_a_closer_look_passes_the_zygote(zygote: ZygoteSandbox) -> None:
    picture = saved(quarters((700, 540)), "JPEG")
    placement = Placement(
        (0.125, 0.125, 0.125, 0.875, 0.875, 0.875, 0.875, 0.125), None, (2, 0, 1, -127, 0, 127, 4, 5, 6, 7)
    )
    closer = CloserLook(1, (("part", placement),))
    with memfd_from([picture]) as media, InProcessSandbox() as unwalled:
        found = zygote.hash(media, Profile.STANDARD, closer)
        assert found == unwalled.hash(media, Profile.STANDARD, closer)
        assert len(found.hashes) > 16
