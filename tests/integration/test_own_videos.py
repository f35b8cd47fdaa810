"""A confirmed video comes back re-encoded, as a still, or not at all once the bank has withdrawn what led to it."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image
from sqlalchemy import select

from bank_sync.bank import BankEntry, BankRecord
from bank_sync.own_bank import retire_unsupported_own
from bank_sync.signals import unpack_frames
from worker.domain import Lane, State, Verdict
from worker.media.media import memfd_from
from worker.media.sniff import Format
from worker.review.desk.reviews import decide_review
from worker.store.models import MatchRow, Review, Upload
from worker.withdrawals import release_withdrawn

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

FPS = 25
SECONDS = 6


def shown(at: float, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """What a camera sees that pans over a wide scene, `at` seconds from the start."""
    noise = np.random.default_rng(11).integers(0, 256, (24, 96, 3), dtype=np.uint8)
    scene = Image.fromarray(noise).resize((96 * 20, 24 * 20), Image.Resampling.BICUBIC)
    left = at * 200
    return scene.transform(
        size, Image.Transform.EXTENT, (left, 60, left + 480, 420), Image.Resampling.BILINEAR
    )


def clip(*, start: float = 0.0, size: tuple[int, int] = (320, 240), crf: int = 20) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as writer:
        stream = writer.add_stream("libx264", rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"crf": str(crf), "preset": "veryfast"}
        for at in range(int((SECONDS - start) * FPS)):
            frame = av.VideoFrame.from_ndarray(np.asarray(shown(start + at / FPS, size)), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, FPS)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return out.getvalue()


def scan(rig: Rig, bucket: str, key: str, body: bytes, lane: Lane = Lane.VIDEO) -> State:
    return rig.process(rig.put(bucket, key, body, lane))


def own(rig: Rig, *, live: bool = True) -> dict[str, bytes]:
    with rig.sessions() as session:
        rows = session.execute(
            select(BankEntry.signal_type, BankEntry.signal).where(
                BankEntry.bank == "own", BankEntry.live.is_(live)
            )
        )
        return {row.signal_type: row.signal for row in rows}


@pytest.fixture
def confirmed(rig: Rig, versioned_bucket: str) -> bytes:
    """A video that the bank knows by its MD5 only, and that a reviewer has confirmed; the own bank is published."""
    body = clip()
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    rig.bank_records([BankRecord("video_md5", md5)])
    assert scan(rig, versioned_bucket, "first.mp4", body) is State.HELD
    with rig.sessions() as session:
        review = session.scalars(select(Review.id)).one()
    decide_review(rig.sessions, rig.settings.policy, review, Verdict.CONFIRMED, actor="ann", request_id="r1")
    rig.publish()
    return body


def test_the_own_bank_holds_its_md5_and_what_vpdq_selects_of_it(rig: Rig, confirmed: bytes) -> None:
    held = own(rig)
    assert set(held) == {"video_md5", "vpdq"}
    assert held["video_md5"] == hashlib.md5(confirmed, usedforsecurity=False).digest()
    with memfd_from([confirmed]) as media:
        assert media.format() is Format.MP4
        selected = rig.stages.sandbox.hash(media).vpdq
    frames = unpack_frames(held["vpdq"])
    assert [(frame.hash, frame.quality) for frame in frames] == [
        (each.hash, each.quality) for each in selected
    ]
    assert [frame.time for frame in frames] == pytest.approx(range(SECONDS))


@pytest.mark.usefixtures("confirmed")
def test_a_trimmed_copy_encoded_afresh_is_held_by_it(rig: Rig, versioned_bucket: str) -> None:
    copy = clip(start=0.3, size=(240, 180), crf=30)
    assert scan(rig, versioned_bucket, "copy.mp4", copy) is State.HELD
    with rig.sessions() as session:
        content = session.scalars(select(Upload.content_id).where(Upload.key == "copy.mp4")).one()
        (match,) = session.scalars(select(MatchRow).where(MatchRow.content_id == content))
    assert (match.bank, match.signal_type, match.view) == ("own", "vpdq", "")
    assert match.frame_time is not None


@pytest.mark.usefixtures("confirmed")
def test_a_still_of_it_is_held_by_it(rig: Rig, versioned_bucket: str) -> None:
    still = rig.jpeg(shown(3.0, (640, 480)), 80)
    assert scan(rig, versioned_bucket, "still.jpg", still, Lane.IMAGE) is State.HELD


def test_it_goes_when_the_bank_withdraws_what_led_to_it(
    rig: Rig, versioned_bucket: str, confirmed: bytes
) -> None:
    copy = clip(start=0.3, size=(240, 180), crf=30)
    assert scan(rig, versioned_bucket, "copy.mp4", copy) is State.HELD
    md5 = hashlib.md5(confirmed, usedforsecurity=False).digest()
    rig.bank_records([BankRecord("video_md5", md5, raw_status="Withdrawn")])
    with rig.sessions.begin() as session:
        assert len(retire_unsupported_own(session)) == 2
    rig.publish()
    assert own(rig) == {}
    assert release_withdrawn(rig.sessions) == 1
    again = clip(start=0.4, size=(240, 180), crf=30)
    assert scan(rig, versioned_bucket, "again.mp4", again) is State.CLEAR


def test_a_picture_of_the_bank_inside_a_video_is_held(rig: Rig, versioned_bucket: str) -> None:
    rig.bank_pdq(rig.hash_of(rig.jpeg(shown(2.0, (800, 600)))))
    assert scan(rig, versioned_bucket, "film.mp4", clip(start=0.5)) is State.HELD
    with rig.sessions() as session:
        match = session.scalars(select(MatchRow)).one()
    assert match.frame_time == pytest.approx(1.5, abs=0.1)
