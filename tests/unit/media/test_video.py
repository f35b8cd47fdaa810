"""Which frames of a video are looked up and which a bank would hold, whatever its container says of itself."""

import io
import itertools
import struct
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image

from worker.domain import HashedMedia
from worker.media.limits import Limits
from worker.media.pdq import distance
from worker.media.video import hash_video

SIZE = (160, 120)


def moving(at: float) -> Image.Image:
    """A pan over a wide scene: nothing of it is in sight a second later."""
    noise = np.random.default_rng(5).integers(0, 256, (12, 120, 3), dtype=np.uint8)
    scene = Image.fromarray(noise).resize((120 * 12, 12 * 12), Image.Resampling.BICUBIC)
    left = at * 160
    return scene.transform(
        SIZE, Image.Transform.EXTENT, (left, 0, left + 190, 143), Image.Resampling.BILINEAR
    )


def standing(_at: float) -> Image.Image:
    return moving(1.0)


def clip(
    seconds: float,
    shown: Callable[[float], Image.Image] = moving,
    *,
    fps: Fraction = Fraction(25),
    turned: Image.Transpose | None = None,
    aspect: Fraction | None = None,
    container: str = "mp4",
) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as writer:
        stream = writer.add_stream("libx264", rate=fps)
        assert isinstance(stream, VideoStream)
        first = shown(0.0) if turned is None else shown(0.0).transpose(turned)
        stream.width, stream.height = first.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"crf": "18", "preset": "veryfast"}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for at in range(int(seconds * fps)):
            picture = shown(float(at / fps))
            pixels = np.asarray(picture if turned is None else picture.transpose(turned))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = at, 1 / fps
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return out.getvalue()


def times(media: HashedMedia) -> list[float]:
    return [frame.frame_time or 0.0 for frame in media.originals]


def patched(content: bytes, box: bytes, offset: int, value: bytes) -> bytes:
    """With `value` so many bytes behind the name of the first such box."""
    at = content.index(box) + len(box) + offset
    return content[:at] + value + content[at + len(value) :]


@pytest.mark.parametrize(
    ("fps", "step"),
    [(Fraction(25), 25), (Fraction(30000, 1001), 29), (Fraction(12), 12), (Fraction(1, 2), 1)],
)
def test_a_bank_would_hold_every_so_many_frames_and_they_are_looked_up_as_well(
    fps: Fraction, step: int
) -> None:
    found = hash_video(clip(4, fps=fps), Limits())
    expected = [float(at / fps) for at in range(0, int(4 * fps), step)]
    assert [frame.frame_time for frame in found.vpdq] == pytest.approx(expected)
    assert set(found.vpdq) <= set(found.originals)


def test_every_frame_that_moved_is_looked_up() -> None:
    found = times(hash_video(clip(2), Limits()))
    assert found == pytest.approx([at / 25 for at in range(50)])


def test_what_stands_still_is_looked_up_as_often_as_a_bank_would_hold_it() -> None:
    assert times(hash_video(clip(4, standing), Limits())) == pytest.approx([0, 1, 2, 3])


def test_too_many_frames_are_thinned_evenly() -> None:
    found = hash_video(clip(6), Limits(video_frames=40))
    assert (found.reason, found.partial) == ("", False)
    assert 20 <= len(found.originals) <= 40
    seen = times(found)
    assert max(later - earlier for earlier, later in itertools.pairwise([*seen, 6.0])) <= 0.3
    assert len(found.vpdq) == 6


def test_the_rate_is_the_most_that_is_looked_up() -> None:
    assert len(hash_video(clip(3), Limits(video_rate=4)).originals) == 12


def test_frames_for_a_bank_have_a_budget() -> None:
    assert len(hash_video(clip(4), Limits(video_bank_frames=2)).vpdq) == 2


def test_a_claim_of_hours_thins_nothing() -> None:
    content = clip(2, container="matroska")
    long = hash_video(patched(content, b"\x44\x89\x88", 0, struct.pack(">d", 4 * 3600 * 1000)), Limits())
    assert long.duration > 3600
    assert long.hashes == hash_video(content, Limits()).hashes


def test_a_rotation_flag_changes_no_hash() -> None:
    content = clip(2)
    one, whole = 1 << 16, 1 << 30
    flagged = patched(content, b"tkhd", 40, struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, whole))
    with av.open(io.BytesIO(flagged), "r") as container:
        assert next(container.decode(video=0)).rotation != 0
    assert hash_video(flagged, Limits()).hashes == hash_video(content, Limits()).hashes


@pytest.mark.parametrize(
    ("turned", "view"),
    [
        (Image.Transpose.ROTATE_90, "rotate_270"),
        (Image.Transpose.ROTATE_180, "rotate_180"),
        (Image.Transpose.FLIP_LEFT_RIGHT, "flip_horizontal"),
    ],
)
def test_a_video_whose_frames_were_turned_is_found_by_that_view(turned: Image.Transpose, view: str) -> None:
    held = hash_video(clip(2), Limits()).vpdq
    copy = hash_video(clip(2, turned=turned), Limits())
    for frame in held:
        assert view == min(copy.hashes, key=lambda each: distance(each.hash, frame.hash)).view


def test_an_edit_list_hides_no_frames() -> None:
    content = clip(3)
    scale = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0]
    hidden = patched(content, b"elst", 8, struct.pack(">II", 1000, 2 * scale))
    with av.open(io.BytesIO(hidden), "r") as container:
        assert sum(1 for _ in container.decode(video=0)) < 50
    found = hash_video(hidden, Limits())
    assert len(found.originals) == 75
    assert {frame.hash for frame in found.vpdq} == {
        frame.hash for frame in hash_video(content, Limits()).vpdq
    }


def test_the_shape_of_pixels_changes_no_hash() -> None:
    plain, wide = (hash_video(clip(1, aspect=aspect), Limits()) for aspect in (None, Fraction(4, 1)))
    assert wide.hashes == plain.hashes
