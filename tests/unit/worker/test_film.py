"""Two videos compared: the larger share, the least of frames and seconds, and videos too short for it."""

from collections.abc import Sequence

import numpy as np
import pytest

from config.policy import RuleSettings
from worker.domain import ViewHash
from worker.film import Agreement, BankFilm, Film, Shot, agreements

RULE = RuleSettings(video_review_share=0.1)
NOISE = np.random.default_rng(7)
SCENES = [NOISE.bytes(32) for _ in range(64)]
"""Hashes about 128 bits from each other."""


def bank(scenes: Sequence[int]) -> BankFilm:
    """One frame a second, each of the scene with that number."""
    hashes = np.frombuffer(b"".join(SCENES[at] for at in scenes), dtype=np.uint8).reshape(-1, 32)
    return BankFilm(hashes, np.arange(len(scenes), dtype=np.float32))


def film(scenes: Sequence[int], *, rate: int = 4, quality: int = 100) -> Film:
    """So many frames a second, all of a second alike but for the hash, which is of that scene."""
    views = [
        ViewHash(SCENES[scene], quality, view, second + part / rate)
        for second, scene in enumerate(scenes)
        for part in range(rate)
        for view in ("", "complement", "flip_horizontal")
    ]
    return Film(views, float(len(scenes)))


def agreed(
    upload: Film, held: Sequence[int], rule: RuleSettings = RULE, *, view: str = "", distance: int = 0
) -> list[Agreement]:
    shots = [
        Shot(row, distance, float(second))
        for row, shown in enumerate(upload.views)
        if shown.view == view
        for second, scene in enumerate(held)
        if SCENES[scene] == shown.hash
    ]
    return list(agreements(upload, bank(held), shots, rule))


def shares(upload: Film, held: Sequence[int]) -> list[float]:
    return [round(found.share, 2) for found in agreed(upload, held)]


def test_the_whole_video_agrees_wholly() -> None:
    assert shares(film(range(8)), range(8)) == [1.0]


def test_a_clip_in_a_long_upload_counts_by_the_share_of_the_banks_frames() -> None:
    assert shares(film([*range(20, 50), *range(5), *range(50, 60)]), range(5)) == [1.0]


def test_a_cut_of_a_long_bank_video_counts_by_the_share_of_the_uploads_seconds() -> None:
    assert shares(film(range(10, 15)), range(60)) == [1.0]


def test_a_part_of_each_counts_by_the_larger_share() -> None:
    # Seconds 10 to 15 agree and speak for one second before and behind them: seven of twenty.
    (found,) = agreed(film([*range(30, 40), *range(5), *range(40, 45)]), range(20))
    assert found.share == pytest.approx(7 / 20)


def test_a_share_under_the_least_is_no_match() -> None:
    upload = film([*range(30, 60), *range(3)])
    assert agreed(upload, range(30), RuleSettings(video_review_share=0.5)) == []


def test_three_distinct_frames_are_needed() -> None:
    logo = [0, 0, 1, 1]
    assert agreed(film([*logo, *range(20, 40)]), [*logo, *range(40, 60)]) == []
    assert len(agreed(film([*logo, 2, *range(20, 40)]), [*logo, 2, *range(40, 60)])) == 1


def test_frames_that_differ_by_noise_are_one() -> None:
    noisy = [bytes([SCENES[0][0] ^ at, *SCENES[0][1:]]) for at in range(8)]
    hashes = np.frombuffer(b"".join([*noisy, *SCENES[10:20]]), dtype=np.uint8).reshape(-1, 32)
    held = BankFilm(hashes, np.arange(len(hashes), dtype=np.float32))
    upload = film([0] * 8 + list(range(30, 40)))
    shots = [
        Shot(row, 3, float(second))
        for row in range(0, 8 * 12, 3)
        for second in range(8)
        if row // 12 == second
    ]
    assert list(agreements(upload, held, shots, RULE)) == []


def test_they_must_span_two_seconds() -> None:
    # Three scenes within a second of the upload, and within one of the bank.
    upload = film([*range(30, 40)])
    shots = [Shot(at * 3, 5, bank_time) for at, bank_time in ((0, 4.0), (1, 4.25), (2, 4.5))]
    hashes = np.frombuffer(b"".join(SCENES[:20]), dtype=np.uint8).reshape(-1, 32)
    times = np.concatenate(
        [np.array([4.0, 4.25, 4.5], dtype=np.float32), np.arange(10, 27, dtype=np.float32)]
    )
    views = [
        ViewHash(SCENES[at // 3], 100, each.view, each.frame_time) for at, each in enumerate(upload.views)
    ]
    quick = Film(views, 10.0)
    assert list(agreements(quick, BankFilm(hashes, times), shots, RULE)) == []
    lenient = RuleSettings(video_seconds=0.5)
    assert len(list(agreements(quick, BankFilm(hashes, times), shots, lenient))) == 1


@pytest.mark.parametrize("held", [[0], [0, 0], [0, 1], [0, 1, 2]])
def test_a_bank_video_that_is_too_short_needs_all_but_what_a_trim_takes(held: list[int]) -> None:
    trimmed = held[1:] or held
    assert len(agreed(film([*range(30, 40), *trimmed, *range(40, 50)]), held)) == 1


@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_upload_that_is_too_short_needs_a_frame_for_each_second(length: int) -> None:
    assert shares(film(range(10, 10 + length), rate=8), range(60)) == [1.0]


def test_one_frame_of_an_upload_of_three_seconds_is_too_few() -> None:
    assert agreed(film([10, 40, 41], rate=8), range(29)) == []


def test_frames_under_the_quality_do_not_count() -> None:
    assert agreed(film(range(8), quality=49), range(8)) == []


def test_a_mirrored_video_agrees_by_its_mirrored_view() -> None:
    upload = film(range(8))
    (found,) = agreed(upload, range(8), view="flip_horizontal", distance=4)
    assert upload.views[found.nearest.query].view == "flip_horizontal"


def test_frames_of_several_views_are_not_added_up() -> None:
    upload, held = film(range(8)), range(3)
    shots = [
        Shot(row, 0, float(second))
        for second, view in enumerate(("", "complement", "flip_horizontal"))
        for row, shown in enumerate(upload.views)
        if shown.view == view and shown.hash == SCENES[second]
    ]
    assert list(agreements(upload, bank([*held, *range(20, 40)]), shots, RULE)) == []


def test_a_long_still_stretch_counts_for_its_seconds() -> None:
    # Folded to one frame, it is nine of ten seconds.
    views = [ViewHash(SCENES[0], 100, "", 0.0), ViewHash(SCENES[1], 100, "", 9.0)]
    upload = Film(views, 10.0)
    held = BankFilm(
        np.frombuffer(SCENES[1] + SCENES[2], dtype=np.uint8).reshape(-1, 32),
        np.array([0, 1], dtype=np.float32),
    )
    (found,) = agreements(upload, held, [Shot(1, 0, 0.0)], RULE)
    assert found.share == pytest.approx(0.5), "half of the bank's frames, and two of ten seconds"
