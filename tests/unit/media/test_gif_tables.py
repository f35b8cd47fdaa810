"""A GIF's frames are hashed as they are shown, whichever of its frames have colour tables of their own, and of what."""

from __future__ import annotations

import io
import struct
from itertools import product

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from worker.domain import Profile
from worker.media import pdq
from worker.media.image import decoders_configured, hash_picture
from worker.media.limits import Limits
from worker.media.sniff import Format

GREY = bytes(level for level in range(256) for _ in range(3))
COLOUR = np.random.default_rng(5).integers(0, 256, 768, dtype=np.uint8).tobytes()
TABLES = {"none": b"", "grey": GREY, "colour": COLOUR}
SHOWN = [
    (common, first, second)
    for common, first, second in product(TABLES, TABLES, TABLES)
    if common != "none" or "none" not in {first, second}
]
"""A frame without any table is shown nowhere."""


def _pixels(seed: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def _packed(levels: bytes) -> bytes:
    """LZW that never compresses: codes of nine bits, begun anew before they would grow."""
    codes = [code for at in range(0, len(levels), 200) for code in (256, *levels[at : at + 200])] + [257]
    bits = (np.array(codes)[:, np.newaxis] >> np.arange(9)) & 1
    body = np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
    blocks = [body[at : at + 255] for at in range(0, len(body), 255)]
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _gif(size: tuple[int, int], common: bytes, frames: list[bytes]) -> bytes:
    """Each frame whole, with its own table or, where that is empty, by the common one."""
    made = b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7 if common else 0x70, 0, 0) + common
    for seed, table in enumerate(frames):
        made += b"!\xf9\x04\x00" + struct.pack("<H", 100) + b"\0\0"
        made += b"," + struct.pack("<HHHHB", 0, 0, *size, 0x87 if table else 0) + table
        made += _packed(_pixels(seed, size).tobytes())
    return made + b";"


@pytest.mark.parametrize("size", [(120, 90), (600, 520)])
@pytest.mark.parametrize(("common", "first", "second"), SHOWN)
def test_each_frame_is_hashed_as_it_is_shown(
    size: tuple[int, int], common: str, first: str, second: str
) -> None:
    body = _gif(size, TABLES[common], [TABLES[first], TABLES[second]])
    with av.open(io.BytesIO(body), "r") as shown:
        frames = [frame.to_ndarray(format="rgb24") for frame in shown.decode(video=0)]
    assert len(frames) == 2
    with decoders_configured(Limits()):
        found = hash_picture(body, Format.GIF, Limits(), Profile.PLAIN)
    assert (found.reason, found.partial) == ("", False)
    for frame in frames:
        wanted = pdq.hash_image(Image.fromarray(frame))
        assert all(any(pdq.distance(one.hash, view.hash) <= 2 for view in found.hashes) for one in wanted)
