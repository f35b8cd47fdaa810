"""What the worker asks of the zygote about one object: to hash it, or to show it. Fixed layout, no decoder."""

import struct
from dataclasses import dataclass

from worker.domain import CloserLook, Kind, Placement, Profile
from worker.media.limits import Limits
from worker.media.record import PLACEMENT, pack_placement, parse_placement
from worker.media.rungs import MOST_STILLS, Cut, Rung, Showing
from worker.media.sniff import Format
from worker.media.views import CODES, NAMES

_HEADER = struct.Struct("<QBB")
"""Job number, index of the format in `Format`, and the task: one of the two below."""
_HASH, _SHOW = range(2)
_HASHING = struct.Struct("<BBB")
"""Index of the profile in `Profile`; of a closer look the number and how many seeds follow, of a first look neither."""
_SEED = struct.Struct(f"<B{PLACEMENT}")
"""Code of the view and its placement."""
_SHOWING = struct.Struct("<BBB4d12d")
"""Rung; 0 for the whole, 1 or 2 for a region of the stored or the upright picture; how many seconds count; the region;
the seconds."""
_WHOLE, _STORED, _UPRIGHT = range(3)
MOST_SEEDS = 16
LONGEST = _HEADER.size + max(_HASHING.size + MOST_SEEDS * _SEED.size, _SHOWING.size)
"""Bytes of the longest request."""

_FORMATS = tuple(Format)
_PROFILES = tuple(Profile)


@dataclass(frozen=True, slots=True)
class Hashing:
    """To hash an object with a profile's views, or with those of a closer look."""

    profile: Profile = Profile.PLAIN
    closer: CloserLook | None = None


def task_times(kind: Kind, task: Hashing | Showing, limits: Limits) -> tuple[float, float]:
    """Seconds of CPU and of the wall clock that the task may take: somebody waits for a showing."""
    if kind is Kind.IMAGE:
        return limits.image_cpu, limits.image_wall
    if isinstance(task, Showing):
        return limits.stills_cpu, limits.stills_wall
    return limits.video_cpu, limits.video_wall


def pack(job: int, format_: Format, task: Hashing | Showing) -> bytes:
    """One request; at most `MOST_SEEDS` seeds of a closer look and `MOST_STILLS` seconds are sent."""
    if isinstance(task, Hashing):
        return _HEADER.pack(job, _FORMATS.index(format_), _HASH) + _pack_hashing(task)
    return _HEADER.pack(job, _FORMATS.index(format_), _SHOW) + _pack_showing(task)


def unpack(request: bytes) -> tuple[int, Format, Hashing | Showing]:
    """Read what `pack` wrote."""
    job, format_code, task = _HEADER.unpack_from(request)
    rest = request[_HEADER.size :]
    return job, _FORMATS[format_code], _unpack_hashing(rest) if task == _HASH else _unpack_showing(rest)


def _pack_hashing(task: Hashing) -> bytes:
    closer = task.closer
    seeds = closer.seeds[:MOST_SEEDS] if closer else ()
    header = _HASHING.pack(_PROFILES.index(task.profile), closer.number if closer else 0, len(seeds))
    return header + b"".join(_SEED.pack(CODES[name], *pack_placement(placement)) for name, placement in seeds)


def _unpack_hashing(request: bytes) -> Hashing:
    profile_code, number, count = _HASHING.unpack_from(request)
    seeds: list[tuple[str, Placement]] = []
    for at in range(count):
        code, *place = _SEED.unpack_from(request, _HASHING.size + at * _SEED.size)
        placement = parse_placement(place)
        if placement is not None:
            seeds.append((NAMES[code], placement))
    return Hashing(_PROFILES[profile_code], CloserLook(number, tuple(seeds)) if seeds else None)


def _pack_showing(task: Showing) -> bytes:
    seconds = task.seconds[:MOST_STILLS]
    where = _WHOLE if task.cut is None else _UPRIGHT if task.cut.upright else _STORED
    region = task.cut.region if task.cut else (0.0, 0.0, 1.0, 1.0)
    filled = (*seconds, *[0.0] * (MOST_STILLS - len(seconds)))
    return _SHOWING.pack(task.rung, where, len(seconds), *region, *filled)


def _unpack_showing(request: bytes) -> Showing:
    rung, where, count, left, top, width, height, *seconds = _SHOWING.unpack(request)
    cut = None if where == _WHOLE else Cut((left, top, width, height), where == _UPRIGHT)
    return Showing(Rung(rung), cut, tuple(seconds[:count]))
