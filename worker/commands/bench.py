"""`bench`: measures on this machine, prints a table, and with `--json` the figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.commands.output import add_row, console, json_option, print_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.bench.figures import Figure

_photos = click.option(
    "--photos",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs; its subfolders count.",
)
_limit = click.option("--limit", type=click.IntRange(1), help="Of the photographs take only so many.")


@click.group(epilog="Example: hashwarden bench accuracy --photos photos/ --limit 12")
def bench() -> None:
    """Measure what is found and what it costs, on this machine and your own pictures.

    Exit codes say whether it ran, not whether it was quick.
    """
    # As in the sandbox: numpy's own threads would wait for each other at the cost of what is measured.
    for library in ("OPENBLAS", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


@bench.command(epilog="Example: hashwarden bench accuracy --photos photos/ --profile thorough --json")
@_photos
@_limit
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    type=click.Choice(["plain", "standard", "thorough"]),
    help="Profile to try; several may be given. All three without it.",
)
@click.option(
    "--clips",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of videos: also says how often another moment of a shot is taken for the one in the bank.",
)
@click.option("--edit", "edits", multiple=True, help="Edit to try; several may be given. All without it.")
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True, help="Processes at once.")
@json_option
def accuracy(
    photos: Path,
    limit: int | None,
    profiles: tuple[str, ...],
    clips: Path | None,
    edits: tuple[str, ...],
    processes: int,
    as_json: bool,
) -> None:
    """Edit photographs in everyday ways and say how many copies are found, and what is matched wrongly.

    Part of the edits and a third of the photographs were not used while the views were made; they are told apart. With
    --limit the bank also holds hundreds of crops of each photograph that is left out: nothing may match those.
    """
    from worker.bench.accuracy import figures, measure
    from worker.bench.edits import EDITS
    from worker.bench.report import accuracy_rows
    from worker.bench.scenes import scene_figures
    from worker.domain import Profile

    for edit in edits:
        if edit not in EDITS:
            raise click.UsageError(f"There is no edit {edit!r}. Edits: {', '.join(EDITS)}.")
    tried = [Profile(profile) for profile in profiles] or list(Profile)
    films = _clips(clips) if clips else []
    pictures = _pictures(photos, limit)
    strangers = [path for path in _pictures(photos, None) if path not in pictures]
    trials = measure(pictures, tried, list(edits) or list(EDITS), processes, strangers)
    found = figures(trials) + scene_figures(films, tried, processes)
    if as_json:
        _print_report("accuracy", found)
        return
    rows = table("Edit", "Photographs", "Profile", "Within 31", "Within review radius", "threatexchange")
    for row in accuracy_rows(found):
        add_row(rows, *row)
    console().print(rows)
    for figure in found:
        if figure.metric == "false_matches":
            about = figure.params
            click.echo(
                f"{about['profile']}: {figure.value:.0f} of {about['looked_up']} uploads matched something unrelated"
                f" among {about['bank']} hashes."
            )
        if figure.metric == "same_scene":
            about = figure.params
            click.echo(
                f"{about['profile']}: {figure.value:.0%} of {about['pairs']} moments {about['seconds']:.0f} s apart"
                f" in one shot came within {about['radius']} bits."
            )


@bench.command("hash", epilog="Example: hashwarden bench hash --photos photos/ --limit 6 --json")
@_photos
@_limit
@json_option
def hash_(photos: Path, limit: int | None, as_json: bool) -> None:
    """Pictures a second of one core for 12 and 2 megapixel JPEGs, beside python-threatexchange's way."""
    from worker.bench.costs import TWELVE_MEGAPIXELS, TWO_MEGAPIXELS, hash_figures

    paths = _pictures(photos, limit)
    found = [each for pixels in (TWELVE_MEGAPIXELS, TWO_MEGAPIXELS) for each in hash_figures(paths, pixels)]
    _print("hash", found, as_json=as_json)


@bench.command(epilog="Example: hashwarden bench views --photos photos/ --limit 6 --json")
@_photos
@_limit
@click.option(
    "--hashes",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="Hashes that are looked up in.",
)
@json_option
def views(photos: Path, limit: int | None, hashes: int, as_json: bool) -> None:
    """CPU of each profile's views of a 2 megapixel JPEG, and of looking them up."""
    from worker.bench.costs import view_figures

    _print("views", view_figures(_pictures(photos, limit), hashes), as_json=as_json)


@bench.command(epilog="Example: hashwarden bench video --videos clips/ --json")
@click.option(
    "--videos",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of video files.",
)
@json_option
def video(videos: Path, as_json: bool) -> None:
    """CPU seconds for a minute of video, at 4 frames a second and by default."""
    from worker.bench.film import video_figures

    _print("video", video_figures(_clips(videos)), as_json=as_json)


@bench.command(epilog="Example: hashwarden bench index --hashes 1000000 --data clustered --json")
@click.option(
    "--hashes",
    "sizes",
    multiple=True,
    type=click.IntRange(1),
    help="Hashes in the index; several may be given. 10,000, 100,000, 1 and 10 million without it.",
)
@click.option(
    "--radius",
    "radii",
    multiple=True,
    type=click.IntRange(0, 48),
    help="Bits within which to find; several may be given. 31 and 40 without it.",
)
@click.option(
    "--data",
    type=click.Choice(["random", "clustered", "both"]),
    default="both",
    show_default=True,
    help="Evenly spread hashes, or half of them in clusters of near copies.",
)
@click.option(
    "--slow-peers",
    is_flag=True,
    help="Above a million hashes also build FAISS multi-hash, which takes minutes.",
)
@json_option
def index(sizes: tuple[int, ...], radii: tuple[int, ...], data: str, slow_peers: bool, as_json: bool) -> None:
    """Look hashes up within a radius, one and many in a call, beside FAISS flat and FAISS multi-hash; one thread.

    Fails if the hits are not those of FAISS flat. Ten million hashes take 2 GiB of memory and as much in the folder
    for temporary files, and some minutes.
    """
    from worker.bench.banks import BANKS
    from worker.bench.index import RADII, SIZES, index_figures

    kinds = list(BANKS) if data == "both" else [data]
    found = list(index_figures(sizes or SIZES, radii or RADII, kinds, slow_peers=slow_peers))
    _print("index", found, as_json=as_json)


@bench.command(epilog="Example: hashwarden bench sync --records 1000000 --json")
@click.option(
    "--records",
    type=click.IntRange(1),
    default=200_000,
    show_default=True,
    help="Records that are loaded from a file.",
)
@click.option(
    "--wire-records",
    type=click.IntRange(0),
    default=200_000,
    show_default=True,
    help="Records that are loaded from a practice bank, with each page size; 0: none.",
)
@json_option
def sync(records: int, wire_records: int, as_json: bool) -> None:
    """Records a second that a first load takes into an embedded PostgreSQL and an epoch, in a temporary folder.

    Ten million take some minutes and 8 GiB of disk.
    """
    from worker.bench.sync import file_figures, wire_figures
    from worker.commands.scratch import scratch_database

    found = list(file_figures(scratch_database, records))
    if wire_records:
        found += wire_figures(scratch_database, wire_records)
    _print("sync", found, as_json=as_json)


@bench.command(epilog="Example: hashwarden bench pipeline --photos photos/ --limit 12 --json")
@_photos
@_limit
@click.option(
    "--uploads", type=click.IntRange(8), default=100, show_default=True, help="Uploads of each measurement."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Uploads at once of the one worker, on its one core: one is read while another is decoded.",
)
@click.option(
    "--hashes", type=click.IntRange(1), default=100_000, show_default=True, help="Hashes that are searched."
)
@json_option
def pipeline(
    photos: Path, limit: int | None, uploads: int, concurrency: int, hashes: int, as_json: bool
) -> None:
    """Uploads a second from event to decision, beside decoding and hashing alone, and how soon a match is withheld.

    Of JPEGs of 12 megapixels and of a mix of 2 on average, by a real worker on one core and embedded servers on the
    others. Let nothing else run meanwhile.
    """
    from worker.bench.cores import Cores
    from worker.bench.pipeline import pipeline_figures
    from worker.bench.uploads import mixed, twelve_megapixels
    from worker.commands.scratch_worker import scratch_worker

    cores = Cores.split()
    if cores is None:
        raise click.UsageError("It takes two cores: one for the worker, one for the servers.")
    first, *others = _pictures(photos, limit)
    if not others:
        raise click.UsageError("It takes two photographs: one that matches and one that does not.")
    found: list[Figure] = []
    for make in (twelve_megapixels, mixed):
        matching = make([first])
        with scratch_worker(cores, concurrency, matching, hashes) as place:
            found += pipeline_figures(place, make(others), matching, uploads)
    _print("pipeline", found, as_json=as_json)


@bench.command(epilog="Example: hashwarden bench retro --uploads 10000000 --hashes 1000 --json")
@click.option(
    "--uploads", type=click.IntRange(1), default=1_000_000, show_default=True, help="Hashes in the ledger."
)
@click.option("--hashes", type=click.IntRange(1), default=1000, show_default=True, help="New bank hashes.")
@json_option
def retro(uploads: int, hashes: int, as_json: bool) -> None:
    """Seconds and memory of searching the past for new hashes, on a PostgreSQL of its own."""
    from worker.bench.retro import RETRO_SETTINGS, retro_figures
    from worker.commands.scratch import scratch_database

    with scratch_database(**RETRO_SETTINGS) as (settings, sessions):
        found = list(retro_figures(sessions, settings, uploads, hashes))
    _print("retro", found, as_json=as_json)


@bench.command(epilog="Example: hashwarden bench changes --hashes 10000000 --json")
@click.option(
    "--hashes", type=click.IntRange(10_000), default=1_000_000, show_default=True, help="Hashes in the bank."
)
@json_option
def changes(hashes: int, as_json: bool) -> None:
    """Seconds until 1,000 changes of a bank are searched, and the longest look-up meanwhile; on its own PostgreSQL.

    Ten million take some minutes and 8 GiB of disk.
    """
    from worker.bench.changes import change_figures
    from worker.commands.scratch import scratch_database

    with scratch_database() as (settings, sessions):
        found = list(change_figures(sessions, settings, hashes))
    _print("changes", found, as_json=as_json)


@bench.command(epilog="Example: hashwarden bench desk --waiting 1000 --reviewers 20 --json")
@click.option("--waiting", type=click.IntRange(1), default=1000, show_default=True, help="Reviews that wait.")
@click.option(
    "--reviewers", type=click.IntRange(1), default=20, show_default=True, help="Reviewers who work at once."
)
@click.option(
    "--seconds", type=click.FloatRange(1), default=60, show_default=True, help="How long they work."
)
@json_option
def desk(waiting: int, reviewers: int, seconds: float, as_json: bool) -> None:
    """How soon the console's pages answer while many reviewers work; on its own PostgreSQL."""
    from worker.bench.desk import DESK_SETTINGS, desk_figures
    from worker.commands.scratch import scratch_database

    with scratch_database(**DESK_SETTINGS) as (settings, sessions):
        found = list(desk_figures(sessions, settings, waiting, reviewers, seconds))
    _print("desk", found, as_json=as_json)


def _pictures(folder: Path, limit: int | None) -> list[Path]:
    from worker.bench.accuracy import photographs

    found = photographs(folder, limit)
    if not found:
        raise click.UsageError(f"There is no photograph in {folder}.")
    return found


def _clips(folder: Path) -> list[Path]:
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in {".mp4", ".mov", ".mkv", ".webm"}
    )
    if not found:
        raise click.UsageError(f"There is no video in {folder}.")
    return found


def _print(benchmark: str, figures: Sequence[Figure], *, as_json: bool) -> None:
    if as_json:
        _print_report(benchmark, figures)
        return
    rows = table("Subject", "Metric", "Value", "Unit", "With")
    for figure in figures:
        about = ", ".join(f"{name} {value}" for name, value in figure.params.items())
        add_row(rows, figure.subject, figure.metric, figure.value, figure.unit, about)
    console().print(rows)


def _print_report(benchmark: str, figures: Sequence[Figure]) -> None:
    from worker.bench.figures import report

    print_json(report(benchmark, figures))
