"""Pictures that break off: compared while half of them is there, and never clear when it is not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from worker.domain import HashedMedia, Kind
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from


def photo(seed: int = 1) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return (
        Image.fromarray(noise)
        .resize((1600, 1200), Image.Resampling.BICUBIC)
        .filter(ImageFilter.GaussianBlur(3))
    )


def encoded(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    photo().save(out, kind, **options)
    return out.getvalue()


def hashed(body: bytes) -> HashedMedia:
    with InProcessSandbox() as sandbox, memfd_from([body]) as media:
        return sandbox.hash(media)


def distance(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a) ^ int.from_bytes(b)).bit_count()


@pytest.mark.parametrize("body", [encoded("JPEG", quality=90), encoded("PNG")], ids=["jpeg", "png"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_a_picture_of_which_little_arrived_is_not_compared(body: bytes, share: float) -> None:
    result = hashed(body[: int(len(body) * share)])
    assert result.kind is Kind.UNSCANNABLE
    assert result.reason in {"truncated", "broken"}


@pytest.mark.parametrize("body", [encoded("JPEG", quality=90), encoded("PNG")], ids=["jpeg", "png"])
def test_a_picture_that_nearly_arrived_is_compared(body: bytes) -> None:
    result = hashed(body[: int(len(body) * 0.97)])
    assert (result.kind, result.partial) == (Kind.IMAGE, True)
    assert distance(result.originals[0].hash, hashed(body).originals[0].hash) <= 31


def test_a_progressive_picture_is_there_whole_long_before_its_end() -> None:
    body = encoded("JPEG", quality=90, progressive=True)
    result = hashed(body[: len(body) // 2])
    assert (result.kind, result.partial) == (Kind.IMAGE, True)
    assert distance(result.originals[0].hash, hashed(body).originals[0].hash) <= 10
