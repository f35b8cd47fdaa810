"""PDQ along the path of the banks' reference implementation, from pixels to hashes of all views.

The C++ and WASM reference shrinks a picture with a side over 512 to 512x512 by CImg's nearest neighbour
before it hashes; hashing at full size drifts by 8 to 10 bits, up to 24.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pdqhash
from PIL import Image, ImageCms

from worker.domain import ViewHash
from worker.media.axis import SIDE
from worker.media.dihedral import CORNERS, Luma, dihedral_hashes
from worker.media.views import DIHEDRAL, view_name

Pixels = npt.NDArray[np.uint8]
"""Rows x columns x 3 (RGB), 8 bits."""

MATCHABLE_QUALITY = 50
"""Below this the banks' reference discards a hash, so darkening a picture would hide it."""
REPEAT_BITS = 4
"""Consecutive frames this near are one: re-encoding alone drifts by as much."""

_STRETCH_SHARE = 0.5
_STRETCH_LEVELS = 8
_BACKGROUND_LEVELS = {"on_white": 255, "on_black": 0}


def nearest_512(image: Image.Image, *, from_bottom: bool = False, from_right: bool = False) -> Image.Image:
    """Shrink to 512x512 as CImg does: row i takes source row i*height//512, columns alike.

    Both axes are resized as soon as either is over 512, so a narrow picture is stretched, as the reference
    does. Pillow samples at the middle of each target pixel; half a step back gives CImg's choice exactly.
    Counted from the bottom or the right it takes what it would take of the mirrored picture.
    """
    if max(image.size) <= SIDE:
        return image
    across, down = image.width / SIDE, image.height / SIDE
    left = (image.width - 1) / SIDE if from_right else 0
    top = (image.height - 1) / SIDE if from_bottom else 0
    return image.transform(
        (SIDE, SIDE),
        Image.Transform.AFFINE,
        (across, 0, left - across / 2, 0, down, top - down / 2),
        Image.Resampling.NEAREST,
    )


def hash_image(image: Image.Image, *, frame_time: float | None = None) -> list[ViewHash]:
    """Hash one decoded picture: eight views, or twenty-four where it is not opaque."""
    load(image)
    shrunk = [nearest_512(image, from_bottom=down, from_right=across) for down, across in CORNERS]
    if _is_plain(image):
        # A picture that was not shrunk is one and the same four times over.
        lumas = [_luma(image)] * 4 if shrunk[0] is image else [_luma(each) for each in shrunk]
        return _hash_corners(colours(shrunk[0])[0], lumas, frame_time=frame_time)
    corners = [colours(each) for each in shrunk]
    hashes = _hash_shown([pixels for pixels, _ in corners], frame_time=frame_time)
    if all(alpha is None for _, alpha in corners):
        return hashes
    for background, level in _BACKGROUND_LEVELS.items():
        shown = [pixels if alpha is None else _over(pixels, alpha, level) for pixels, alpha in corners]
        hashes += _hash_shown(shown, background=background, frame_time=frame_time)
    return hashes


def load(image: Image.Image) -> None:
    """Load what is shown of a picture; only then does a GIF tell its mode."""
    if image.mode == "L":
        # Pillow would lay a GIF's common table over a frame that has a grey one of its own.
        image.palette = None
    image.load()


def picture_luma(image: Image.Image) -> Luma:
    """The luma that a picture is hashed from, at most 512 x 512."""
    shrunk = nearest_512(image)
    return _luma(shrunk if _is_plain(image) else Image.fromarray(colours(shrunk)[0]))


def vpdq_frame(pixels: Pixels, *, frame_time: float) -> ViewHash:
    """Hash one video frame at its own size, bit for bit as the reference's vPDQ does."""
    found, quality = _reference_hash(pixels)
    return ViewHash(found, quality, frame_time=frame_time)


def distance(one: bytes, other: bytes) -> int:
    """Bits that differ between two hashes of 32 bytes."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def is_repeat(views: Sequence[ViewHash], last: Sequence[ViewHash]) -> bool:
    """Whether a picture says nothing new beside the last one kept."""
    return distance(views[0].hash, last[0].hash) <= REPEAT_BITS


def _is_plain(image: Image.Image) -> bool:
    """Whether a loaded picture is grey or RGB and opaque: then its luma needs no way over its colours."""
    return image.mode in {"L", "RGB"} and not image.has_transparency_data


def _hash_shown(
    corners: Sequence[Pixels], *, background: str = "", frame_time: float | None
) -> list[ViewHash]:
    lumas = [_luma(Image.fromarray(pixels)) for pixels in corners]
    return _hash_corners(corners[0], lumas, background=background, frame_time=frame_time)


def _hash_corners(
    pixels: Pixels, lumas: Sequence[Luma], *, background: str = "", frame_time: float | None
) -> list[ViewHash]:
    """Hash all turns and mirrors of a picture at its final size, and its luma as sampled from each corner.

    PDQ's quality falls with contrast and its hash does not, so the quality of a faint picture is measured with
    its contrast stretched: else darkening would put it below every threshold.
    """
    identity, quality = _reference_hash(pixels)
    if quality < MATCHABLE_QUALITY:
        quality = max(quality, _stretched_quality(lumas[0]))
    turned = dihedral_hashes(lumas)
    return [
        ViewHash(found, quality, view_name(background, turn), frame_time)
        for turn, found in zip(DIHEDRAL, [identity, *turned[1:]], strict=True)
    ]


def _reference_hash(pixels: Pixels) -> tuple[bytes, int]:
    vector, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return np.packbits(np.asarray(vector, dtype=np.uint8)).tobytes(), int(quality)


def _luma(image: Image.Image) -> Luma:
    return np.asarray(_converted(image, "L"), dtype=np.float32)


def _stretched_quality(luma: Luma) -> int:
    """Quality with nearly all luminance spread over the whole scale; 0 for one colour, where only noise would grow."""
    low, high = np.percentile(luma, [_STRETCH_SHARE, 100 - _STRETCH_SHARE])
    if high - low < _STRETCH_LEVELS:
        return 0
    stretched = np.clip((luma - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    return _reference_hash(_grey(stretched))[1]


def _over(colours: Pixels, alpha: npt.NDArray[np.uint8], level: int) -> Pixels:
    share = alpha[:, :, np.newaxis].astype(np.float32) / 255
    return (colours * share + level * (1 - share)).round().astype(np.uint8)


def colours(image: Image.Image) -> tuple[Pixels, npt.NDArray[np.uint8] | None]:
    """RGB, and the alpha channel where it hides anything.

    Rules by mode are from measurements: without them a CMYK picture hashes as its own negative, a palette
    picture as its indices, and a 16-bit grey one as white.
    """
    if image.mode.startswith(("I", "F")):
        return _grey(_eight_bit(np.asarray(image))), None
    if image.has_transparency_data or image.mode in {"RGBa", "La"}:
        pixels = np.asarray(_converted(image, "RGBA"))
        alpha = pixels[:, :, 3]
        return pixels[:, :, :3], None if alpha.min() == 255 else alpha
    if image.mode == "LAB":
        to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        image = to_rgb.apply(image)
    return np.asarray(_converted(image, "RGB")), None


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _grey(levels: Pixels) -> Pixels:
    return np.repeat(levels[:, :, np.newaxis], 3, axis=2)


def _eight_bit(levels: npt.NDArray[np.generic]) -> Pixels:
    """Sixteen-bit levels lose their low byte; wider and floating-point ones are spread from least to most."""
    wide = levels.astype(np.float64)
    low, high = np.nanmin(wide), np.nanmax(wide)
    if levels.dtype.kind != "f" and low >= 0 and high <= 65_535:
        return (wide // 256).astype(np.uint8)
    if not np.isfinite(high - low) or high == low:
        return np.zeros(levels.shape, dtype=np.uint8)
    return np.nan_to_num((wide - low) * (255.0 / (high - low))).astype(np.uint8)
