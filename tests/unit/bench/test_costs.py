"""The cost benchmarks give each subject's figures; how quick they are is not tested."""

from pathlib import Path

import numpy as np
import pdqhash
import pytest
from PIL import Image

from worker.bench.costs import hash_figures, jpeg_of, view_figures
from worker.bench.film import video_figures
from worker.bench.peer import peer_hash
from worker.domain import Profile


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(3).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(path)
    return path


def test_ours_is_near_the_reference_and_both_are_told(photo: Path) -> None:
    found = hash_figures([photo], 600_000)
    told = {(each.subject, each.metric, each.params.get("statistic")): each.value for each in found}
    assert told["hashwarden", "distance_to_reference", "max"] <= 6
    for subject in ("hashwarden", "threatexchange"):
        assert told[subject, "pictures_per_second", None] > 0
    assert len(told) == 6


def test_the_peer_hashes_at_full_size(photo: Path) -> None:
    body = jpeg_of(photo, 900_000)
    (photo.parent / "b.jpg").write_bytes(body)
    vector, _ = pdqhash.compute(np.asarray(Image.open(photo.parent / "b.jpg")))
    assert peer_hash(body) == np.packbits(vector).tobytes()


def test_each_profile_costs_its_views_and_their_look_ups(photo: Path) -> None:
    found = view_figures([photo], 1_000)
    told = {(each.metric, each.params["profile"]) for each in found}
    assert told >= {
        (metric, profile.value) for metric in ("hash_cpu", "lookup_cpu", "view_drift") for profile in Profile
    }
    assert {profile for metric, profile in told if metric == "closer_look_cpu"} == {"standard", "thorough"}
    assert {each.params["engine"] for each in found if each.metric == "lookup_cpu"} == {
        "buckets",
        "faiss-flat",
    }
    views = {each.params["profile"]: each.params["views"] for each in found if each.metric == "hash_cpu"}
    assert views["plain"] < views["standard"] < views["thorough"]
    whole = [
        each.value for each in found if each.metric == "view_drift" and each.params["family"] == "as uploaded"
    ]
    assert whole == [0.0] * len(whole)


def test_what_is_no_video_costs_nothing() -> None:
    assert video_figures([]) == []
