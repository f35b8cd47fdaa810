"""Puts the figures of the benchmarks of speed into the page `docs/benchmarks.md` and its plots.

Usage: python -m worker.bench.benchmarks docs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.bench import index_report, pipeline_report

_HEAD = """# How quick it is

This page is written by `make benchmarks` from one run each of `hashwarden bench index --slow-peers`, `bench pipeline`
and `bench sync`; their figures are in `docs/data/`. How many edited copies are found is on
[another page](accuracy.md), how far it scales on [a third](scaling.md).
"""
_SYNC = """## How quickly a bank is loaded

One run of `hashwarden bench sync`; figures in `docs/data/sync.json`. A first load of a bank's PDQ records into an empty
PostgreSQL, and on until an epoch with them is published, which workers load. *Wire* is a practice bank on a real
socket, which answers from the same process: its share is in the figures. 800 records a page are what StopNCII's client
asks for by default.
"""
_BENCHES = ("index", "pipeline", "sync")


def page(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of the page, from the reports by the names of their benchmarks."""
    machine = reports["index"]["machine"]
    measured = (
        f"Measured on {machine['processor']} with {machine['cores']} cores, Python {machine['python']}. "
        "Other machines have other figures; the ratios travel better.\n"
    )
    sections = [
        _HEAD,
        measured,
        index_report.section(reports["index"]),
        "",
        pipeline_report.section(reports["pipeline"]),
        "",
        _SYNC,
        *_sync_lines(reports["sync"]),
    ]
    return "\n".join(sections).rstrip() + "\n"


def _sync_lines(report: Mapping[str, Any]) -> list[str]:
    lines = ["| from | records | into the database | and an epoch |", "|---|---|---|---|"]
    rates: dict[tuple[str, int], dict[str, float]] = {}
    for each in report["figures"]:
        if each["metric"] == "records_per_second":
            params = each["params"]
            size = params.get("page_size")
            name = f"wire, {size} a page" if size else "a file"
            rates.setdefault((name, params["records"]), {})[params["until"]] = each["value"]
    for (name, records), rate in rates.items():
        lines.append(
            f"| {name} | {records:,} | {rate['database']:,.0f} a second | {rate['epoch']:,.0f} a second |"
        )
    return lines


def main(docs: str) -> None:
    reports = {
        name: json.loads((Path(docs) / "data" / f"{name}.json").read_text(encoding="utf-8"))
        for name in _BENCHES
    }
    (Path(docs) / "benchmarks.md").write_text(page(reports), encoding="utf-8")
    (Path(docs) / "pictures/index.svg").write_text(index_report.plot(reports["index"]), encoding="utf-8")
    (Path(docs) / "pictures/pipeline.svg").write_text(
        pipeline_report.plot(reports["pipeline"]), encoding="utf-8"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
