"""Which views of an edited copy a profile looks up for one picture, the likeliest first."""

import numpy as np
from PIL import Image

from worker.domain import CloserLook, Profile, ViewHash
from worker.media.axis import centred_blur
from worker.media.canvas import Canvas
from worker.media.closer import look_closer
from worker.media.fills import filled
from worker.media.page import is_page
from worker.media.parts import parts
from worker.media.pdq import picture_luma
from worker.media.prints import prints
from worker.media.tilt import straightened
from worker.media.uncrop import uncropped

_LEAST_SIDE = 64
_LEAST_QUALITY = 50


def hash_copies(
    image: Image.Image, quality: int, profile: Profile, closer: CloserLook | None = None
) -> list[ViewHash]:
    """Hash the views of a decoded picture of this quality as an edited copy; none in the plain profile.

    With `closer`, the fine views around its seeds instead of the profile's.

    A picture without structure or under 64 pixels is not guessed at: its views would look like anything. Of a page only
    the pictures in it are. One that is
    not opaque is taken without its alpha channel, as the banks' reference does.
    """
    if profile is Profile.PLAIN or quality < _LEAST_QUALITY or min(image.size) < _LEAST_SIDE:
        return []
    luma = picture_luma(image)
    low, high = np.percentile(luma[::4, ::4], [0.5, 99.5])
    if 0 < high - low < 128:
        luma = np.clip((luma - low) * (255 / (high - low)), 0, 255).astype(np.float32)
    blurred = centred_blur(luma)
    canvas = Canvas(blurred)
    if closer is not None:
        return [view for batch in look_closer(canvas, closer, quality) for view in batch.hashes()]
    aspect = image.width / image.height
    batches = parts(luma, blurred, profile)
    if profile is Profile.THOROUGH:
        batches += prints(luma, canvas, aspect)
    if is_page(luma):
        return [view for batch in batches for view in batch.hashes()]
    batches += [
        *straightened(canvas, aspect, quality, profile),
        *uncropped(luma, quality, profile),
        *filled(luma, quality, profile),
    ]
    return [view for batch in batches for view in batch.hashes()]
