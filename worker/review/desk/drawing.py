"""A small drawing of where in an upload a match was found: two rectangles, and no pixel of the upload."""

from __future__ import annotations

from dataclasses import dataclass

from config.words import _
from worker.domain import Region

_FRAME = (96.0, 72.0)
"""The upload, whatever its own shape: a region is known in fractions of its sides."""
_MARGIN = 3.0
_HEIGHT = 72


@dataclass(frozen=True, slots=True)
class Drawing:
    """The attributes of an SVG: its size in pixels, its view box, the frame's size, and left, top, width and height
    of what was found. `words` says the same for who can't see it."""

    width: int
    height: int
    view_box: str
    frame: tuple[float, float]
    found: tuple[float, float, float, float]
    words: str


def draw(region: Region) -> Drawing:
    """The drawing of a region; one that reaches outside the upload widens the view."""
    across, down = _FRAME
    left, top = region[0] * across, region[1] * down
    width, height = region[2] * across, region[3] * down
    box_left, box_top = min(0.0, left) - _MARGIN, min(0.0, top) - _MARGIN
    box_width = max(across, left + width) + _MARGIN - box_left
    box_height = max(down, top + height) + _MARGIN - box_top
    return Drawing(
        width=round(_HEIGHT * box_width / box_height),
        height=_HEIGHT,
        view_box=f"{box_left:.1f} {box_top:.1f} {box_width:.1f} {box_height:.1f}",
        frame=_FRAME,
        found=(round(left, 1), round(top, 1), round(width, 1), round(height, 1)),
        words=_(
            "From %(left)s to %(right)s of the width and from %(top)s to %(bottom)s of the height of the upload",
            left=f"{region[0]:.0%}",
            right=f"{region[0] + region[2]:.0%}",
            top=f"{region[1]:.0%}",
            bottom=f"{region[1] + region[3]:.0%}",
        ),
    )
