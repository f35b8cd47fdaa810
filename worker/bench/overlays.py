"""Edits that lay something over a picture: captions, stickers, bars, masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Picture = Image.Image
Random = np.random.Generator

_WORDS = (
    *("when", "you", "finally", "see", "her", "again", "and", "nobody", "told", "what", "the", "plan"),
    *("was", "for", "night", "send", "this", "to", "a", "friend", "who", "knows", "why", "we", "left"),
)


def words(random: Random, count: int) -> str:
    """Some words in no order."""
    return " ".join(str(word) for word in random.choice(_WORDS, count))


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at this height in pixels."""
    return ImageFont.load_default(size=max(8.0, size))


def caption_band(picture: Picture, random: Random) -> Picture:
    """A dark translucent band with text, anywhere, as stories have it."""
    shown = picture.copy()
    high = round(picture.height * random.uniform(0.07, 0.13))
    top = round(random.uniform(0.1, 0.8) * picture.height)
    below = shown.crop((0, top, picture.width, top + high))
    shown.paste(Image.blend(below, Image.new("RGB", below.size, (20, 20, 20)), 0.7), (0, top))
    place = (picture.width * 0.1, top + high * 0.2)
    ImageDraw.Draw(shown).text(place, words(random, 5), font=font(high * 0.5), fill="white")
    return shown


def caption_bottom(picture: Picture, random: Random) -> Picture:
    """A white band over the bottom with text."""
    shown = picture.copy()
    draw = ImageDraw.Draw(shown)
    high = round(picture.height * random.uniform(0.1, 0.18))
    draw.rectangle((0, picture.height - high, picture.width, picture.height), fill="white")
    place = (picture.width * 0.05, picture.height - high * 0.8)
    draw.text(place, words(random, 5), font=font(high * 0.5), fill="black")
    return shown


def meme_text(picture: Picture, random: Random) -> Picture:
    """Large outlined capitals at the top and the bottom."""
    shown = picture.copy()
    draw = ImageDraw.Draw(shown)
    size = picture.height * random.uniform(0.07, 0.1)
    for top in (0.02, 0.86):
        draw.text(
            (picture.width * 0.05, picture.height * top),
            words(random, 4).upper(),
            font=font(size),
            fill="white",
            stroke_width=max(1, round(size / 15)),
            stroke_fill="black",
        )
    return shown


def _face(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 210, 40))
    for side in (-1, 1):
        eye = x + side * radius * 0.4
        draw.ellipse(
            (eye - radius * 0.12, y - radius * 0.35, eye + radius * 0.12, y - radius * 0.1), fill="black"
        )
    mouth = (x - radius * 0.6, y - radius * 0.4, x + radius * 0.6, y + radius * 0.6)
    draw.arc(mouth, 20, 160, fill="black", width=max(2, round(radius * 0.1)))


def _stuck(picture: Picture, random: Random, area: float, count: int) -> Picture:
    shown = picture.copy()
    radius = float(np.sqrt(area * picture.width * picture.height / np.pi))
    for _ in range(count):
        x = random.uniform(radius, max(radius + 1, picture.width - radius))
        y = random.uniform(radius, max(radius + 1, picture.height - radius))
        _face(ImageDraw.Draw(shown), x, y, radius)
    return shown


def sticker(area: float) -> Callable[[Picture, Random], Picture]:
    """One opaque face that covers this share of the picture, anywhere."""
    return lambda picture, random: _stuck(picture, random, area * random.uniform(0.9, 1.1), 1)


def three_emojis(picture: Picture, random: Random) -> Picture:
    """Three small faces of different sizes."""
    for area in (0.012, 0.02, 0.03):
        picture = _stuck(picture, random, area, 1)
    return picture


def censor_bar(picture: Picture, random: Random) -> Picture:
    """A black bar over a part."""
    shown = picture.copy()
    wide, high = picture.width * random.uniform(0.3, 0.5), picture.height * random.uniform(0.08, 0.14)
    left, top = random.uniform(0, picture.width - wide), random.uniform(0.1, 0.8) * picture.height
    ImageDraw.Draw(shown).rectangle((left, top, left + wide, top + high), fill="black")
    return shown


def pixelated_patch(picture: Picture, random: Random) -> Picture:
    """A patch of a tenth of the picture in large squares."""
    shown = picture.copy()
    wide, high = round(picture.width * 0.32), round(picture.height * 0.32)
    left = int(random.integers(0, picture.width - wide))
    top = int(random.integers(0, picture.height - high))
    patch = shown.crop((left, top, left + wide, top + high)).resize((6, 6))
    shown.paste(patch.resize((wide, high), Image.Resampling.NEAREST), (left, top))
    return shown


def watermark(picture: Picture, random: Random) -> Picture:
    """A channel's name four times, half transparent."""
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    for at in range(4):
        place = (picture.width * 0.2 * at, picture.height * (random.uniform(0.02, 0.08) + 0.22 * at))
        draw.text(place, "@some_channel", font=font(picture.width * 0.06), fill=(255, 255, 255, 140))
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def rounded_corners(picture: Picture, random: Random) -> Picture:
    """Corners cut round, on white."""
    mask = Image.new("L", picture.size)
    radius = round(min(picture.size) * random.uniform(0.08, 0.14))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *picture.size), radius, fill=255)
    shown = Image.new("RGB", picture.size, "white")
    shown.paste(picture, mask=mask)
    return shown


def diagonal_ribbon(picture: Picture, random: Random) -> Picture:
    """A coloured ribbon with text across one corner."""
    shown = picture.convert("RGBA")
    wide, high = round(picture.width * 0.6), round(picture.height * random.uniform(0.07, 0.1))
    ribbon = Image.new("RGBA", (wide, high), tuple(int(level) for level in random.integers(0, 200, 3)))
    ImageDraw.Draw(ribbon).text(
        (wide * 0.2, high * 0.15), words(random, 3), font=font(high * 0.6), fill="white"
    )
    turned = ribbon.rotate(45, Image.Resampling.BICUBIC, expand=True)
    shown.paste(turned, (-turned.width // 4, -turned.height // 4), turned)
    return shown.convert("RGB")


def live_comments(picture: Picture, random: Random) -> Picture:
    """Lines of translucent comments over the lower left, as in a live broadcast."""
    shown = picture.convert("RGBA")
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    step = picture.height * 0.06
    for line in range(5):
        top = picture.height * 0.62 + line * step
        wide = picture.width * random.uniform(0.3, 0.6)
        draw.rounded_rectangle((12, top, 12 + wide, top + step * 0.85), step * 0.3, fill=(0, 0, 0, 120))
        draw.text((24, top + step * 0.15), words(random, 4), font=font(step * 0.5), fill="white")
    return Image.alpha_composite(shown, layer).convert("RGB")


def heart_mask(picture: Picture, random: Random) -> Picture:  # noqa: ARG001
    """Only what lies within a large heart, on pink."""
    mask = Image.new("L", (400, 400))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((0, 10, 220, 230), fill=255)
    draw.ellipse((180, 10, 400, 230), fill=255)
    draw.polygon((12, 165, 388, 165, 200, 398), fill=255)
    shown = Image.new("RGB", picture.size, (255, 190, 210))
    shown.paste(picture, mask=mask.resize(picture.size))
    return shown
