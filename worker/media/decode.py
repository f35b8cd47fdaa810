"""From mapped bytes to hashes, to few pixels or to a typed refusal: what the sandbox's child does, and nothing else.

Import it only where hostile bytes may be decoded: it loads every decoder.
"""

import importlib
import io
import mmap

from PIL import Image

from worker.domain import CloserLook, HashedMedia, Kind, Profile
from worker.media import axis, dihedral, raster, record, uncrop
from worker.media.image import decoders_configured, hash_picture
from worker.media.limits import Limits, Reason, RefusalError, refused
from worker.media.media import memfd_from
from worker.media.payloads import hash_picture_and_payloads
from worker.media.request import Hashing
from worker.media.rungs import Rung, Showing, Shown
from worker.media.sniff import Format
from worker.media.still import show_picture
from worker.media.stills import show_video
from worker.media.video import hash_video

_IMPORTED_LATE = (
    "PIL.ImageColor",
    "PIL.ImageFilter",
    "PIL.ImagePalette",
    "av.audio.codeccontext",
    "av.audio.stream",
    "av.subtitles.codeccontext",
    "av.subtitles.stream",
    "av.video.codeccontext",
    "av.video.stream",
)
"""What the decoders import at first need, where no file can be opened any more."""

_ROUNDS = 4
"""The interpreter rewrites what has run some times for speed; a child would do that anew, and copy what it rewrites."""


def decode(
    fd: int,
    size: int,
    format_: Format,
    limits: Limits,
    profile: Profile = Profile.PLAIN,
    closer: CloserLook | None = None,
) -> HashedMedia:
    """Hash `size` bytes (over 0) behind `fd`, recognised as `format_`, without complements.

    Refusals are results. Anything raised is a fault of a decoder that no rule here foresees.
    """
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as media:
        try:
            # Films carry pictures as covers, and pictures carry films.
            with decoders_configured(limits):
                if format_.kind is Kind.IMAGE and closer is not None:
                    return hash_picture(media, format_, limits, profile, closer)
                if format_.kind is Kind.IMAGE:
                    return hash_picture_and_payloads(media, format_, limits, profile)
                return hash_video(media, limits)
        except RefusalError as refusal:
            return refused(refusal.reason)
        except MemoryError:
            return refused(Reason.MEMORY_LIMIT)


def render(fd: int, size: int, format_: Format, limits: Limits, showing: Showing) -> Shown:
    """Render `size` bytes (over 0) behind `fd`, recognised as `format_`, for a reviewer's eyes.

    Refusals are results, as in `decode`.
    """
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as media:
        try:
            with decoders_configured(limits):
                if format_.kind is Kind.IMAGE:
                    return show_picture(media, format_, limits, showing)
                return show_video(media, limits, showing)
        except RefusalError as refusal:
            return Shown(reason=refusal.reason)
        except MemoryError:
            return Shown(reason=Reason.MEMORY_LIMIT)


def answer(fd: int, size: int, *, format_: Format, limits: Limits, task: Hashing | Showing) -> bytes:
    """The record that tells what came of a task."""
    if isinstance(task, Showing):
        return raster.pack(render(fd, size, format_, limits, task))
    return record.pack(decode(fd, size, format_, limits, task.profile, task.closer))


def refusal(reason: Reason, task: Hashing | Showing) -> bytes:
    """The record that tells why nothing came of a task."""
    return raster.pack(Shown(reason=reason)) if isinstance(task, Showing) else record.pack(refused(reason))


def warm_up(limits: Limits) -> None:
    """Load what decoders load at first use: behind the walls it can't be, and a fork shares it.

    The picture is small, so that the heap stays so: what a child finds in use there it must copy to write.
    """
    for module in _IMPORTED_LATE:
        importlib.import_module(module)
    for matrices in (axis, dihedral, uncrop):
        matrices.warm_up()
    picture = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((256, 256)).save(picture, "JPEG")
    with memfd_from([picture.getvalue()]) as media:
        for _ in range(_ROUNDS):
            decode(media.fd, media.size, Format.JPEG, limits, Profile.STANDARD)
        first = decode(media.fd, media.size, Format.JPEG, limits, Profile.THOROUGH)
        seeds = tuple((view.view, view.placement) for view in first.hashes if view.placement is not None)[:1]
        decode(media.fd, media.size, Format.JPEG, limits, Profile.THOROUGH, CloserLook(0, seeds))
        render(media.fd, media.size, Format.JPEG, limits, Showing(Rung.GREY))
