"""The rungs on which a picture is shown to a reviewer: what is asked of the sandbox, and what may come back.

No decoder is needed here: the parent asks and checks with it, the child renders by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from worker.domain import Kind, Region

MOSAIC_CELLS = 16
GREY_CELLS = 24
"""Blocks along the longer side of which a grey thumbnail is made: no finer detail is in it."""
MOST_STILLS = 12
STILL_SIDE = 160
"""Longest side of one still of a video, in pixels."""


class Rung(IntEnum):
    """How much of a picture is shown; each rung shows more than the one before."""

    FACTS = 0
    """No pixel."""
    MOSAIC = 1
    GREY = 2
    """A blurred grey thumbnail."""
    PEEK = 3
    """One region, sharp."""
    WHOLE = 4


LONGEST_SIDE = {Rung.MOSAIC: MOSAIC_CELLS, Rung.GREY: 160, Rung.PEEK: 480, Rung.WHOLE: 1024}
"""Pixels of the longer side on each rung, at most; no picture is enlarged to them but the mosaic."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One region of a picture, in fractions of its sides, inside it.

    `upright`: counted on the picture as viewers show it; else as it is stored, as the region of a match is.
    """

    region: Region
    upright: bool


@dataclass(frozen=True, slots=True)
class Showing:
    """What is asked for: a rung, a region of it, and the seconds of a video or an animation.

    Without seconds, an animation shows its first frame and a video `MOST_STILLS` spread over its length.
    """

    rung: Rung
    cut: Cut | None = None
    seconds: tuple[float, ...] = ()

    def longest_side(self, kind: Kind) -> int:
        """Pixels of the longer side of each raster that may come back for media of this kind."""
        longest = LONGEST_SIDE[self.rung]
        return min(longest, STILL_SIDE) if kind is Kind.VIDEO else longest

    def most_stills(self, kind: Kind) -> int:
        """Rasters that may come back for media of this kind."""
        return MOST_STILLS if kind is Kind.VIDEO else 1

    @property
    def channels(self) -> int:
        """Bytes a pixel: 1 on the grey rung, 3 (RGB) on all others."""
        return 1 if self.rung is Rung.GREY else 3


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels in rows from the top left, one byte (grey) or three (RGB) each; `seconds` of a video's still."""

    width: int
    height: int
    channels: int
    pixels: bytes
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What the sandbox rendered. Without rasters `reason` says why nothing can be shown (a `limits.Reason`).

    `width` and `height` are those of the picture as viewers show it, in pixels.
    """

    rasters: tuple[Raster, ...] = ()
    width: int = 0
    height: int = 0
    reason: str = ""
