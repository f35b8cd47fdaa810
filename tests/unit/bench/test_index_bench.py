"""The index benchmark: what it measures on, that a wrong index fails it, and that its page is that of its figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bank_sync.index.flat import FlatIndex
from bank_sync.index.protocol import Found, Hashes, Index
from worker.bench.banks import BANKS, clustered_bank, queries_into
from worker.bench.index_report import plot, section
from worker.bench.subjects import SUBJECTS
from worker.cli import cli


def test_half_of_the_queries_lie_within_the_radius_of_a_stored_hash() -> None:
    random = np.random.default_rng(1)
    hashes = BANKS["random"](5000, random)
    found = FlatIndex(hashes).search(queries_into(hashes, 100, 31, random), 31)
    assert found.query.tolist() == list(range(0, 100, 2))


def test_clusters_have_many_copies_that_match_each_other() -> None:
    hashes = clustered_bank(20_000, np.random.default_rng(1))
    assert hashes.shape == (20_000, 32)
    counts = np.bincount(FlatIndex(hashes).search(hashes[:1000], 31).query)
    assert counts.min() == 1
    assert counts.max() > 50


def test_it_prints_every_metric_of_every_subject() -> None:
    told = CliRunner().invoke(cli, ["bench", "index", "--hashes", "2000", "--data", "random", "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    metrics = {(each["subject"], each["metric"]) for each in report["figures"]}
    for subject in ("hashwarden", "faiss-flat", "faiss-multihash"):
        for metric in ("lookup_p50", "lookup_p99", "batch_256", "batch_4096", "build", "bytes_per_hash"):
            assert (subject, metric) in metrics
        assert (subject, "private_memory") in metrics
    assert {each["params"].get("radius") for each in report["figures"]} == {None, 31, 40}
    assert section(report)
    assert plot(report)


def test_an_index_that_misses_a_hash_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        def build(self, hashes: Hashes, folder: Path) -> Index:
            class One:
                def __len__(self) -> int:
                    return len(hashes)

                def search(self, queries: Hashes, radius: int, met: int = 0) -> Found:
                    found = FlatIndex(hashes).search(queries, radius, met)
                    return Found(found.query[1:], found.row[1:], found.distance[1:])

            (folder / "hashes").write_bytes(hashes.tobytes())
            return One()

    monkeypatch.setattr("worker.bench.index.SUBJECTS", {**SUBJECTS, "hashwarden": Forgetful()})
    monkeypatch.setattr("worker.bench.index.measure", lambda *_: 0)
    told = CliRunner().invoke(cli, ["bench", "index", "--hashes", "2000", "--data", "random", "--json"])
    assert told.exit_code == 1
    assert "faiss-flat finds other hashes" in told.output
