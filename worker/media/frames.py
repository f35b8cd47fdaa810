"""PDQ of a video's frames in all turns from their luma alone, for look-ups: under a millisecond a frame.

The reference converts a frame to RGB and that to luma again, which gives back the luma that the codec stored; its blur
and sampling touch few lines for each sample. So these hashes are read off the stored plane: against the published
hashes of the same frames they drift by 0 bits in the median and 12 at most. What goes into a bank is
hashed by `pdq.vpdq_frame` instead.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, VideoReformatter
from PIL import Image

from worker.domain import ViewHash
from worker.media.axis import GRID, blurred_samples, cosine
from worker.media.dihedral import CORNERS, TURNS
from worker.media.pdq import MATCHABLE_QUALITY, distance
from worker.media.views import DIHEDRAL

FOLD_BITS = 8
"""Frames this near the last one kept are left out: what lies within 23 bits of one of them is within 31 of that."""

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_Weights = npt.NDArray[np.float32]

_LUMA_FIRST = {
    **dict.fromkeys(("gray", "nv12", "nv21"), 8),
    **{
        f"yuv{jpeg}{chroma}p": 8
        for jpeg in ("", "j")
        for chroma in ("420", "422", "444", "440", "411", "410")
    },
    **{f"yuv{chroma}p{bits}le": bits for chroma in ("420", "422", "444") for bits in (10, 12)},
}
"""Pixel formats whose first plane is the luma, one sample a pixel in native order, with its bits."""
_NARROW = 255 / 219
"""Luma of video spans 16 to 235 unless it says otherwise."""
_GRADIENT_SCALE = 90
_DARKEST_SHARE, _BRIGHTEST_SHARE = 0.5, 99.5
_STRETCH_LEVELS = 8
_THIN = 4
"""One sample in so many lines and columns is enough to see how far the levels of a faint frame reach."""


@dataclass(frozen=True, slots=True, eq=False)
class Luma:
    """Rows x columns of stored luma; times `gain` they span 0 to 255."""

    levels: Levels
    gain: float


def luma_of(frame: av.VideoFrame, colours: VideoReformatter) -> Luma:
    """The luma of a decoded frame, without a copy where the codec stores it apart. Raises FFmpegError."""
    plane = frame.planes[0]
    bits = _LUMA_FIRST.get(frame.format.name)
    if bits is None or plane.line_size <= 0:
        # By default the conversion starts a thread a core; the child may start none.
        shown = colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return Luma(np.asarray(Image.fromarray(shown).convert("L")), 1.0)
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if bits == 8 else np.uint16
    stored = np.frombuffer(cast(memoryview, plane), np.uint8)
    lines = stored[: len(stored) // plane.line_size * plane.line_size].reshape(-1, plane.line_size)
    levels = cast(Levels, lines.view(kind)[: frame.height, : frame.width])
    full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    return Luma(levels, (1.0 if full else _NARROW) / (1 << (bits - 8)))


def hash_frame(luma: Luma, *, frame_time: float) -> list[ViewHash]:
    """Hash a frame in the eight turns of `DIHEDRAL`, the frame as it is first.

    The quality of a faint frame is measured with its contrast stretched, as that of a picture is.
    """
    blocks = _blocks(luma.levels)
    spectrum = cosine()
    coefficients = (spectrum @ blocks @ spectrum.T).reshape(len(blocks), -1)
    lower_median = coefficients.shape[1] // 2 - 1
    medians = np.partition(coefficients, lower_median, axis=1)[:, lower_median]
    corners = (coefficients > medians[:, np.newaxis]).reshape(len(blocks), *(len(spectrum),) * 2)
    bits = np.stack(
        [corners[at].T if swapped else corners[at] for at, swapped in map(TURNS.__getitem__, DIHEDRAL)]
    )
    packed = np.packbits(bits.reshape(len(DIHEDRAL), -1)[:, ::-1], axis=1)
    quality = _quality(blocks[0] * luma.gain)
    if quality < MATCHABLE_QUALITY:
        quality = max(quality, _stretched_quality(luma, blocks[0]))
    return [
        ViewHash(row.tobytes(), quality, turn, frame_time) for turn, row in zip(DIHEDRAL, packed, strict=True)
    ]


def is_repeat(views: list[ViewHash], last: list[ViewHash]) -> bool:
    """Whether a frame says nothing new beside the last one kept."""
    return distance(views[0].hash, last[0].hash) <= FOLD_BITS


def _blocks(levels: Levels) -> _Weights:
    """Four blocks of 64 x 64 blurred samples, taken from each of `dihedral.CORNERS`."""
    sampled = _samples(_samples(levels).T).T
    return sampled.reshape(2, GRID, 2, GRID).transpose(0, 2, 1, 3).reshape(len(CORNERS), GRID, GRID)


def _samples(lines: npt.NDArray[np.generic]) -> _Weights:
    """64 blurred samples along the first axis, then the 64 of the mirrored axis.

    Not by a matrix product: each sample takes a few lines of many, and BLAS would start threads.
    """
    starts, weights = _windows(lines.shape[0])
    windows = np.lib.stride_tricks.sliding_window_view(lines, weights.shape[1], axis=0)[starts]
    return np.asarray(np.einsum("iwk,ik->iw", windows.astype(np.float32), weights))


@lru_cache(maxsize=64)
def _windows(length: int) -> tuple[npt.NDArray[np.intp], _Weights]:
    """Where the lines begin that each of 64 samples blurs, and their weights; then the same of the mirrored axis."""
    blurred = blurred_samples(length)
    both = np.concatenate([blurred, blurred[:, ::-1]])
    first = np.argmax(both > 0, axis=1)
    last = length - 1 - np.argmax(both[:, ::-1] > 0, axis=1)
    reach = int((last - first).max()) + 1
    starts = np.minimum(first, length - reach)
    weights = np.stack([row[start : start + reach] for row, start in zip(both, starts, strict=True)])
    return starts, weights.astype(np.float32)


def _quality(block: npt.NDArray[np.floating]) -> int:
    """PDQ's quality, 0 to 100: the sum of all steps between neighbouring samples, each rounded down in per cent."""
    steps = sum(float(np.trunc(np.abs(np.diff(block, axis=axis)) * (100 / 255)).sum()) for axis in (0, 1))
    return min(100, int(steps / _GRADIENT_SCALE))


def _stretched_quality(luma: Luma, block: npt.NDArray[np.floating]) -> int:
    low, high = np.percentile(luma.levels[::_THIN, ::_THIN], [_DARKEST_SHARE, _BRIGHTEST_SHARE])
    if (high - low) * luma.gain < _STRETCH_LEVELS:
        return 0
    return _quality(np.clip(block - low, 0, high - low) * (255 / (high - low)))
