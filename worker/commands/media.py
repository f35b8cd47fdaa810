"""`hash` and `match`: the same sandbox, hashes and matching as in production, on files and without a database."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.commands.output import add_row, console, json_option, print_json, printable, table

if TYPE_CHECKING:
    from config.settings import MediaSettings
    from worker.domain import HashedMedia, Match
    from worker.matching import SignalIndex
    from worker.media.media import Media

_READ_BYTES = 2**20

_profile = click.option(
    "--profile",
    type=click.Choice(["plain", "standard", "thorough"]),
    help="Views that are made; without it, those of the policy.",
)
_paths = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))


@dataclass(frozen=True, slots=True)
class _HashedFile:
    path: Path
    md5: bytes
    sha256: bytes
    media: HashedMedia


@click.command("hash", epilog="Example: hashwarden hash --json photos/ clip.mp4")
@_paths
@json_option
@click.option("--views", is_flag=True, help="With --json: also the hash of each view that is looked up.")
@_profile
def hash_command(paths: tuple[Path, ...], as_json: bool, views: bool, profile: str | None) -> None:
    """Hash pictures and videos: MD5, SHA-256, and PDQ of the picture or of each frame.

    Folders are walked. Files are known by their content, not by their name; what is no picture or video is
    `unsupported`, what is one but can't be decoded is `unscannable`, each with a reason.
    """
    hashed = table("File", "Kind", "Reason", "Quality", "PDQ")
    problems = _Problems()
    for file in _hash_files(paths, problems, profile if views else "plain"):
        media = file.media
        if as_json:
            print_json(_hash_line(file, with_views=views))
            continue
        first = media.originals[0] if media.originals else None
        more = f" and {len(media.originals) - 1} more frames" if len(media.originals) > 1 else ""
        add_row(
            hashed,
            file.path,
            media.kind,
            media.reason,
            first.quality if first else "",
            first.hash.hex() + more if first else "",
        )
    if not as_json and hashed.row_count:
        console().print(hashed)
    problems.end()


@click.command(epilog="Example: hashwarden match --bank bank.txt --json photos/")
@_paths
@click.option(
    "--bank",
    "bank_file",
    required=True,
    type=click.Path(path_type=Path),
    help="File of `type value` lines: pdq <64 hex>, video_md5 <32 hex>, vpdq <JSON array>.",
)
@_profile
@json_option
def match(paths: tuple[Path, ...], bank_file: Path, profile: str | None, as_json: bool) -> None:
    """Look files up in a bank file and show what they match, under the default rule of the policy.

    Every view of the profile is looked up: mirrored, turned, with inverted colours; cropped, framed or covered
    copies are put back together as far as that can be guessed. A bank's PDQ also finds a still inside a video, and a
    vPDQ a still of its video; two videos match by the share of frames and seconds that agree.
    """
    epoch, look_up = _bank(bank_file)
    found = table("File", "Kind", "Match", "Distance", "View", "Time", "Effect")
    problems = _Problems()
    for file in _hash_files(paths, problems, profile, epoch):
        matches = look_up(file)
        if as_json:
            print_json(
                {
                    "path": str(file.path),
                    "kind": file.media.kind,
                    "matched": bool(matches),
                    "matches": [_match_fields(one, signal) for one, signal in matches],
                }
            )
            continue
        _add_matches(found, file, [one for one, _ in matches])
    if not as_json and found.row_count:
        console().print(found)
    problems.end()


class _Problems:
    """Files that could not be read: each is told at once, and the command fails when the others are done."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, path: Path, what: str) -> None:
        self._count += 1
        click.echo(f"Error: {printable(str(path))}: {what}.", err=True)

    def end(self) -> None:
        if self._count:
            raise click.exceptions.Exit(1)


def _files(paths: tuple[Path, ...], problems: _Problems) -> Iterator[Path]:
    """The files that the arguments name, folders walked in the order of names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue

        def unreadable(error: OSError) -> None:
            problems.add(Path(str(error.filename)), error.strerror or "can't be read")

        for folder, folders, names in os.walk(path, onerror=unreadable):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))


def _hash_files(
    paths: tuple[Path, ...], problems: _Problems, profile: str | None, epoch: SignalIndex | None = None
) -> Iterator[_HashedFile]:
    """Each readable file with its hashes; with an epoch, those of a closer look at what came near it as well."""
    from config.settings import load_settings
    from worker.domain import Profile
    from worker.matching import hold_radius, widest_radius
    from worker.media.limits import Limits
    from worker.media.sandbox import ZygoteSandbox
    from worker.second_look import second_look

    loaded = load_settings()
    settings = loaded.media
    views = Profile(profile or loaded.policy.profile)
    limits = Limits(video_bytes=settings.spool_bytes, video_rate=settings.frames_per_second)
    with ZygoteSandbox(limits) as sandbox:

        def hash_media(media: Media) -> HashedMedia:
            found = sandbox.hash(media, views)
            if epoch is None:
                return found
            return second_look(
                found,
                lambda closer: sandbox.hash(media, views, closer),
                epoch,
                hold_radius(loaded.policy),
                widest_radius(loaded.policy),
            )

        for path in _files(paths, problems):
            try:
                yield _hash_file(path, settings, hash_media)
            except FileNotFoundError:
                problems.add(path, "there is no such file; correct the path")
            except OSError as error:
                problems.add(path, f"it can't be read ({error.strerror}); correct its permissions or skip it")


def _hash_file(
    path: Path, settings: MediaSettings, hash_media: Callable[[Media], HashedMedia]
) -> _HashedFile:
    """Reads a file once, for its digests and into the sandbox; one over the spool limit for its digests only."""
    import hashlib

    from worker.media.limits import Reason, refused
    from worker.media.media import memfd_from

    md5 = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256()

    # A pipe would block for ever, and is no upload.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(0, "not a regular file", str(path))

        def chunks() -> Iterator[bytes]:
            while chunk := file.read(_READ_BYTES):
                md5.update(chunk)
                sha256.update(chunk)
                yield chunk

        if about.st_size > settings.spool_bytes:
            for _ in chunks():
                pass
            return _HashedFile(path, md5.digest(), sha256.digest(), refused(Reason.FILE_SIZE_LIMIT))
        with memfd_from(chunks()) as media:
            return _HashedFile(path, md5.digest(), sha256.digest(), hash_media(media))


def _hash_line(file: _HashedFile, *, with_views: bool) -> dict[str, Any]:
    from worker.domain import Kind

    media = file.media
    first = media.originals[0] if media.kind is Kind.IMAGE and media.originals else None
    line: dict[str, Any] = {
        "path": str(file.path),
        "kind": media.kind,
        "reason": media.reason,
        "md5": file.md5.hex(),
        "sha256": file.sha256.hex(),
        "pdq": {"hash": first.hash.hex(), "quality": first.quality} if first else None,
        "frames": [
            {"time": frame.frame_time, "hash": frame.hash.hex(), "quality": frame.quality}
            for frame in media.originals
            if frame.frame_time is not None
        ],
    }
    if with_views:
        line["views"] = [
            {
                "view": view.view,
                "hash": view.hash.hex(),
                "quality": view.quality,
                "frame_time": view.frame_time,
                "region": view.region,
            }
            for view in media.hashes
        ]
    return line


def _bank(path: Path) -> tuple[SignalIndex, Callable[[_HashedFile], list[tuple[Match, str]]]]:
    """The bank file as an epoch, and a function from a hashed file to its matches with the bank's hash as text."""
    from bank_sync.bank import Entry
    from bank_sync.epoch import epoch_from_file
    from bank_sync.exchanges.files import read_signals
    from bank_sync.signals import write
    from config.policy import BankSettings
    from config.settings import load_settings
    from worker.matching import find_matches

    name = "file"
    policy = load_settings().policy
    epoch = epoch_from_file(path)
    signals: dict[int, str] = {}
    entries: dict[int, Entry] = {}
    for number, signal_type, signal in read_signals(path):
        signals[number] = write(signal_type, signal)
        entries[number] = Entry(
            id=number,
            bank=name,
            signal_type=signal_type,
            live=True,
            quality=100,
            raw_status="Active",
            case_count=0,
            last_modified=0,
        )
    banks = {name: BankSettings(exchange="file", path=path)}

    def look_up(file: _HashedFile) -> list[tuple[Match, str]]:
        matches = find_matches(file.media, file.md5, epoch, lambda _: entries, policy, banks)
        return [(one, signals[one.entry_id]) for one in matches]

    return epoch, look_up


def _match_fields(match: Match, signal: str) -> dict[str, Any]:
    from worker.media.views import WORDS

    return {
        "signal_type": match.signal_type,
        "hash": signal,
        "distance": match.distance,
        "view": match.view,
        "view_words": "" if match.signal_type == "video_md5" else WORDS[match.view],
        "region": match.region,
        "frame_time": match.frame_time,
        "effect": match.effect,
    }


def _add_matches(found: Any, file: _HashedFile, matches: list[Match]) -> None:  # noqa: ANN401 (rich loads late)
    from worker.media.views import WORDS

    if not matches:
        add_row(found, file.path, file.media.kind, file.media.reason or "none", "", "", "", "")
    for one in matches:
        at = "" if one.frame_time is None else f"{one.frame_time:.1f} s"
        view = WORDS.get(one.view, one.view)
        add_row(found, file.path, file.media.kind, one.signal_type, one.distance, view, at, one.effect)
