"""Looks closer: many views around a few that came near a bank's hash, each a little moved, turned or uncovered.

The first look guesses coarsely where the original lay; a guess 2 % off costs 30 bits. Around the few guesses that come
near something, hundreds of fine ones find the place to 0.3 %, at a cost that uploads near nothing never pay.
"""

import numpy as np
import numpy.typing as npt

from worker.domain import CloserLook, Cover, Outside, Placement
from worker.media.axis import GRID
from worker.media.canvas import RIMS, Canvas, Numbers, coefficients
from worker.media.edited import Batch, fill, tile_quality
from worker.media.page import is_page
from worker.media.views import turn_of, view_name

_VIEWS = (420, 670, 670, 670, 670)
"""Views around one seed, in each look: the first is for all that came near, the others for what came nearer."""
_SHADES = (0.0, 0.7, 0.35, 0.25, 0.2)
"""Standard deviation of what the shades of what lies outside change by in each look, in those of the picture."""
_SHADE_UNIT = 32
_MOST_SHADE = 127
_SAME_RIMS = 0.7
"""Share of the views that keep their seed's rims, where it has any."""
_SHADED = 0.6
"""Share of the views that are shaded."""
_STEPS = (0.022, 0.009, 0.005, 0.004, 0.003)
"""Standard deviation of what a side is moved by in each further look, as a share of the original's side."""
_COVER_STEPS = (5.0, 2.0, 1.0, 1.0, 1.0)
"""The same of a cover's sides, in 64ths."""
_LOOKS_TO_COVER = 1
"""Only the first closer look guesses covers that its seed has not."""
_LARGEST_COVER = 2000
_LEAST_COVER = 3
_STRAIGHT = 0.004
"""Shares of the upload within which a side counts as upright, or as inside."""
_SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])


def look_closer(canvas: Canvas, closer: CloserLook, quality: int) -> list[Batch]:
    """Views around each seed, upright in the seed's own turn; `quality` is that of the whole picture."""
    look = min(closer.number, len(_STEPS) - 1)
    batches = []
    for name, seed in closer.seeds:
        draw = np.random.default_rng(look)
        count = _VIEWS[look]
        corners = _moved(np.asarray(seed.corners, dtype=np.float64).reshape(4, 2), _STEPS[look], count, draw)
        outside = _outsides(seed.outside, look, count, draw)
        rims, shades = outside[:, :2], outside[:, 2:].reshape(count, 4, 2) / _SHADE_UNIT
        tiles = canvas.tiles(corners, rims, shades)
        if is_page(tiles[0]):
            continue
        # A part without structure looks like many others.
        of_seed = min(quality, tile_quality(tiles[0]))
        covers = _covers(seed.cover, look, count, draw)
        for tile, cover in zip(tiles, covers, strict=True):
            if cover is not None:
                fill(tile, cover)
        placements = [
            Placement(tuple(each), cover, tuple(beyond))
            for each, cover, beyond in zip(
                corners.reshape(-1, 8).tolist(), covers, outside.tolist(), strict=True
            )
        ]
        turn = turn_of(name)
        names = [view_name(_edit(placement), turn) for placement in placements]
        batches.append(Batch(coefficients(tiles), names, placements, [of_seed] * count))
    return batches


def _edit(placement: Placement) -> str:
    """What a view of this placement undoes, of `EDITS`; of several the one that a reviewer sees first."""
    if placement.cover is not None:
        return "filled"
    places = np.asarray(placement.corners).reshape(4, 2)
    sides = np.abs(np.diff(places, axis=0, append=places[:1]))
    if sides.min(axis=1).max() > _STRAIGHT:
        return "straightened"
    outside = max(-places.min(), places.max() - 1)
    return "uncropped" if outside > _STRAIGHT else "part"


def _outsides(seed: Outside, look: int, count: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """What was cut off had a brightness of its own: n x 10, random ones around the seed's in some of the views."""
    before = np.array(seed or (0,) * 10, dtype=np.int64)
    rims = draw.integers(0, RIMS, size=(count, 2))
    if seed:
        rims = np.where(draw.random((count, 1)) < _SAME_RIMS, before[:2], rims)
    spread = _SHADES[look] * _SHADE_UNIT * (draw.random((count, 1)) < _SHADED)
    shades = np.clip(np.round(before[2:] + draw.normal(0, 1, (count, 8)) * spread), -_MOST_SHADE, _MOST_SHADE)
    found = np.concatenate([rims, shades.astype(np.int64)], axis=1)
    if seed:
        found[0] = before
    return found


def _moved(corners: Numbers, step: float, count: int, draw: np.random.Generator) -> Numbers:
    """The seed itself, then its sides moved; of every four one is also turned and one also slanted: n x 4 x 2."""
    shifts = np.where(draw.random((4, count)) < 0.35, 0.0, draw.normal(0, step, (4, count)))
    top, bottom, left, right = shifts
    moved = _SQUARE + np.stack(
        [np.stack(pair, axis=1) for pair in ((top, left), (top, right), (bottom, right), (bottom, left))],
        axis=1,
    )
    across, down = corners[1] - corners[0], corners[3] - corners[0]
    aspect = float(np.hypot(*across) / max(1e-6, np.hypot(*down)))
    turn = np.where(np.arange(count) % 4 == 1, draw.normal(0, 1.2 * step, count), 0.0)[:, np.newaxis]
    off = moved - 0.5
    moved = moved + np.stack([turn * off[..., 1] * aspect, -turn * off[..., 0] / aspect], axis=-1)
    slanted = (np.arange(count) % 4 == 2)[:, np.newaxis, np.newaxis]
    moved = moved + np.where(slanted, draw.normal(0, step, (count, 4, 2)), 0.0)
    moved[0] = _SQUARE
    y, x = moved[..., :1], moved[..., 1:]
    bent = corners[0] - corners[1] + corners[2] - corners[3]
    return np.asarray(corners[0] + y * down + x * across + x * y * bent)


def _covers(cover: Cover | None, look: int, count: int, draw: np.random.Generator) -> list[Cover | None]:
    """What is filled in each view: near the seed's own cover; in the first look, of a bare seed, sometimes anywhere."""
    covers: list[Cover | None] = [cover]
    for at in range(1, count):
        if cover is not None:
            moved = np.round(cover + draw.normal(0, _COVER_STEPS[look], 4))
        elif look < _LOOKS_TO_COVER and at % 3 == 0:
            moved = _anywhere(draw, band=bool(at % 2))
        else:
            covers.append(None)
            continue
        top, left, bottom, right = (int(side) for side in np.clip(moved, 0, GRID))
        fits = min(bottom - top, right - left) >= _LEAST_COVER
        fits = fits and (bottom - top) * (right - left) <= _LARGEST_COVER
        covers.append((top, left, bottom, right) if fits else None)
    return covers


def _anywhere(draw: np.random.Generator, *, band: bool) -> Numbers:
    """A band from side to side, at the top, at the bottom or between; or a patch."""
    if band:
        high = int(draw.integers(4, 17))
        top = int(draw.choice([0, GRID - high, int(draw.integers(0, GRID - high))]))
        return np.array([top, 0, top + high, GRID], dtype=np.float64)
    high, wide = (int(side) for side in draw.integers(8, 26, size=2))
    top, left = int(draw.integers(0, GRID - high)), int(draw.integers(0, GRID - wide))
    return np.array([top, left, top + high, left + wide], dtype=np.float64)
