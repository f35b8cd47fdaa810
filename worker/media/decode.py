"""From mapped bytes to hashes or a typed refusal: what the sandbox's child does, and nothing else.

Import it only where hostile bytes may be decoded: it loads every decoder.
"""

import io
import mmap

from PIL import Image

from worker.domain import HashedMedia, Kind, Profile
from worker.media.image import RefusalError, decoders_configured, hash_picture
from worker.media.limits import Limits, Reason, refused
from worker.media.media import memfd_from
from worker.media.sniff import Format
from worker.media.video import hash_video


def decode(
    fd: int, size: int, format_: Format, limits: Limits, profile: Profile = Profile.PLAIN
) -> HashedMedia:
    """Hash `size` bytes (over 0) behind `fd`, recognised as `format_`, without complements.

    Refusals are results. Anything raised is a fault of a decoder that no rule here foresees.
    """
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as media:
        try:
            if format_.kind is Kind.IMAGE:
                with decoders_configured(limits):
                    return hash_picture(media, format_, limits, profile)
            return hash_video(media, limits)
        except RefusalError as refusal:
            return refused(refusal.reason)
        except MemoryError:
            return refused(Reason.MEMORY_LIMIT)


def warm_up(limits: Limits) -> None:
    """Decode a picture of our own once, so that what decoders load at first use is loaded before the fork."""
    picture = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((1024, 1024)).save(picture, "JPEG")
    with memfd_from([picture.getvalue()]) as media:
        decode(media.fd, media.size, Format.JPEG, limits, Profile.STANDARD)
        decode(media.fd, media.size, Format.JPEG, limits, Profile.THOROUGH)
