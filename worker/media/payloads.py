"""All that one picture file shows: its picture, and the pictures and films that travel behind or inside it.

Motion photos, live pictures and stereo pairs are one file to the person who sends them and several pictures to
the one who opens them. What is wrong with a payload is told beside the picture's hashes, and takes none away.
"""

import time
from dataclasses import dataclass, field, replace
from mmap import mmap

from worker.domain import HashedMedia, Kind, Profile, ViewHash
from worker.media import jpeg, pdq
from worker.media.image import hash_picture
from worker.media.limits import UNSUPPORTED_REASONS, Limits, Reason, RefusalError
from worker.media.sniff import Format, sniff
from worker.media.video import hash_video

_PICTURE_START = b"\xff\xd8\xff"
_FILM_BRAND = b"ftyp"
_BOX_HEADER = 8
_MOTION_PHOTO_BOX = b"mpvd"
_TRACKS_BOX = b"moov"
_FILM_PLACES = 4
"""Tried where a film may start behind a picture."""
_BOXES = 1_000
_SHARE = 0.8
"""Of the CPU of the object, for what it carries; at the whole the kernel ends the child and its hashes."""
_LATEST = 0.5
"""Of the wall clock, for one film."""


def hash_picture_and_payloads(media: mmap, format_: Format, limits: Limits, profile: Profile) -> HashedMedia:
    """Hash everything in a picture file. Raises as `hash_picture` where nothing in it could be hashed."""
    found = _Found(media, limits)
    refusal: RefusalError | None = None
    try:
        picture = hash_picture(media, format_, limits, profile)
        found.add(picture)
    except RefusalError as refused:
        refusal = refused
        picture = HashedMedia(kind=Kind.IMAGE, reason=refused.reason, partial=True)
    if format_ is Format.JPEG:
        _behind_a_jpeg(found)
    elif format_ is Format.HEIF:
        _inside_a_heif(found)
    if refusal is not None and not found.hashes:
        raise refusal
    reason = picture.reason or found.cut or ""
    return replace(
        picture,
        reason=reason,
        hashes=tuple(found.hashes),
        vpdq=tuple(found.vpdq),
        partial=picture.partial or found.damaged or bool(reason),
    )


@dataclass(slots=True)
class _Found:
    """What was hashed so far, each picture once, and what kept others from being hashed."""

    media: mmap
    limits: Limits
    hashes: list[ViewHash] = field(default_factory=list)
    vpdq: list[ViewHash] = field(default_factory=list)
    pictures: int = 0
    damaged: bool = False
    cut: Reason | None = None
    started: float = field(default_factory=time.process_time)

    def add(self, media: HashedMedia) -> None:
        known = [each for each in self.hashes if not each.view]
        moments: dict[float | None, list[ViewHash]] = {}
        for each in media.hashes:
            moments.setdefault(each.frame_time, []).append(each)
        for views in moments.values():
            if not any(pdq.is_repeat(views, [each]) for each in known):
                self.hashes += views
                self.pictures += 1

    def try_(self, start: int, end: int, format_: Format) -> bool:
        """Hash what stands at a place; False where nothing of this format does."""
        pictures = self.limits.image_frames - self.pictures
        cpu = self.limits.image_cpu * _SHARE - (time.process_time() - self.started)
        if pictures <= 0 or cpu <= 0:
            self.cut = self.cut or (Reason.FRAME_LIMIT if pictures <= 0 else Reason.CPU_LIMIT)
            return False
        left = replace(
            self.limits,
            image_frames=pictures,
            video_frames=pictures,
            video_cpu=cpu,
            video_wall=self.limits.image_wall * _LATEST,
        )
        try:
            if format_ is Format.JPEG:
                carried = hash_picture(self.media[start:end], format_, left)
            else:
                carried = hash_video(self.media[start:end], left)
        except RefusalError as refused:
            return self._refused(refused.reason, format_)
        self.add(carried)
        self.vpdq = self.vpdq or list(carried.vpdq)
        self.damaged = self.damaged or carried.partial
        self.cut = self.cut or (Reason(carried.reason) if carried.reason else None)
        return True

    def _refused(self, reason: Reason, format_: Format) -> bool:
        """Chance makes the first bytes of a picture or a film, but not a limit, nor the head of a film."""
        if reason in UNSUPPORTED_REASONS or (format_ is Format.JPEG and reason is Reason.BROKEN):
            return False
        if reason in {Reason.BROKEN, Reason.TRUNCATED}:
            self.damaged = True
        else:
            self.cut = self.cut or reason
        return True


def _behind_a_jpeg(found: _Found) -> None:
    """The film of a motion photo; further pictures (MPO, gain maps) wherever their index claims they are."""
    media, limits = found.media, found.limits
    try:
        at = end = jpeg.walk(media, limits).end
    except RefusalError:
        return
    film = len(media)
    for _ in range(_FILM_PLACES):
        brand = media.find(_FILM_BRAND, at)
        if brand < 0:
            break
        at = brand + len(_FILM_BRAND)
        start = brand - len(_FILM_BRAND)
        if start < end or sniff(media[start : start + 64]) is not Format.MP4:
            continue
        if found.try_(start, len(media), Format.MP4):
            film = start
            break
    at = end
    for _ in range(limits.image_frames):
        start = media.find(_PICTURE_START, at, film)
        if start < 0:
            return
        try:
            stop = start + jpeg.walk(media[start:film], limits).end
        except RefusalError:
            stop = film
        at = stop if found.try_(start, stop, Format.JPEG) else start + len(_PICTURE_START)
    if media.find(_PICTURE_START, at, film) >= 0:
        found.cut = found.cut or Reason.FRAME_LIMIT


def _inside_a_heif(found: _Found) -> None:
    """The film of a motion photo is a box of its own; that of a live picture shares the file's tracks."""
    media, at = found.media, 0
    for _ in range(_BOXES):
        if at + _BOX_HEADER > len(media):
            return
        size, name = int.from_bytes(media[at : at + 4], "big"), media[at + 4 : at + 8]
        body = at + _BOX_HEADER
        if size == 1:
            size, body = int.from_bytes(media[body : body + 8], "big"), body + 8
        end = at + size if size else len(media)
        if end < body:
            return
        if name == _MOTION_PHOTO_BOX:
            found.try_(body, end, Format.MP4)
        elif name == _TRACKS_BOX and found.pictures <= 1:
            # The frames of a sequence whose decoder shows them all are hashed already.
            found.try_(0, len(media), Format.MP4)
        at = end
    found.cut = found.cut or Reason.FRAME_LIMIT
