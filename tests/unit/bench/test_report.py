"""What the accuracy benchmark measured is what the page says."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from worker.bench.accuracy import Trial, figures
from worker.bench.figures import report
from worker.bench.report import accuracy_rows, page, plot
from worker.cli import cli

ROOT = Path(__file__).parents[3]


def _trial(edit: str, own: int, *, other: int = 256, peer: int = 90, photo: str = "a.jpg") -> Trial:
    return Trial(photo, edit, "thorough", own, peer, other, "b.jpg")


def test_recall_counts_both_radii_and_the_peer() -> None:
    found = figures([_trial("blur", 31, peer=31), _trial("blur", 40), _trial("blur", 41)])
    shares = {(each.subject, each.params["radius"]): each.value for each in found if each.metric == "recall"}
    assert shares == {
        ("hashwarden", 31): pytest.approx(1 / 3, abs=1e-3),
        ("hashwarden", 40): pytest.approx(2 / 3, abs=1e-3),
        ("threatexchange", 31): pytest.approx(1 / 3, abs=1e-3),
    }


def test_a_match_with_something_else_is_told_by_name() -> None:
    found = figures([_trial("blur", 0, other=40), _trial("page", 256, other=41, photo="page 1")])
    (false,) = [each for each in found if each.metric == "false_matches"]
    assert (false.value, false.params["pairs"]) == (1, ["a.jpg (blur): b.jpg"])


def test_an_unknown_edit_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    told = CliRunner().invoke(cli, ["bench", "accuracy", "--photos", str(tmp_path), "--edit", "nonsense"])
    assert told.exit_code == 2
    assert "nonsense" in told.output


def test_a_folder_without_photographs_is_named(tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["bench", "hash", "--photos", str(tmp_path)])
    assert told.exit_code == 2
    assert tmp_path.name in told.output


def test_the_page_and_the_plot_are_those_of_the_figures() -> None:
    data = json.loads((ROOT / "docs/data/accuracy.json").read_text(encoding="utf-8"))
    assert (ROOT / "docs/accuracy.md").read_text(encoding="utf-8") == page(data), "run `make accuracy`"
    assert (ROOT / "docs/pictures/accuracy.svg").read_text(encoding="utf-8") == plot(data)


def test_the_rows_have_the_weakest_first_and_the_means_last() -> None:
    rows = accuracy_rows(figures([_trial("blur", 0), _trial("grey", 50)]))
    assert [row[0] for row in rows] == ["grey", "blur", "mean", "mean", "mean"]


def test_figures_are_printed_in_their_form() -> None:
    printed = report("accuracy", figures([_trial("blur", 3)]))
    assert set(printed) == {"benchmark", "machine", "figures"}
    for each in printed["figures"]:
        assert set(each) == {"subject", "metric", "value", "unit", "params"}
        assert re.fullmatch(r"[a-z_]+", each["metric"])
    assert printed["figures"] == [asdict(each) for each in figures([_trial("blur", 3)])]
