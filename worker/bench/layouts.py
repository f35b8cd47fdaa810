"""Edits that set a picture into something larger: screens, chats, stories, cards, collages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from worker.bench.overlays import font, words

Picture = Image.Image
Random = np.random.Generator

_WIDE, _HIGH = 1080, 1920
"""A phone's screen in pixels."""


def _fitted(picture: Picture, width: int, height: int) -> Picture:
    """The whole picture as large as it fits."""
    scale = min(width / picture.width, height / picture.height)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))


def _neighbour(random: Random, width: int, height: int) -> Picture:
    """Another picture for a collage: coloured shapes over a gradient, different each time."""
    light = np.linspace(0, 1, height)[:, np.newaxis, np.newaxis]
    above, below = random.integers(0, 256, 3), random.integers(0, 256, 3)
    ground = np.broadcast_to(above * (1 - light) + below * light, (height, width, 3))
    shown = Image.fromarray(ground.astype(np.uint8))
    draw = ImageDraw.Draw(shown)
    for _ in range(14):
        x, y = random.uniform(0, width), random.uniform(0, height)
        reach = random.uniform(0.05, 0.25) * min(width, height)
        colour = tuple(int(level) for level in random.integers(0, 256, 3))
        draw.ellipse((x - reach, y - reach, x + reach, y + reach * random.uniform(0.3, 1)), fill=colour)
    return shown


def letterbox(picture: Picture, random: Random) -> Picture:
    """In the middle of a black 9:16 frame."""
    width = picture.width
    height = max(picture.height, round(width * 16 / 9 * random.uniform(0.8, 1)))
    shown = Image.new("RGB", (width, height))
    shown.paste(picture, (0, (height - picture.height) // 2))
    return shown


def blurred_pad(picture: Picture, random: Random) -> Picture:
    """Over a blurred, darker copy of itself that fills a tall frame."""
    width = round(picture.width * random.uniform(1.0, 1.2))
    height = max(round(width * 16 / 9), round(picture.height * 1.2))
    behind = ImageOps.fit(picture, (width, height)).filter(ImageFilter.GaussianBlur(width / 28))
    shown = ImageEnhance.Brightness(behind).enhance(random.uniform(0.6, 0.9))
    shown.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return shown


def meme_strip(picture: Picture, random: Random) -> Picture:
    """Under a white strip with two lines of text."""
    strip = round(picture.height * random.uniform(0.15, 0.25))
    shown = Image.new("RGB", (picture.width, picture.height + strip), "white")
    shown.paste(picture, (0, strip))
    lines = f"{words(random, 5)}\n{words(random, 4)}"
    ImageDraw.Draw(shown).text(
        (picture.width * 0.03, strip * 0.15), lines, font=font(strip * 0.3), fill="black"
    )
    return shown


def screenshot_feed(picture: Picture, random: Random) -> Picture:
    """A post in a light feed, between its name and its comments."""
    post = picture.resize((_WIDE, round(_WIDE * picture.height / picture.width)))
    top = int(random.integers(180, 320))
    shown = Image.new("RGB", (_WIDE, max(top + post.height + 400, 1600)), "white")
    draw = ImageDraw.Draw(shown)
    draw.rectangle((0, 0, _WIDE, 70), fill=(240, 240, 240))
    draw.text((30, 15), "12:41", font=font(36), fill="black")
    draw.ellipse((30, top - 110, 110, top - 30), fill=(80, 120, 200))
    draw.text((130, top - 100), "user_name", font=font(40), fill="black")
    shown.paste(post, (0, top))
    for line in range(4):
        place = (30, top + post.height + 30 + line * 70)
        draw.text(place, words(random, 6), font=font(38), fill="black")
    return shown


def screenshot_viewer(picture: Picture, random: Random) -> Picture:
    """In a dark full-screen viewer with buttons."""
    height = int(random.integers(2000, 2340))
    seen = _fitted(picture, _WIDE, height)
    shown = Image.new("RGB", (_WIDE, height))
    shown.paste(seen, ((_WIDE - seen.width) // 2, (height - seen.height) // 2))
    draw = ImageDraw.Draw(shown)
    draw.text((40, 60), "1 of 12", font=font(44), fill="white")
    draw.text((900, 60), "Done", font=font(44), fill="white")
    for at in range(4):
        left = 100 + 250 * at
        draw.ellipse((left, height - 120, left + 50, height - 70), outline="white", width=5)
    return shown


def chat_bubble(picture: Picture, random: Random) -> Picture:
    """Sent in a chat: a bubble with round corners among others."""
    sent = _fitted(picture, int(random.integers(640, 760)), 1200)
    shown = Image.new("RGB", (_WIDE, _HIGH), (230, 222, 214))
    draw = ImageDraw.Draw(shown)
    draw.rounded_rectangle((30, 80, 520, 170), 20, fill="white")
    draw.text((50, 100), words(random, 4), font=font(36), fill="black")
    left, top = _WIDE - sent.width - 40, 240
    below = top + sent.height
    draw.rounded_rectangle(
        (left - 10, top - 10, left + sent.width + 10, below + 60), 20, fill=(217, 253, 211)
    )
    mask = Image.new("L", sent.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *sent.size), 18, fill=255)
    shown.paste(sent, (left, top), mask)
    draw.text((_WIDE - 160, below + 10), "21:07", font=font(30), fill="grey")
    draw.rounded_rectangle((30, below + 120, 640, below + 210), 20, fill="white")
    draw.text((50, below + 140), words(random, 5), font=font(36), fill="black")
    return shown


def story(picture: Picture, random: Random) -> Picture:
    """On a gradient, smaller, with a line of text above."""
    light = np.linspace(0, 1, _HIGH)[:, np.newaxis, np.newaxis]
    above, below = random.integers(0, 256, 3), random.integers(0, 256, 3)
    ground = np.broadcast_to(above * (1 - light) + below * light, (_HIGH, _WIDE, 3))
    shown = Image.fromarray(ground.astype(np.uint8))
    seen = _fitted(picture, int(random.integers(820, 960)), 1300)
    shown.paste(seen, ((_WIDE - seen.width) // 2, (_HIGH - seen.height) // 2))
    ImageDraw.Draw(shown).text((150, 150), words(random, 4), font=font(60), fill="white")
    return shown


def collage(rows: int, columns: int) -> Callable[[Picture, Random], Picture]:
    """One cell of an even collage, the others from elsewhere, sometimes with white gaps."""

    def edit(picture: Picture, random: Random) -> Picture:
        cell = picture if rows * columns < 5 else picture.resize((picture.width // 2, picture.height // 2))
        gap = round(cell.width * float(random.choice([0, 0.02])))
        size = (columns * (cell.width + gap) - gap, rows * (cell.height + gap) - gap)
        shown = Image.new("RGB", size, "white")
        own = int(random.integers(rows * columns))
        for at in range(rows * columns):
            place = ((at % columns) * (cell.width + gap), at // columns * (cell.height + gap))
            shown.paste(cell if at == own else _neighbour(random, *cell.size), place)
        return shown

    return edit


def picture_in_picture(picture: Picture, random: Random) -> Picture:
    """With another picture in its lower right."""
    shown = picture.copy()
    share = random.uniform(0.24, 0.3)
    small = _neighbour(random, round(picture.width * share), round(picture.height * share))
    shown.paste(small, (picture.width - round(small.width * 1.1), picture.height - round(small.height * 1.1)))
    return shown


def border_one_side(picture: Picture, random: Random) -> Picture:
    """A coloured bar along one side only."""
    bar = round(random.uniform(0.08, 0.2) * picture.width)
    colour = tuple(int(level) for level in random.integers(0, 256, 3))
    shown = Image.new("RGB", (picture.width + bar, picture.height), colour)
    shown.paste(picture, (bar if random.random() < 0.5 else 0, 0))
    return shown


def news_card(picture: Picture, random: Random) -> Picture:
    """The upper part of a card, a headline and a source below."""
    card = _fitted(picture, 900, 900)
    shown = Image.new("RGB", (card.width + 60, card.height + 320), (245, 245, 247))
    draw = ImageDraw.Draw(shown)
    draw.rounded_rectangle((15, 15, shown.width - 15, shown.height - 15), 24, fill="white")
    shown.paste(card, (30, 30))
    for line in range(2):
        place = (50, card.height + 60 + 70 * line)
        draw.text(place, words(random, 5).capitalize(), font=font(52), fill="black")
    draw.text((50, card.height + 230), "some-news.example", font=font(30), fill="grey")
    return shown


def polaroid(picture: Picture, random: Random) -> Picture:
    """A print with a white rim, wider below, lying a little turned on a table."""
    rim = round(0.06 * max(picture.size))
    card = Image.new("RGB", (picture.width + 2 * rim, picture.height + 4 * rim), (250, 250, 245))
    card.paste(picture, (rim, rim))
    lying = card.convert("RGBA").rotate(random.uniform(-5, 5), Image.Resampling.BICUBIC, expand=True)
    shown = _neighbour(random, round(lying.width * 1.2), round(lying.height * 1.2))
    shown.paste(lying, (round(lying.width * 0.1), round(lying.height * 0.1)), lying)
    return shown


def photo_of_screen(picture: Picture, random: Random) -> Picture:
    """A screen photographed by hand: slanted, with a dark rim and the lines of its pixels."""
    rim = round(0.05 * max(picture.size))
    screen = ImageOps.expand(picture, rim, (15, 15, 18))
    lines = np.asarray(screen, dtype=np.float32)
    lines[::3] *= 0.93
    screen = Image.fromarray(lines.astype(np.uint8))
    width, height = screen.size
    quad: list[float] = []
    for x, y in ((0, 0), (0, height), (width, height), (width, 0)):
        quad.append(x - (1 if x == 0 else -1) * random.uniform(0, 0.05) * width)
        quad.append(y - (1 if y == 0 else -1) * random.uniform(0, 0.05) * height)
    return screen.transform(screen.size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC)


def story_zoomed(picture: Picture, random: Random) -> Picture:
    """Zoomed to fill the screen's width, under a progress bar and over a reply field."""
    zoom = random.uniform(1.08, 1.16)
    seen = picture.resize((round(_WIDE * zoom), round(_WIDE * zoom * picture.height / picture.width)))
    shown = Image.new("RGB", (_WIDE, max(_HIGH, seen.height + 300)), (18, 18, 18))
    shown.paste(seen, ((_WIDE - seen.width) // 2, (shown.height - seen.height) // 2))
    draw = ImageDraw.Draw(shown)
    draw.rectangle((20, 30, _WIDE - 20, 36), fill="white")
    draw.rounded_rectangle((40, shown.height - 120, 840, shown.height - 40), 40, outline="grey", width=3)
    draw.text((80, shown.height - 100), "Send a reply", font=font(36), fill="grey")
    return shown


def uneven_collage(picture: Picture, random: Random) -> Picture:
    """Large on one side, two smaller ones beside it."""
    side = round(picture.width * random.uniform(0.4, 0.6))
    shown = Image.new("RGB", (picture.width + side, picture.height), "white")
    left = bool(random.random() < 0.5)
    shown.paste(picture, (0 if left else side, 0))
    half = picture.height // 2
    for top, high in ((0, half), (half, picture.height - half)):
        shown.paste(_neighbour(random, side, high), (picture.width if left else 0, top))
    return shown
