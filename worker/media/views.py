"""The names and codes of the views that are looked up: what was done to an upload so that it matches.

A plain view is one of three backgrounds (only where the picture is not opaque), one of eight turns and mirrors,
and either as it is or with all colours inverted. The identity view has the empty name. A view of an edited copy
is one of the edits that are undone, and one of the turns.

`rotate_90` and `rotate_270` turn counter-clockwise, as in Pillow: an upload that is the bank's picture turned
clockwise by 90 degrees matches at `rotate_90`.
"""

from collections.abc import Iterable

from config.words import Words, _, joined
from worker.domain import ViewHash

BACKGROUNDS = ("", "on_white", "on_black")
"""'' drops the alpha channel, as the banks' reference does; viewers show the picture on white or dark."""

DIHEDRAL = (
    "",
    "rotate_90",
    "rotate_180",
    "rotate_270",
    "flip_vertical",
    "flip_horizontal",
    "transpose",
    "transverse",
)
"""The order of `pdqhash.compute_dihedral`."""

COMPLEMENT = "complement"

EDITS = ("part", "uncropped", "straightened", "filled")
"""What is undone: a part is taken out of its frame or collage; what was cropped away is guessed; a turn by a few
degrees or a slant is set straight; what covers a place is replaced by what is around it."""

_WORDS = {
    "on_white": _("on white"),
    "on_black": _("on black"),
    "rotate_90": _("turned left"),
    "rotate_180": _("upside down"),
    "rotate_270": _("turned right"),
    "flip_vertical": _("flipped top to bottom"),
    "flip_horizontal": _("mirrored"),
    "transpose": _("mirrored and turned left"),
    "transverse": _("mirrored and turned right"),
    COMPLEMENT: _("colours inverted"),
    "part": _("a part of the picture, its border removed"),
    "uncropped": _("completed where it was cropped"),
    "straightened": _("set straight"),
    "filled": _("what covers a part removed"),
}


def view_name(*parts: str) -> str:
    """The name of a view from its parts in order: complement, background or edit, turn; empty parts are left out."""
    return "_".join(part for part in parts if part)


def turn_of(name: str) -> str:
    """The turn in a view's name, of `DIHEDRAL`."""
    return next((turn for turn in reversed(DIHEDRAL) if turn and name.endswith(turn)), "")


CODES: dict[str, int] = {
    view_name(background, turn): at * len(DIHEDRAL) + code
    for at, background in enumerate(BACKGROUNDS)
    for code, turn in enumerate(DIHEDRAL)
}
"""View name to the code in the sandbox's record. Complements are made from these and have no code."""

PLAIN_VIEWS = len(CODES)
"""The codes under this are plain views."""

CODES.update(
    {
        view_name(edit, turn): PLAIN_VIEWS + at * len(DIHEDRAL) + code
        for at, edit in enumerate(EDITS)
        for code, turn in enumerate(DIHEDRAL)
    }
)

NAMES: tuple[str, ...] = tuple(CODES)

WORDS: dict[str, Words] = {
    view_name(inverted, background, turn): joined(
        *(_WORDS[part] for part in (inverted, background, turn) if part), between=", "
    )
    or _("as uploaded")
    for inverted in ("", COMPLEMENT)
    for background in BACKGROUNDS
    for turn in DIHEDRAL
} | {
    view_name(edit, turn): joined(*(_WORDS[part] for part in (turn, edit) if part), between=", ")
    for edit in EDITS
    for turn in DIHEDRAL
}
"""Every view name to the words that a reviewer reads."""

_ALL_ONES = (1 << 256) - 1


def complement(view: ViewHash) -> ViewHash:
    """The hash of the same view with all colours inverted: exactly the bitwise complement."""
    inverted = int.from_bytes(view.hash, "big") ^ _ALL_ONES
    return ViewHash(
        inverted.to_bytes(32, "big"), view.quality, view_name(COMPLEMENT, view.view), view.frame_time
    )


def with_complements(views: Iterable[ViewHash]) -> tuple[ViewHash, ...]:
    """The views, each plain one followed by its complement: nobody is known to invert and crop at once."""
    return tuple(
        each
        for view in views
        for each in ((view, complement(view)) if CODES[view.view] < PLAIN_VIEWS else (view,))
    )
