"""What each child of the sandbox would make anew is made before the first."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from worker.domain import Profile
from worker.media import axis, decode, dihedral, uncrop
from worker.media.image import decoders_configured, hash_picture
from worker.media.limits import Limits
from worker.media.sniff import Format


def test_after_it_a_large_picture_needs_no_further_matrix() -> None:
    made = (axis._transform, axis.sampling, dihedral._transform, uncrop._axis)
    for each in made:
        each.cache_clear()
    decode.warm_up(Limits())
    before = [each.cache_info().misses for each in made]
    coarse = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    page = Image.new("RGB", (2000, 1500), "white")
    page.paste(Image.fromarray(coarse).resize((900, 700), Image.Resampling.BICUBIC), (300, 500))
    body = io.BytesIO()
    page.save(body, "JPEG")
    with decoders_configured(Limits()):
        found = hash_picture(body.getvalue(), Format.JPEG, Limits(), Profile.STANDARD)
    assert len(found.hashes) > 100
    assert [each.cache_info().misses for each in made] == before
