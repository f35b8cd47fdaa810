"""Pages of text drawn by code: documents, chats, forms and slides look more alike to PDQ than photographs do."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from worker.bench.overlays import font, words

Picture = Image.Image
Random = np.random.Generator


def text_pages(count: int, seed: int = 1) -> list[Picture]:
    """`count` different pages of the kinds below, in turn; the same for a seed."""
    random = np.random.default_rng(seed)
    kinds = (_document, _two_columns, _chat, _form, _slide, _receipt)
    return [kinds[at % len(kinds)](random) for at in range(count)]


def _inks(random: Random) -> tuple[str, str]:
    return ("white", "black") if random.random() < 0.7 else ("#16181c", "#e7e9ea")


def _lines(
    draw: ImageDraw.ImageDraw, random: Random, box: tuple[int, int, int, int], size: float, ink: str
) -> None:
    left, top, right, bottom = box
    at = float(top)
    while at + size < bottom:
        fits = max(1, int((right - left) / (size * 2.6)))
        count = fits if random.random() < 0.85 else int(random.integers(1, fits + 1))
        draw.text((left, at), words(random, count), font=font(size), fill=ink)
        at += size * (1.4 if random.random() < 0.9 else 2.6)


def _document(random: Random) -> Picture:
    paper, ink = _inks(random)
    shown = Image.new("RGB", (1240, 1754), paper)
    draw = ImageDraw.Draw(shown)
    margin = int(random.integers(90, 180))
    draw.text((margin, margin), words(random, 3).title(), font=font(54), fill=ink)
    _lines(draw, random, (margin, margin + 120, 1240 - margin, 1754 - margin), random.uniform(22, 40), ink)
    return shown


def _two_columns(random: Random) -> Picture:
    paper, ink = _inks(random)
    shown = Image.new("RGB", (1240, 1600), paper)
    draw = ImageDraw.Draw(shown)
    size = random.uniform(20, 30)
    draw.text((100, 80), words(random, 5).title(), font=font(60), fill=ink)
    for left in (100, 650):
        _lines(draw, random, (left, 220, left + 490, int(random.integers(1300, 1540))), size, ink)
    return shown


def _chat(random: Random) -> Picture:
    paper, ink = _inks(random)
    shown = Image.new("RGB", (1080, 1920), paper)
    draw = ImageDraw.Draw(shown)
    top = 140
    while top < 1750:
        high, wide = int(random.integers(80, 260)), int(random.integers(300, 760))
        left = 40 if random.random() < 0.5 else 1040 - wide
        fill = "#d9fdd3" if left > 40 else "#8ab4f8"
        draw.rounded_rectangle((left, top, left + wide, top + high), 26, fill=fill)
        _lines(draw, random, (left + 24, top + 18, left + wide - 24, top + high), 34, "black")
        top += high + 36
    draw.text((60, 40), words(random, 2), font=font(48), fill=ink)
    return shown


def _form(random: Random) -> Picture:
    shown = Image.new("RGB", (1240, 1600), "white")
    draw = ImageDraw.Draw(shown)
    draw.text((90, 70), words(random, 4).title(), font=font(56), fill="black")
    for top in range(220, 1500, int(random.integers(90, 150))):
        draw.text((90, top), words(random, 2), font=font(30), fill="black")
        draw.rectangle((480, top - 8, int(random.integers(800, 1160)), top + 48), outline="black", width=2)
    return shown


def _slide(random: Random) -> Picture:
    colour = tuple(int(level) for level in random.integers(200, 256, 3))
    shown = Image.new("RGB", (1600, 900), colour)
    draw = ImageDraw.Draw(shown)
    draw.text((120, 90), words(random, 4).title(), font=font(84), fill="black")
    for line in range(int(random.integers(3, 6))):
        draw.text((150, 280 + 110 * line), f"- {words(random, 5)}", font=font(52), fill="black")
    return shown


def _receipt(random: Random) -> Picture:
    shown = Image.new("RGB", (700, 1500), "white")
    draw = ImageDraw.Draw(shown)
    for line in range(int(random.integers(14, 26))):
        draw.text((60, 120 + 50 * line), words(random, 2), font=font(32), fill="black")
        draw.text((520, 120 + 50 * line), f"{random.uniform(1, 99):.2f}", font=font(32), fill="black")
    return shown
