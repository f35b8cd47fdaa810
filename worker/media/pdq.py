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
from worker.media.views import BACKGROUNDS, DIHEDRAL, view_name

Pixels = npt.NDArray[np.uint8]
"""Rows x columns x 3 (RGB), 8 bits."""

REFERENCE_SIDE = 512
MATCHABLE_QUALITY = 50
"""Below this the banks' reference discards a hash, so darkening a picture would hide it."""
REPEAT_BITS = 4
"""Consecutive frames this near are one: re-encoding alone drifts by as much."""

_STRETCH_SHARE = 0.5
_STRETCH_LEVELS = 8
_NATIVE_FRAME_PIXELS = 1920 * 1088
_BACKGROUND_LEVELS = {"on_white": 255, "on_black": 0}


def nearest_512(image: Image.Image) -> Image.Image:
    """Shrink to 512x512 as CImg does: row i takes source row i*height//512, columns alike.

    Both axes are resized as soon as either is over 512, so a narrow picture is stretched, as the reference
    does. Pillow samples at the middle of each target pixel; half a step back gives CImg's choice exactly.
    """
    if max(image.size) <= REFERENCE_SIDE:
        return image
    across, down = image.width / REFERENCE_SIDE, image.height / REFERENCE_SIDE
    return image.transform(
        (REFERENCE_SIDE, REFERENCE_SIDE),
        Image.Transform.AFFINE,
        (across, 0, -across / 2, 0, down, -down / 2),
        Image.Resampling.NEAREST,
    )


def hash_pixels(pixels: Pixels, *, background: str = "", frame_time: float | None = None) -> list[ViewHash]:
    """Hash all eight turns and mirrors of a picture that has its final size.

    A picture of low quality is hashed after its contrast is stretched: PDQ's quality falls with contrast,
    its hash hardly does.
    """
    hashes, quality = _dihedral(pixels)
    if quality < MATCHABLE_QUALITY:
        stretched = _stretch(pixels)
        if stretched is not None:
            stretched_hashes, stretched_quality = _dihedral(stretched)
            if stretched_quality > quality:
                hashes, quality = stretched_hashes, stretched_quality
    return [
        ViewHash(found, quality, view_name(background, turn), frame_time)
        for turn, found in zip(DIHEDRAL, hashes, strict=True)
    ]


def hash_image(image: Image.Image, *, frame_time: float | None = None) -> list[ViewHash]:
    """Hash one decoded picture: eight views, or twenty-four where it is not opaque."""
    colours, alpha = _colours(nearest_512(image))
    if alpha is None:
        return hash_pixels(colours, frame_time=frame_time)
    hashes = []
    for background in BACKGROUNDS:
        shown = _over(colours, alpha, _BACKGROUND_LEVELS[background]) if background else colours
        hashes += hash_pixels(shown, background=background, frame_time=frame_time)
    return hashes


def hash_frame(pixels: Pixels, *, frame_time: float) -> list[ViewHash]:
    """Hash one video frame at its own size, as vPDQ does; over 1080p as a picture, to bound the cost."""
    if pixels.shape[0] * pixels.shape[1] > _NATIVE_FRAME_PIXELS:
        pixels = np.asarray(nearest_512(Image.fromarray(pixels)))
    return hash_pixels(pixels, frame_time=frame_time)


def distance(one: bytes, other: bytes) -> int:
    """Bits that differ between two hashes of 32 bytes."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def is_repeat(views: Sequence[ViewHash], last: Sequence[ViewHash]) -> bool:
    """Whether a frame says nothing new beside the last one kept."""
    return distance(views[0].hash, last[0].hash) <= REPEAT_BITS


def _dihedral(pixels: Pixels) -> tuple[list[bytes], int]:
    vectors, quality = pdqhash.compute_dihedral(np.ascontiguousarray(pixels))
    return [np.packbits(np.asarray(vector, dtype=np.uint8)).tobytes() for vector in vectors], int(quality)


def _stretch(pixels: Pixels) -> Pixels | None:
    """Spread the luminance over the whole scale; None for a picture of one colour, where only noise would grow."""
    luminance = pixels @ np.array([0.299, 0.587, 0.114])
    low, high = np.percentile(luminance, [_STRETCH_SHARE, 100 - _STRETCH_SHARE])
    if high - low < _STRETCH_LEVELS:
        return None
    stretched: Pixels = np.clip((pixels - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    return stretched


def _over(colours: Pixels, alpha: npt.NDArray[np.uint8], level: int) -> Pixels:
    share = alpha[:, :, np.newaxis].astype(np.float32) / 255
    return (colours * share + level * (1 - share)).round().astype(np.uint8)


def _colours(image: Image.Image) -> tuple[Pixels, npt.NDArray[np.uint8] | None]:
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
