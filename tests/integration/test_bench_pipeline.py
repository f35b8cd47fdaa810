"""`bench pipeline` on real servers and a real worker: it says how many uploads are decided, beside the floor."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

import worker.demo
from worker.cli import cli

PHOTOS = Path(worker.demo.__file__).parent / "photos"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores")
def test_it_measures_uploads_floor_stages_and_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.bench.pipeline._ROUNDS", 1)
    allowed = os.sched_getaffinity(0)
    try:
        told = CliRunner().invoke(
            cli,
            [
                *("bench", "pipeline", "--photos", str(PHOTOS), "--limit", "2"),
                *("--uploads", "8", "--hashes", "100", "--json"),
            ],
        )
    finally:
        os.sched_setaffinity(0, allowed)
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout)["figures"]
    for pictures in ("12 MP", "mixed"):
        of = [each for each in figures if each["params"]["pictures"] == pictures]
        rates = {each["subject"]: each["value"] for each in of if each["metric"] == "uploads_per_second"}
        assert rates.keys() == {"hashwarden", "decode-floor"}
        assert all(rate > 0 for rate in rates.values())
        shares = {each["params"]["stage"]: each["value"] for each in of if each["metric"] == "stage_share"}
        assert "decode_and_hash" in shares
        assert sum(shares.values()) == pytest.approx(100, abs=1)
        holds = {
            each["params"]["statistic"]: each["params"]["holds"]
            for each in of
            if each["metric"] == "event_to_hold"
        }
        assert holds == {"p50": 2, "p99": 2}
