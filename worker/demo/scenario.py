"""What the demonstration uploads, and what is expected to become of each upload.

An expectation is compared with what really happened; nothing here is ever shown as a result.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.demo.media import (
    Edit,
    animation,
    captioned,
    darker,
    encoded,
    film,
    grey,
    inverted,
    left_half,
    mirrored,
    pan,
    photo,
    smaller,
    still,
    turned,
    warmer,
)
from worker.domain import State

_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
}
_UNRELATED = ("bee", "blossom", "citrus", "fjord", "flower", "palace", "rocket", "tulips", "wine")


@dataclass(frozen=True, slots=True)
class Planned:
    """One upload to make. `case` is the number of the demonstration's case that it must match, 0 for none."""

    key: str
    what: str
    body: bytes
    expected: State
    case: int = 0
    early: bool = False
    """In the bucket before its notifications were switched on: only the sweep can find it."""

    @property
    def content_type(self) -> str:
        return _TYPES.get(self.key.rpartition(".")[2], "application/octet-stream")


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """What one person gives to the bank: the file of a picture, perhaps that of a video as well."""

    number: int
    what: str
    picture: bytes
    video: bytes | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    cases: tuple[PlannedCase, ...]
    uploads: tuple[Planned, ...]
    confirmed: Planned
    """The upload whose review is decided `confirmed`."""
    mistaken: Planned
    """The upload whose review is decided `not_a_match`: its case's hash was a mistake."""
    copy_of_confirmed: Planned
    """The confirmed picture, saved again."""
    withdrawn_case: int = 2

    @property
    def on_time(self) -> tuple[Planned, ...]:
        return tuple(upload for upload in self.uploads if not upload.early)

    @property
    def early(self) -> tuple[Planned, ...]:
        return tuple(upload for upload in self.uploads if upload.early)


def make_scenario() -> Scenario:
    """Reads the packaged photographs and makes all files; about two seconds of work."""
    clip = film(pan(photo("bee"), 2), pan(photo("tulips"), 2))
    with_still = film(pan(photo("palace"), 1.5), still(photo("cat"), 1.5), pan(photo("rocket"), 1))
    other_clip = film(pan(photo("fjord"), 2), pan(photo("blossom"), 1))
    cases = (
        PlannedCase(1, "a picture", encoded(photo("cat"), quality=92)),
        PlannedCase(2, "a picture and a video", encoded(photo("coffee"), quality=92), clip),
        PlannedCase(
            3, "a picture, sent by mistake: a well-known bridge", encoded(photo("bridge"), quality=92)
        ),
    )
    copies = _Copies()
    confirmed = copies.of(1, "cat", "mirrored", mirrored, "jpg")
    mistaken = copies.of(3, "bridge", "saved again", None, "jpg", quality=60)
    uploads = (
        copies.of(1, "cat", "saved again, low quality", None, "jpg", quality=35),
        copies.of(1, "cat", "40 % of its size", smaller, "jpg"),
        confirmed,
        copies.of(1, "cat", "in grey", grey, "png"),
        copies.of(1, "cat", "on its side", turned, "webp"),
        copies.of(1, "cat", "colours inverted", inverted, "jpg"),
        copies.of(1, "cat", "in the bucket before", None, "webp", early=True),
        copies.of(2, "coffee", "saved again", None, "jpg", quality=55),
        copies.of(2, "coffee", "40 % of its size", smaller, "png"),
        copies.of(2, "coffee", "darker", darker, "jpg"),
        copies.of(2, "coffee", "mirrored", mirrored, "jpg"),
        copies.of(2, "coffee", "warmer colours", warmer, "webp"),
        Planned("u2/clip.mp4", "case 2: its video, unchanged", clip, State.HELD, 2),
        mistaken,
        copies.of(3, "bridge", "with a caption", captioned, "jpg"),
        Planned("u7/trip.mp4", "video with case 1 inside", with_still, State.HELD, 1),
        Planned(
            "u8/loop.gif",
            "GIF with case 1 inside",
            animation([photo("citrus"), photo("cat"), photo("wine")]),
            State.HELD,
            1,
        ),
        Planned(
            "u6/detail.jpg",
            "case 1: left half only, beyond PDQ's reach",
            encoded(left_half(photo("cat"))),
            State.CLEAR,
        ),
        *_unrelated(),
        Planned("u9/walk.mp4", "another video", other_clip, State.CLEAR),
        *_foreign(other_clip),
    )
    again = encoded(mirrored(photo("cat")), quality=50)
    copy = Planned("u31/again.jpg", "the removed one, saved again", again, State.HELD, 1)
    return Scenario(cases, uploads, confirmed, mistaken, copy)


class _Copies:
    """Makes edited copies of a case's picture, each by another user of the platform."""

    def __init__(self) -> None:
        self._users = 10

    def of(
        self,
        case: int,
        name: str,
        how: str,
        edit: Edit | None,
        extension: str,
        *,
        quality: int = 85,
        early: bool = False,
    ) -> Planned:
        self._users += 1
        image = edit(photo(name)) if edit else photo(name)
        body = encoded(image, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[extension], quality)
        key = f"u{self._users}/upload.{extension}"
        return Planned(key, f"case {case}: {how}", body, State.HELD, case, early)


def _unrelated() -> list[Planned]:
    """Nine photographs that no case names, each as it is and edited."""
    made = []
    for at, name in enumerate(_UNRELATED):
        image = photo(name)
        word, edit = (("mirrored", mirrored), ("smaller", smaller), ("in grey", grey))[at % 3]
        made.append(Planned(f"u{at}/{name}.jpg", name, encoded(image), State.CLEAR, early=name == "wine"))
        made.append(Planned(f"u{at}/{name}-2.jpg", f"{name}, {word}", encoded(edit(image)), State.CLEAR))
    return made


def _foreign(clip: bytes) -> list[Planned]:
    """Files that are broken, and files that are no picture or video whatever their names say."""
    png = bytearray(encoded(smaller(photo("citrus")), "PNG"))
    png[60:] = bytes(value ^ 0x5A for value in png[60:])
    jpeg = encoded(photo("wine"))
    return [
        Planned("u40/damaged.png", "PNG, damaged", bytes(png), State.UNSCANNABLE),
        Planned("u41/cut.jpg", "JPEG, cut off in its header", jpeg[:300], State.UNSCANNABLE),
        Planned("u42/cut.mp4", "MP4, cut off", clip[: len(clip) // 3], State.UNSCANNABLE),
        Planned("u43/letter.pdf", "PDF", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n", State.UNSUPPORTED),
        Planned("u44/notes.jpg", "text named .jpg", b"A shopping list, no picture.\n", State.UNSUPPORTED),
        Planned("u45/nothing.png", "empty file", b"", State.UNSUPPORTED),
    ]
