"""Burns who looked, and when, into the pixels that a reviewer is sent: faint, slanted, all over them."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from worker.review.reveal.glyphs import GLYPHS, HEIGHT

Pixels = npt.NDArray[np.uint8]
"""Rows x columns x channels, 8 bits."""

_SLANT = math.radians(-30)
_LETTER_GAP, _WORD_GAP, _LINE_GAP = 1, 24, 22
"""Pixels between letters, repeats of the text and lines of it."""
_LARGE_SIDE = 480
"""From this longer side on letters are twice as large."""
_STRENGTH = 0.3
"""Share of white in a letter's pixels, and of black in those beside them: one of the two shows on any ground."""
_MOST_NAME = 24
"""Letters of a name; of a longer one the digest tells the rest."""


def text_of(name: str, at: datetime) -> str:
    """The reviewer's name and the minute by UTC.

    A name that these letters can't spell, or a long one, is followed by eight digits of its SHA-256.
    """
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)
    )
    spelled = "".join(letter if letter in GLYPHS else "?" for letter in plain)[:_MOST_NAME]
    if "?" in spelled or len(plain) > _MOST_NAME:
        spelled += "#" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{spelled} {at.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def burn(pixels: Pixels, text: str) -> Pixels:
    """A copy of the pixels with `text` all over them."""
    rows, columns = pixels.shape[:2]
    scale = 2 if max(rows, columns) >= _LARGE_SIDE else 1
    line = _line(text)
    down, across = np.indices((rows, columns), dtype=np.float64)
    along = (across * math.cos(_SLANT) + down * math.sin(_SLANT)) / scale
    beside = (down * math.cos(_SLANT) - across * math.sin(_SLANT)) / scale
    # Each line begins elsewhere, so that no edge of the picture is without a name.
    at_line = np.floor(beside / line.shape[0])
    columns_of = (along + at_line * line.shape[1] / 3) % line.shape[1]
    rows_of = (beside % line.shape[0]).astype(np.intp)
    letters = line[rows_of, columns_of.astype(np.intp)]
    shade = np.zeros_like(letters)
    shade[1:, 1:] = letters[:-1, :-1]
    shade &= ~letters
    marked = pixels.astype(np.float64)
    marked[letters] += (255 - marked[letters]) * _STRENGTH
    marked[shade] *= 1 - _STRENGTH
    return marked.round().astype(np.uint8)


def _line(text: str) -> npt.NDArray[np.bool_]:
    """One line of the text with the gaps that follow it, True where a letter is."""
    cells = []
    for letter in text:
        width, bits = GLYPHS[letter]
        digits = np.frombuffer(f"{bits:0{width * HEIGHT}b}".encode(), dtype=np.uint8) == ord("1")
        cells += [digits.reshape(HEIGHT, width), np.zeros((HEIGHT, _LETTER_GAP), dtype=bool)]
    cells.append(np.zeros((HEIGHT, _WORD_GAP), dtype=bool))
    return np.pad(np.hstack(cells), ((0, _LINE_GAP), (0, 0)))
