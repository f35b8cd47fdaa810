"""`bench sync` on real servers: every record arrives, and the figures say how quickly."""

from __future__ import annotations

import json

from click.testing import CliRunner

from worker.cli import cli


def test_it_says_how_many_records_a_second_arrive() -> None:
    told = CliRunner().invoke(cli, ["bench", "sync", "--records", "300", "--wire-records", "900", "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    rates = {
        (each["params"]["source"], each["params"].get("page_size"), each["params"]["pages"])
        for each in report["figures"]
        if each["metric"] == "records_per_second" and each["value"] > 0
    }
    assert rates == {("file", None, 1), ("wire", 800, 2), ("wire", 5000, 1)}
