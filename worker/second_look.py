"""Looks closer at a picture that came near a bank's hash without matching it, and keeps the views that count.

The sandbox guesses coarsely where the original lay; only where a guess comes near a stored hash is the picture decoded
again and looked at finely around it. The bank's hashes never enter the sandbox: it is told places, not hashes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from worker.domain import CloserLook, HashedMedia, Kind, Placement, ViewHash
from worker.matching import SignalIndex
from worker.media.edited import WHOLE, placed
from worker.media.views import DIHEDRAL

NEAR = 62
"""Bits within which about one of a million unrelated hashes comes of some view: from there a closer look is worth it.

The index is asked for what it meets up to here on its way to the radius that holds: among a million nineteen in twenty
at 50 bits, six in ten at 62. A copy has many views near its place, so to miss some loses little; to search up to the
review radius for sure would take three times as long."""
_FURTHEST = 70
_BITS_A_DECADE = 6.6
"""In a bank of a tenth the size chance comes so much less near (measured on 51,200 crops of photographs)."""
_LOOKS = 5
_GIVE_UP = (60, 52, 50, 46)
"""After the first and the second closer look: an entry that is no nearer than this is not looked at again."""
_ENTRIES = 3
_SEEDS = (3, 3, 3, 3, 3)
"""Places to look at for each entry, in each look."""
_SAME_PLACE = 0.03
"""Of the upload: two seeds nearer than this see the same."""
_READ = 200
"""Views of one entry among which its seeds are chosen."""


LookCloser = Callable[[CloserLook], HashedMedia]
_Nearby = dict[int, list[tuple[int, ViewHash]]]
"""By entry: distances and views, the nearest first."""


def second_look(
    media: HashedMedia,
    look_closer: LookCloser,
    index: SignalIndex,
    hold_radius: int,
    review_radius: int,
    standing: Callable[[Collection[int]], Collection[int]] = lambda ids: ids,
) -> HashedMedia:
    """The media with the views of an edited copy that came within `review_radius` of a bank hash, and no others.

    `look_closer` hashes the same object again around the places it is given. Entries that a view comes within
    `hold_radius` of are not looked at again. `standing` says which entries may match now: only a few are looked at, and
    one that is withdrawn or of a bank that is off must not take another's place. Raises what all of these raise.
    """
    guessed = [view for view in media.hashes if view.placement is not None]
    if media.kind is not Kind.IMAGE or not guessed:
        return media
    plain = [view for view in media.hashes if view.placement is None]
    whole = [view for view in plain if view.frame_time is None and view.view in DIHEDRAL]
    near = _search(index, [*whole, *guessed], hold_radius)
    may_match = set(standing(near))
    near = {entry: views for entry, views in near.items() if entry in may_match}
    best = _best(near, review_radius)
    wanted = sorted((views[0][0], entry) for entry, views in near.items())
    open_entries = [entry for distance, entry in wanted if distance > hold_radius][:_ENTRIES]
    for number in range(_LOOKS):
        seeds = _distinct_seeds((near[entry][:_READ] for entry in open_entries), _SEEDS[number])
        if not seeds:
            break
        closer = look_closer(CloserLook(number, tuple(seeds)))
        found = _search(index, [view for view in closer.hashes if view.placement is not None], hold_radius)
        near = {
            entry: sorted([*found.get(entry, ()), *near[entry][:1]], key=lambda each: each[0])
            for entry in open_entries
        }
        best |= _best(near, review_radius)
        limit = _GIVE_UP[min(number, len(_GIVE_UP) - 1)]
        open_entries = [entry for entry in open_entries if hold_radius < near[entry][0][0] <= limit]
    kept = {id(view): view for view in best.values() if view.placement is not None}
    return replace(media, hashes=(*plain, *kept.values()))


def near_enough(hashes: int) -> int:
    """Bits from which a coarse view is worth a closer look in an index of so many hashes."""
    return min(_FURTHEST, round(NEAR + _BITS_A_DECADE * (6 - math.log10(max(hashes, 1)))))


def _search(index: SignalIndex, views: Sequence[ViewHash], radius: int) -> _Nearby:
    if not views:
        return {}
    queries = np.frombuffer(b"".join(view.hash for view in views), dtype=np.uint8).reshape(-1, 32)
    near: _Nearby = {}
    for hit in index.search_pdq(queries, radius, near_enough(index.size)):
        near.setdefault(hit.entry_id, []).append((hit.distance, views[hit.query]))
    for found in near.values():
        found.sort(key=lambda each: each[0])
    return near


def _best(near: _Nearby, radius: int) -> dict[int, ViewHash]:
    return {entry: found[0][1] for entry, found in near.items() if found[0][0] <= radius}


def _distinct_seeds(
    found: Iterable[Sequence[tuple[int, ViewHash]]], most: int
) -> list[tuple[str, Placement]]:
    """The nearest places of each entry that are not nearly the same place."""
    seeds: list[tuple[str, Placement]] = []
    for views in found:
        of_entry: list[tuple[str, Placement]] = []
        for _, view in views:
            placement = view.placement or placed(WHOLE, view.view)
            if len(of_entry) < most and not any(_same(placement, other) for _, other in of_entry):
                of_entry.append((view.view, placement))
        seeds += of_entry
    return seeds


def _same(one: Placement, other: Placement) -> bool:
    apart = max(abs(a - b) for a, b in zip(one.corners, other.corners, strict=True))
    return apart < _SAME_PLACE and (one.cover is None) == (other.cover is None)
