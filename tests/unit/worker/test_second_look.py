"""The closer look: only where something came near, told places and never hashes, keeping only what counts."""

import io
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from bank_sync.loaded import Columns, LoadedEpoch, Segment
from worker.domain import CloserLook, HashedMedia, Kind, Profile, ViewHash
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from
from worker.media.pdq import distance
from worker.second_look import second_look


def _picture(seed: int = 7) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((900, 700), Image.Resampling.BICUBIC)


def _body(picture: Image.Image) -> bytes:
    body = io.BytesIO()
    picture.save(body, "PNG")
    return body.getvalue()


def _epoch(hashes: list[bytes]) -> LoadedEpoch:
    rows: npt.NDArray[np.uint8] = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, 32)
    none = np.empty(0, dtype=np.int64)
    columns = Columns(
        pdqs=rows,
        pdq_entries=np.arange(len(rows), dtype=np.int64),
        frames=np.empty((0, 32), dtype=np.uint8),
        frame_entries=none,
        frame_times=np.empty(0, dtype=np.float32),
        md5s=np.empty((0, 16), dtype=np.uint8),
        md5_entries=none,
    )
    return LoadedEpoch(1, datetime.now(UTC), Segment(columns))


def _hash(
    picture: Image.Image, profile: Profile = Profile.PLAIN, closer: CloserLook | None = None
) -> HashedMedia:
    with InProcessSandbox() as sandbox, memfd_from([_body(picture)]) as media:
        return sandbox.hash(media, profile, closer)


BANK = _hash(_picture()).hashes[0].hash


class _Looks:
    """Looks closer at one upload, and remembers how often."""

    def __init__(self, upload: Image.Image) -> None:
        self.upload = upload
        self.asked: list[CloserLook] = []

    def __call__(self, closer: CloserLook) -> HashedMedia:
        self.asked.append(closer)
        return _hash(self.upload, Profile.THOROUGH, closer)


def _seen(upload: Image.Image, bank: list[bytes]) -> tuple[HashedMedia, _Looks]:
    looks = _Looks(upload)
    return second_look(_hash(upload, Profile.THOROUGH), looks, _epoch(bank), 31, 40), looks


def _nearest(media: HashedMedia) -> int:
    return min(distance(view.hash, BANK) for view in media.hashes)


def _cropped() -> Image.Image:
    return _picture().crop((62, 13, 866, 636))


def _captioned() -> Image.Image:
    upload = _picture().crop((20, 15, 880, 690))
    ImageDraw.Draw(upload).rectangle((0, 560, 860, 675), fill="white")
    return upload


def _turned() -> Image.Image:
    return _picture().rotate(3.3, Image.Resampling.BICUBIC).crop((40, 35, 860, 665))


@pytest.mark.parametrize(
    "upload", [_cropped(), _captioned(), _turned()], ids=["cropped", "captioned", "turned"]
)
def test_a_closer_look_finds_what_lies_between_the_coarse_views(upload: Image.Image) -> None:
    coarse = _nearest(_hash(upload, Profile.THOROUGH))
    media, looks = _seen(upload, [BANK])
    assert looks.asked
    assert _nearest(media) <= 31 < coarse


def test_an_upload_that_nothing_is_near_is_decoded_once_and_keeps_its_plain_views() -> None:
    media, looks = _seen(_picture(seed=8), [BANK])
    assert looks.asked == []
    assert media.hashes == _hash(_picture(seed=8)).hashes


def test_what_holds_already_is_not_looked_at_again() -> None:
    media, looks = _seen(_picture().crop((10, 10, 890, 690)), [BANK])
    assert looks.asked == []
    assert _nearest(media) <= 31


def test_only_the_views_that_count_are_kept() -> None:
    media, _ = _seen(_cropped(), [BANK])
    guessed = [view for view in media.hashes if view.placement is not None]
    assert guessed
    assert all(distance(view.hash, BANK) <= 40 for view in guessed)
    assert len(guessed) <= 3


def test_a_closer_look_that_ends_badly_leaves_what_was_found() -> None:
    first = _hash(_cropped(), Profile.THOROUGH)
    crashed = HashedMedia(kind=Kind.UNSCANNABLE, reason="crashed")
    media = second_look(first, lambda _: crashed, _epoch([BANK]), 31, 40)
    assert media.kind is Kind.IMAGE
    assert media.originals == first.originals


def test_entries_that_may_not_match_take_no_place_from_those_that_may() -> None:
    upload = _cropped()
    first = _hash(upload, Profile.THOROUGH)
    looks = _Looks(upload)
    crowded = _epoch([BANK] * 6)
    found = second_look(first, looks, crowded, 31, 40, lambda ids: [number for number in ids if number == 5])
    assert _nearest(found) <= 31
    looks.asked.clear()
    second_look(first, looks, crowded, 31, 40, lambda _: [])
    assert looks.asked == []


def test_a_look_is_finer_than_the_one_before() -> None:
    upload = _cropped()
    near = min(
        (view for view in _hash(upload, Profile.THOROUGH).hashes if view.placement is not None),
        key=lambda view: distance(view.hash, BANK),
    )
    assert near.placement is not None

    placed = near.placement

    def spread(number: int) -> float:
        found = _hash(upload, Profile.THOROUGH, CloserLook(number, ((near.view, placed),))).hashes
        places = np.array([view.placement.corners for view in found if view.placement is not None])
        return float(places.std(axis=0).max())

    assert spread(0) > 2 * spread(1) > 2 * spread(2) > 0


def test_video_is_left_as_it_is() -> None:
    film = HashedMedia(kind=Kind.VIDEO, hashes=(ViewHash(BANK, 100, "", 0.0),))
    looks = _Looks(_picture())
    assert second_look(film, looks, _epoch([BANK]), 31, 40) is film
    assert looks.asked == []
