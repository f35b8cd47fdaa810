"""Mutated files of every format through the sandbox: whatever comes out is typed, and the sandbox goes on.

A bounded run is part of the tests; `make fuzz FUZZ_SECONDS=600` goes on for as long as it is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.media.hostile import pictures, videos
from worker.domain import Kind
from worker.media.limits import UNSUPPORTED_REASONS, Reason
from worker.media.media import memfd_from
from worker.media.sandbox import ZygoteSandbox

_SECONDS = float(os.environ.get("FUZZ_SECONDS", "15"))
_LENGTHS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1")
_A_SECOND = 25
"""Mutated files that a slow machine hashes in a second."""


@pytest.fixture(scope="module")
def zygote() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as sandbox:
        yield sandbox


def _small() -> list[bytes]:
    shown = pictures.picture(7, (96, 72))
    bodies = [
        pictures.saved(shown, name) for name in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF", "BMP")
    ]
    bodies.append(pictures.apng(1, shown, [pictures.picture(3, (96, 72))]))
    bodies.append(pictures.saved(shown, "JPEG", progressive=True))
    for container, codec in (
        ("mp4", "libx264"),
        ("matroska", "mpeg4"),
        ("avi", "mpeg4"),
        ("mpegts", "libx264"),
    ):
        bodies.append(videos.film((0, 1), container=container, codec=codec, size=(96, 64), fps=3))
    return bodies


_BODIES = _small()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A small file cut, flipped, spliced with another, with stretches repeated or length fields swapped."""
    body = bytearray(draw(st.sampled_from(_BODIES)))
    for _ in range(draw(st.integers(1, 6))):
        if len(body) < 16:
            break
        at = draw(st.integers(0, len(body) - 8))
        match draw(st.sampled_from(("cut", "flip", "splice", "repeat", "size", "head"))):
            case "cut":
                del body[max(8, at) :]
            case "flip":
                body[at] ^= 1 << draw(st.integers(0, 7))
            case "splice":
                other = draw(st.sampled_from(_BODIES))
                start = draw(st.integers(0, len(other) - 8))
                body[at : at + 64] = other[start : start + draw(st.integers(1, 600))]
            case "repeat":
                part = body[at : at + draw(st.integers(1, 400))]
                body[at:at] = part * draw(st.integers(1, 40))
            case "size":
                body[at : at + 4] = draw(
                    st.sampled_from((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
                )
            case _:
                # Decoders read the beginning first, and most of what they trust stands there.
                body[min(at, 40)] = draw(st.integers(0, 255))
    return bytes(body)


@settings(
    max_examples=max(50, int(_SECONDS * _A_SECOND)),
    deadline=timedelta(seconds=60),
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(body=mutated())
def test_any_bytes_end_in_a_typed_result(zygote: ZygoteSandbox, body: bytes) -> None:
    before = zygote.walls
    pid = zygote._zygote.process.pid if zygote._zygote else 0
    with memfd_from([body]) as media:
        found = zygote.hash(media)
    assert zygote._zygote is not None
    assert (zygote._zygote.process.pid, zygote.walls) == (pid, before)
    if found.kind in {Kind.IMAGE, Kind.VIDEO}:
        assert found.originals
        assert not found.reason or found.partial
    else:
        assert found.hashes == ()
        assert (Reason(found.reason) in UNSUPPORTED_REASONS) is (found.kind is Kind.UNSUPPORTED)
    assert all(len(view.hash) == 32 and 0 <= view.quality <= 100 for view in found.hashes)
    # A decoder that a mutated file can make crash is a finding: it is kept out by its own process only.
    assert found.reason != Reason.CRASHED


def test_the_files_are_whole_before_they_are_mutated(zygote: ZygoteSandbox) -> None:
    for body in _BODIES:
        with memfd_from([body]) as media:
            found = zygote.hash(media)
        assert found.kind in {Kind.IMAGE, Kind.VIDEO}
        assert np.isfinite(found.duration)
