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
        tuple(each["params"].get(name) for name in ("source", "page_size", "pages", "until"))
        for each in report["figures"]
        if each["metric"] == "records_per_second" and each["value"] > 0
    }
    loads = {("file", None, 1), ("wire", 800, 2), ("wire", 5000, 1)}
    assert rates == {(*load, until) for load in loads for until in ("database", "epoch")}
