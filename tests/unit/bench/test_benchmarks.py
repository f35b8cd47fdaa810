"""The page of the benchmarks of speed is that of its figures, and says of a missed aim that it is missed."""

import copy
import json
from pathlib import Path

from worker.bench import index_report, pipeline_report
from worker.bench.benchmarks import page

DOCS = Path(__file__).parents[3] / "docs"
REPORTS = {
    name: json.loads((DOCS / f"data/{name}.json").read_text(encoding="utf-8"))
    for name in ("index", "pipeline", "sync")
}


def test_the_page_and_the_plots_are_those_of_the_figures() -> None:
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == page(REPORTS), "run `make benchmarks`"
    plots = {
        "index": index_report.plot(REPORTS["index"]),
        "pipeline": pipeline_report.plot(REPORTS["pipeline"]),
    }
    for name, drawn in plots.items():
        assert (DOCS / f"pictures/{name}.svg").read_text(encoding="utf-8") == drawn


def test_an_aim_is_missed_below_its_share_of_the_floor() -> None:
    for share, verdict in ((79.9, "**missed**"), (80.0, "reached")):
        report = copy.deepcopy(REPORTS["pipeline"])
        for each in report["figures"]:
            if each["metric"] == "share_of_floor" and each["params"]["pictures"] == "12 MP":
                each["value"] = share
        [line] = [each for each in pipeline_report.section(report).splitlines() if f"| {share:g} % (" in each]
        assert line.startswith("| 12 MP |")
        assert line.endswith(f"| {verdict} |")
