"""Turns of a hash alone: exact in their algebra, near what hashing the turned picture gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from worker.domain import ViewHash
from worker.media.in_process import InProcessSandbox
from worker.media.media import memfd_from
from worker.media.turned_hashes import forms, turned, turned_views
from worker.media.views import DIHEDRAL, with_complements

PHOTOS = sorted((Path(__file__).parents[3] / "worker/demo/photos").glob("*.jpg"))


def random_hashes(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(5).integers(0, 256, (count, 32), dtype=np.uint8)


def test_the_turns_are_those_of_a_square() -> None:
    hashes = random_hashes(3)
    turns = dict(zip(DIHEDRAL, turned(hashes).swapaxes(0, 1), strict=True))
    assert (turns[""] == hashes).all()
    for name in ("rotate_180", "flip_vertical", "flip_horizontal", "transpose", "transverse"):
        assert (turned(turns[name])[:, DIHEDRAL.index(name)] == hashes).all(), name
    quarter = DIHEDRAL.index("rotate_90")
    assert (turned(turns["rotate_90"])[:, quarter] == turns["rotate_180"]).all()
    assert (turned(turns["rotate_90"])[:, DIHEDRAL.index("rotate_270")] == hashes).all()
    assert len({row.tobytes() for row in forms(hashes).reshape(-1, 32)}) == 3 * 16


def test_turning_the_bank_s_hash_finds_what_turning_the_upload_s_would() -> None:
    upload, bank = random_hashes(2)[:, np.newaxis]
    from_upload = np.bitwise_count(forms(upload)[0] ^ bank).sum(axis=1)
    from_bank = np.bitwise_count(forms(bank)[0] ^ upload).sum(axis=1)
    assert sorted(from_upload) == sorted(from_bank)


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_they_are_near_the_hashes_of_pictures_that_were_turned(photo: Path) -> None:
    with InProcessSandbox() as sandbox, memfd_from([photo.read_bytes()]) as media:
        found = {view.view: view.hash for view in sandbox.hash(media).hashes}
    hashes = np.frombuffer(found[""], dtype=np.uint8).reshape(1, 32)
    for turn, row in zip(DIHEDRAL, turned(hashes)[0], strict=True):
        away = int(np.bitwise_count(row ^ np.frombuffer(found[turn], dtype=np.uint8)).sum())
        # PDQ samples off the middle: only transposing keeps the corner that it starts from.
        assert away <= {"": 0, "transpose": 6}.get(turn, 31), turn


def test_the_views_come_as_a_scan_has_them() -> None:
    frames = tuple(ViewHash(row.tobytes(), 90 + at, "", float(at)) for at, row in enumerate(random_hashes(2)))
    views = turned_views(frames)
    assert [view for view in views if view.view == ""] == list(frames)
    expected = with_complements(
        ViewHash(b"", frame.quality, turn, frame.frame_time)
        for frame in frames
        for turn in DIHEDRAL
        if not turn
    )
    assert [view.view for view in views[:2]] == [view.view for view in expected[:2]]
    assert len(views) == 2 * 16
    assert {(view.quality, view.frame_time) for view in views[16:]} == {(91, 1.0)}
    assert turned_views(()) == ()
