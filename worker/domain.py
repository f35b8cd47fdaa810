"""What the stages hand to each other: frozen values without behaviour beyond their own rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """The state of an upload. `docs/architecture.md` has the table of what leads where."""

    PENDING = "pending"
    SCANNING = "scanning"
    CLEAR = "clear"
    FLAGGED = "flagged"
    HELD = "held"
    UNSUPPORTED = "unsupported"
    UNSCANNABLE = "unscannable"
    RELEASED = "released"
    REMOVED = "removed"
    SUPERSEDED = "superseded"
    GONE = "gone"


class Kind(StrEnum):
    """What the bytes are, by content and never by name."""

    IMAGE = "image"
    VIDEO = "video"
    UNSUPPORTED = "unsupported"
    UNSCANNABLE = "unscannable"


class Lane(StrEnum):
    """The Celery queue an upload is announced on; a guess by name until its first bytes are read."""

    IMAGE = "image"
    VIDEO = "video"


class Effect(StrEnum):
    """What a match does to an upload under the policy. `shadow` is recorded and does nothing."""

    HOLD = "hold"
    FLAG = "flag"
    SHADOW = "shadow"


class Profile(StrEnum):
    """How many views of a picture are looked up: as it is, turned, mirrored; and as edited copies, few or many."""

    PLAIN = "plain"
    STANDARD = "standard"
    THOROUGH = "thorough"


class Access(StrEnum):
    """What a state means for the object: the effect that must hold in the storage."""

    SERVED = "served"
    DENIED = "denied"
    REMOVED = "removed"


PURGED = "purged"
"""What holds in the storage once the bytes of a removed upload are deleted."""


class Verdict(StrEnum):
    """What a person decided about a content."""

    CONFIRMED = "confirmed"
    NOT_A_MATCH = "not_a_match"
    LAWFUL = "lawful"
    HASH_WRONG = "hash_wrong"
    SUSPECTED_MINOR = "suspected_minor"


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object version: what an upload is.

    `version_id` is '' where the bucket keeps no versions (the store's "null" is '' too); then etag, size
    and last-modified (UTC, whole seconds) tell one version of a key from the next.
    """

    bucket: str
    key: str
    version_id: str = ""
    etag: str = ""
    size: int = 0
    last_modified: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether this names one version exactly, or a HEAD has to complete it first."""
        return bool(self.version_id) or (bool(self.etag) and self.last_modified is not None)


class EventKind(StrEnum):
    CREATED = "created"
    REMOVED = "removed"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class UploadEvent:
    """One record of an event message, decoded: the key is the object's real key."""

    kind: EventKind
    ref: ObjectRef
    sequencer: str = ""
    marker: bool = False
    """For REMOVED: only a delete marker was laid on the key; the versions below it still exist."""


Region = tuple[float, float, float, float]
"""Left, top, width and height as fractions of the upload; under 0 and over 1 where a view reaches outside it."""


Cover = tuple[int, int, int, int]
"""Top, left, bottom and right in 64ths of the original: what was filled in from around it."""


Outside = tuple[int, ...]
"""How what lies outside the upload is guessed: the rims of both axes (`media.axis.RIMS`), then what each side (top,
bottom, left, right) is lighter by in all and from one end to the other, in 32nds of a standard deviation."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a view takes the original to lie in the upload.

    `corners` are those of the original, clockwise from its top left, each as (down, across) in fractions of the
    upload; under 0 and over 1 where the original reached further. A turned or mirrored view begins at another corner.
    """

    corners: tuple[float, ...]
    cover: Cover | None = None
    outside: Outside = ()
    """Empty where only one guess was made."""

    @property
    def region(self) -> Region:
        """The upright rectangle around the view, or around what it filled in."""
        top_left, top_right, bottom_left = self.corners[:2], self.corners[2:4], self.corners[6:]
        top, left, bottom, right = (side / 64 for side in self.cover or (0, 0, 64, 64))
        places = [
            tuple(
                top_left[axis]
                + down * (bottom_left[axis] - top_left[axis])
                + across * (top_right[axis] - top_left[axis])
                for axis in (0, 1)
            )
            for down in (top, bottom)
            for across in (left, right)
        ]
        if self.cover is None:
            places = [(self.corners[at], self.corners[at + 1]) for at in range(0, 8, 2)]
        downs, acrosses = zip(*places, strict=True)
        return min(acrosses), min(downs), max(acrosses) - min(acrosses), max(downs) - min(downs)


@dataclass(frozen=True, slots=True)
class ViewHash:
    """One PDQ hash of one view of a picture or of one frame of a video.

    `hash` is 32 bytes in the reference's hex order, `quality` 0..100. `view` is '' for the upload as it is
    and else names the transformation ('flip_horizontal', 'complement', ...). `frame_time` is seconds from
    the start, None for a still picture. `placement` is where a view of an edited copy lies; None for the whole.
    """

    hash: bytes
    quality: int
    view: str = ""
    frame_time: float | None = None
    placement: Placement | None = None

    @property
    def region(self) -> Region | None:
        """The part of the upload that the view shows, or where it filled something in; None for the whole."""
        return self.placement.region if self.placement else None


@dataclass(frozen=True, slots=True)
class CloserLook:
    """Where to look closer at a picture: views of an earlier look, by name and placement, and which look this is.

    `number` is 0 for the first closer look; each further one looks finer.
    """

    number: int
    seeds: tuple[tuple[str, Placement], ...]


@dataclass(frozen=True, slots=True)
class HashedMedia:
    """What the sandbox says of one object: its kind, a typed reason where it could not be hashed, hashes."""

    kind: Kind
    reason: str = ""
    hashes: tuple[ViewHash, ...] = ()
    partial: bool = False
    """Decoded only as far as the damage allowed; what was decoded is in `hashes`."""
    width: int = 0
    height: int = 0
    duration: float = 0.0
    vpdq: tuple[ViewHash, ...] = ()
    """Frames of a video as vPDQ selects and hashes them, with the reference's own quality: what the own bank keeps
    of a confirmed video. Look-ups use `hashes`, which are denser."""

    @property
    def originals(self) -> tuple[ViewHash, ...]:
        """The hashes of the media as it is, one a frame."""
        return tuple(h for h in self.hashes if h.view == "")


@dataclass(frozen=True, slots=True)
class Match:
    """One bank entry found near one content; the closest view only."""

    entry_id: int
    bank: str
    signal_type: str
    distance: int
    view: str = ""
    frame_time: float | None = None
    quality: int = 100
    effect: Effect = Effect.FLAG
    priority: int = 0
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `decide` says becomes of an upload: its next state, and for whom a review waits, if any."""

    state: State
    reason: str = ""
    review: bool = False
    priority: int = 0
    matches: tuple[Match, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Memory:
    """What is already decided about a content.

    `verdict` is the newest decision, None without one. `supported`: a bank entry that led to it is still live,
    or none ever did; a confirmed verdict whose cases were all withdrawn no longer removes. `dismissed` are the
    entries of which a person said that this content is no match. `withheld`: uploads of these bytes wait in an open
    review for a match that holds.
    """

    verdict: Verdict | None = None
    supported: bool = True
    dismissed: frozenset[int] = frozenset()
    withheld: bool = False


NOTHING_DECIDED = Memory()
