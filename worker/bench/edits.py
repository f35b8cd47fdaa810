"""Everyday edits of a picture, drawn afresh with random parameters: the ways in which copies come back.

Each takes a picture and a random generator and gives the edited copy. `EDITS` names them all; those of `HELD_OUT` were
not looked at while the views were made, and are reported apart.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from worker.bench import layouts, overlays

Picture = Image.Image
Random = np.random.Generator
Edit = Callable[[Picture, Random], Picture]

_LONGEST = 1600


def _cut(picture: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    """Without these shares of its width and height."""
    width, height = picture.size
    return picture.crop(
        (
            round(left * width),
            round(top * height),
            round(width - right * width),
            round(height - bottom * height),
        )
    )


def crop_centre(share: float) -> Edit:
    """Cut the same on all sides, `share` of each axis in all."""

    def edit(picture: Picture, random: Random) -> Picture:
        side = share / 2 * random.uniform(0.9, 1.1)
        return _cut(picture, side, side, side, side)

    return edit


def crop_random(share: float) -> Edit:
    """Each axis loses `share`, split at random between its ends."""

    def edit(picture: Picture, random: Random) -> Picture:
        left, top = random.uniform(0, share, 2)
        return _cut(picture, left, top, share - left, share - top)

    return edit


def crop_one_side(share: float) -> Edit:
    def edit(picture: Picture, random: Random) -> Picture:
        sides = [0.0] * 4
        sides[random.integers(4)] = share * random.uniform(0.85, 1.15)
        return _cut(picture, sides[0], sides[1], sides[2], sides[3])

    return edit


def _to_aspect(aspect: float) -> Edit:
    """Cut in the middle to this width over height."""

    def edit(picture: Picture, random: Random) -> Picture:  # noqa: ARG001
        width, height = picture.size
        wide, high = min(width, round(height * aspect)), min(height, round(width / aspect))
        left, top = (width - wide) // 2, (height - high) // 2
        return picture.crop((left, top, left + wide, top + high))

    return edit


def _border(least: float, most: float, colour: str) -> Edit:
    def edit(picture: Picture, random: Random) -> Picture:
        return ImageOps.expand(picture, round(random.uniform(least, most) * max(picture.size)), colour)

    return edit


def turned(degrees: float, *, cropped: bool) -> Edit:
    """Turned to either side; the empty corners filled with black, or cut away at the picture's own aspect."""

    def edit(picture: Picture, random: Random) -> Picture:
        angle = float(random.choice([-1, 1]) * degrees * random.uniform(0.85, 1.15))
        if not cropped:
            return picture.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        width, height = picture.size
        radians = np.radians(abs(angle))
        zoom = float(np.cos(radians) + np.sin(radians) * max(width / height, height / width))
        share = (1 - 1 / zoom) / 2
        return _cut(picture.rotate(angle, Image.Resampling.BICUBIC), share, share, share, share)

    return edit


def _perspective(most: float) -> Edit:
    """Each corner moved inwards on its own, as when a print is photographed from a side."""

    def edit(picture: Picture, random: Random) -> Picture:
        width, height = picture.size
        quad: list[float] = []
        for x, y in ((0, 0), (0, height), (width, height), (width, 0)):
            quad.append(x + (1 if x == 0 else -1) * random.uniform(0, most) * width)
            quad.append(y + (1 if y == 0 else -1) * random.uniform(0, most) * height)
        return picture.transform(picture.size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC)

    return edit


def _keystone(picture: Picture, random: Random) -> Picture:
    width, height = picture.size
    lean = random.uniform(0.03, 0.08) * width
    quad = (-lean, 0, 0, height, width, height, width + lean, 0)
    return picture.transform(picture.size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC)


def _flip(picture: Picture, random: Random) -> Picture:  # noqa: ARG001
    return ImageOps.mirror(picture)


def _transposed(method: Image.Transpose) -> Edit:
    return lambda picture, _: picture.transpose(method)


def _light(change: Callable[[Picture], Picture]) -> Edit:
    return lambda picture, _: change(picture)


def _gamma(picture: Picture, random: Random) -> Picture:
    power = float(random.choice([0.5, 2.0]) * random.uniform(0.9, 1.1))
    return picture.point([round(255 * (level / 255) ** power) for level in range(256)] * 3)


def _noise(picture: Picture, random: Random) -> Picture:
    noisy = np.asarray(picture, dtype=np.float32) + random.normal(0, 25, (picture.height, picture.width, 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _vignette(picture: Picture, random: Random) -> Picture:
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    light = np.clip(1.15 - random.uniform(0.5, 0.7) * (x * x + y * y), 0, 1)[..., np.newaxis]
    return Image.fromarray((np.asarray(picture) * light).astype(np.uint8))


def _split_tone(picture: Picture, random: Random) -> Picture:
    cold, warm = random.integers(0, 90, 3), random.integers(160, 256, 3)
    toned = ImageOps.colorize(picture.convert("L"), tuple(map(int, cold)), tuple(map(int, warm)))
    return Image.blend(picture, toned, 0.6)


def _thumbnail(picture: Picture, random: Random) -> Picture:
    small = picture.copy()
    side = int(random.integers(260, 340))
    small.thumbnail((side, side))
    return small


def _squashed(picture: Picture, random: Random) -> Picture:
    return picture.resize((picture.width, round(picture.height * random.uniform(0.6, 0.75))))


def _chain(*edits: Edit) -> Edit:
    """One edit after the other, as copies of copies have them."""

    def edit(picture: Picture, random: Random) -> Picture:
        for each in edits:
            picture = each(picture, random)
        return picture

    return edit


EDITS: dict[str, Edit] = {
    "crop_5_centre": crop_centre(0.05),
    "crop_10_centre": crop_centre(0.10),
    "crop_15_centre": crop_centre(0.15),
    "crop_20_centre": crop_centre(0.20),
    "crop_10_random": crop_random(0.10),
    "crop_15_random": crop_random(0.15),
    "crop_10_one_side": crop_one_side(0.10),
    "crop_20_one_side": crop_one_side(0.20),
    "crop_to_4_5": _to_aspect(4 / 5),
    "crop_to_square": _to_aspect(1),
    "flip_horizontal": _flip,
    "flip_vertical": _transposed(Image.Transpose.FLIP_TOP_BOTTOM),
    "rotate_90": _transposed(Image.Transpose.ROTATE_90),
    "flip_crop_10": _chain(crop_random(0.10), _flip),
    "border_3": _border(0.02, 0.04, "white"),
    "border_10": _border(0.08, 0.14, "black"),
    "crop_border": _chain(crop_random(0.08), _border(0.04, 0.08, "white")),
    "turn_1": turned(1, cropped=False),
    "turn_2_cropped": turned(2, cropped=True),
    "turn_5": turned(5, cropped=False),
    "turn_5_cropped": turned(5, cropped=True),
    "perspective_4": _perspective(0.04),
    "perspective_8": _perspective(0.08),
    "keystone": _keystone,
    "invert": _light(ImageOps.invert),
    "grey": _light(lambda picture: picture.convert("L").convert("RGB")),
    "dark": _light(lambda picture: ImageEnhance.Brightness(picture).enhance(0.1)),
    "gamma": _gamma,
    "blur": _light(lambda picture: picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 200))),
    "noise": _noise,
    "vignette": _vignette,
    "thumbnail_300": _thumbnail,
    "squashed": _squashed,
    "letterbox_9_16": layouts.letterbox,
    "blurred_pad": layouts.blurred_pad,
    "meme_strip": layouts.meme_strip,
    "screenshot_feed": layouts.screenshot_feed,
    "screenshot_viewer": layouts.screenshot_viewer,
    "chat_bubble": layouts.chat_bubble,
    "story": layouts.story,
    "collage_2": layouts.collage(1, 2),
    "collage_4": layouts.collage(2, 2),
    "collage_9": layouts.collage(3, 3),
    "picture_in_picture": layouts.picture_in_picture,
    "caption_band": overlays.caption_band,
    "caption_bottom": overlays.caption_bottom,
    "meme_text": overlays.meme_text,
    "sticker_3": overlays.sticker(0.03),
    "sticker_6": overlays.sticker(0.06),
    "sticker_10": overlays.sticker(0.10),
    "censor_bar": overlays.censor_bar,
    "pixelated_patch": overlays.pixelated_patch,
    "watermark": overlays.watermark,
    "rounded_corners": overlays.rounded_corners,
    "polaroid": layouts.polaroid,
    # Held out from here.
    "crop_12_turn_3": _chain(turned(3, cropped=True), crop_random(0.06)),
    "crop_to_3_4_flip": _chain(_to_aspect(3 / 4), _flip),
    "border_one_side": layouts.border_one_side,
    "news_card": layouts.news_card,
    "photo_of_screen": layouts.photo_of_screen,
    "story_zoomed": layouts.story_zoomed,
    "uneven_collage": layouts.uneven_collage,
    "diagonal_ribbon": overlays.diagonal_ribbon,
    "three_emojis": overlays.three_emojis,
    "live_comments": overlays.live_comments,
    "split_tone": _split_tone,
    "heart_mask": overlays.heart_mask,
    "screenshot_of_crop": _chain(crop_random(0.08), layouts.screenshot_viewer),
}
"""Every edit by its name."""

HELD_OUT = frozenset(list(EDITS)[list(EDITS).index("crop_12_turn_3") :])
"""Edits that the views were not tuned on."""


def edited(name: str, picture: Picture, of: str) -> bytes:
    """The copy as a JPEG such as platforms make, the same each time for an edit and the name of a picture."""
    random = np.random.default_rng(zlib.crc32(f"{name} {of}".encode()))
    copy = EDITS[name](picture.convert("RGB"), random).convert("RGB")
    if max(copy.size) > _LONGEST:
        copy.thumbnail((_LONGEST, _LONGEST))
    body = io.BytesIO()
    copy.save(body, "JPEG", quality=int(random.integers(70, 89)))
    return body.getvalue()
