"""Looks the hashes of one content up in the index and says which bank entries they are near.

It never decides what a match means, and knows nothing of storage or queue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bank_sync.bank import Entry
from config.policy import BankSettings, PolicySettings, RuleSettings
from worker.domain import Effect, HashedMedia, Kind, Match, ViewHash
from worker.film import BankFilm, Film, Shot, agreements

_QUARTER = 0.25
"""Seconds."""


class IndexHit(Protocol):
    """One stored hash near one query."""

    @property
    def query(self) -> int: ...
    @property
    def entry_id(self) -> int: ...
    @property
    def distance(self) -> int: ...
    @property
    def frame_time(self) -> float | None:
        """Seconds into the bank's video; None for a picture's hash."""
        ...


class SignalIndex(Protocol):
    """One index epoch, as matching needs it."""

    @property
    def number(self) -> int: ...
    @property
    def holds(self) -> int:
        """The epoch that first had this content: an older one after a roll-back."""
        ...

    @property
    def size(self) -> int:
        """How many PDQ hashes are searched, of pictures and of frames."""
        ...

    def search_pdq(self, queries: npt.NDArray[np.uint8], radius: int, met: int = 0) -> Sequence[IndexHit]:
        """All stored hashes within `radius` bits (inclusive) of each row of `queries`, shape (n, 32).

        Beyond it, up to `met` bits, what the index meets on its way.
        """
        ...

    def frames_of(self, entry_id: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """The good frames of a bank's video, shape (n, 32), each hash once, and the seconds of each."""
        ...

    def search_md5(self, md5: bytes) -> Sequence[int]:
        """Entry ids of exactly this MD5."""
        ...


EntryLookup = Callable[[Collection[int]], Mapping[int, Entry]]
"""From entry ids to what is known of them now; ids that are gone are left out."""


def find_matches(
    media: HashedMedia,
    md5: bytes | None,
    index: SignalIndex,
    entries: EntryLookup,
    policy: PolicySettings,
    banks: Mapping[str, BankSettings],
) -> tuple[Match, ...]:
    """Every live entry of an enabled bank near the content, each once by its closest view, nearest first.

    The index answers for its epoch; `entries` is asked what is live now, so that a hash withdrawn since the
    epoch was published does not match. From the rule's radius to its review radius a match only flags. A hash under
    the rule's quality counts only within the rule's low-quality radius and never holds. A video matches a bank's video
    by how much of them agrees (`film`); a picture, animated or not, matches it by any frame, as a bank's picture
    matches a video.
    """
    views = media.hashes
    hits: list[tuple[int, int, ViewHash | None]] = []
    shots: dict[int, list[Shot]] = {}
    for row, hit in _look_up(views, index, widest_radius(policy)):
        if media.kind is not Kind.VIDEO or hit.frame_time is None or views[row].frame_time is None:
            hits.append((hit.entry_id, hit.distance, views[row]))
        else:
            shots.setdefault(hit.entry_id, []).append(Shot(row, hit.distance, hit.frame_time))
    if md5 is not None:
        hits += [(entry_id, 0, None) for entry_id in index.search_md5(md5)]
    known = standing({*shots, *(entry_id for entry_id, _, _ in hits)}, entries, banks)
    found = [
        _judge(
            known[entry_id], distance, view, policy.rule(known[entry_id].bank, known[entry_id].signal_type)
        )
        for entry_id, distance, view in hits
        if entry_id in known
    ]
    upload = Film(views, media.duration)
    for entry_id in shots.keys() & known.keys():
        rule = policy.rule(known[entry_id].bank, known[entry_id].signal_type)
        bank = BankFilm(*index.frames_of(entry_id))
        found += _judge_film(known[entry_id], upload, bank, shots[entry_id], rule)
    best: dict[int, Match] = {}
    for match in found:
        if match is not None and (match.entry_id not in best or _order(match) < _order(best[match.entry_id])):
            best[match.entry_id] = match
    return tuple(sorted(best.values(), key=lambda match: (match.distance, match.entry_id)))


def standing(
    ids: Collection[int], entries: EntryLookup, banks: Mapping[str, BankSettings]
) -> dict[int, Entry]:
    """Those of the entries that may match now: live, and of a bank that is on."""
    return {
        entry_id: entry
        for entry_id, entry in entries(ids).items()
        if entry.live and entry.bank in banks and banks[entry.bank].enabled
    }


def _look_up(views: Sequence[ViewHash], index: SignalIndex, radius: int) -> Iterator[tuple[int, IndexHit]]:
    """The hits of all views, each with its row; turned forms of a video's frames only as far as they are needed.

    Few videos are mirrored or turned, and then all of their frames are: the other forms of frames between quarters of a
    second are looked up once that form of any other frame was met.
    """
    first: list[int] = []
    later: list[int] = []
    quarter, whole = -1.0, True
    for row, view in enumerate(views):
        if view.view == "":
            before, quarter = quarter, -1.0 if view.frame_time is None else view.frame_time // _QUARTER
            whole = quarter < 0 or quarter != before
        (first if whole or view.view == "" else later).append(row)
    met: set[str] = set()
    for rows in (first, later):
        asked = rows if rows is first else [row for row in rows if views[row].view in met]
        if asked:
            queries = np.frombuffer(b"".join(views[row].hash for row in asked), dtype=np.uint8).reshape(
                -1, 32
            )
            for hit in index.search_pdq(queries, radius):
                row = asked[hit.query]
                met.add(views[row].view)
                yield row, hit


def widest_radius(policy: PolicySettings) -> int:
    """The radius that the index is asked with: the widest of any rule."""
    rules = [policy.default, *(rule for by_type in policy.rules.values() for rule in by_type.values())]
    return max(max(rule.radius, rule.review_radius, rule.low_quality_radius) for rule in rules)


def hold_radius(policy: PolicySettings) -> int:
    """The radius within which every rule's match has its full effect."""
    rules = [policy.default, *(rule for by_type in policy.rules.values() for rule in by_type.values())]
    return min(rule.radius for rule in rules)


def _judge(entry: Entry, distance: int, view: ViewHash | None, rule: RuleSettings) -> Match | None:
    effect = Effect(rule.effect)
    quality = 100
    if view is not None:
        quality = min(view.quality, entry.quality)
        if quality < rule.min_quality:
            if distance > rule.low_quality_radius:
                return None
            effect = Effect.FLAG if effect is Effect.HOLD else effect
        elif distance > max(rule.radius, rule.review_radius):
            return None
        elif distance > rule.radius and effect is Effect.HOLD:
            effect = Effect.FLAG
    return Match(
        entry_id=entry.id,
        bank=entry.bank,
        signal_type=entry.signal_type,
        distance=distance,
        view=view.view if view else "",
        frame_time=view.frame_time if view else None,
        quality=quality,
        effect=effect,
        priority=rule.priority,
        region=view.region if view else None,
    )


def _judge_film(
    entry: Entry, upload: Film, bank: BankFilm, shots: Sequence[Shot], rule: RuleSettings
) -> Iterator[Match]:
    """A match for each view by which the two videos agree: within the radius as the rule says, beyond it flagged."""
    for radius in sorted({rule.radius, max(rule.radius, rule.review_radius)}):
        for agreed in agreements(upload, bank, [shot for shot in shots if shot.distance <= radius], rule):
            effect = Effect(rule.effect)
            if radius > rule.radius or agreed.share < rule.video_share:
                effect = Effect.FLAG if effect is Effect.HOLD else effect
            nearest = upload.views[agreed.nearest.query]
            yield Match(
                entry_id=entry.id,
                bank=entry.bank,
                signal_type=entry.signal_type,
                distance=agreed.nearest.distance,
                view=nearest.view,
                frame_time=nearest.frame_time,
                quality=min(nearest.quality, entry.quality),
                effect=effect,
                priority=rule.priority,
                region=nearest.region,
            )


_STRENGTH = {Effect.HOLD: 0, Effect.FLAG: 1, Effect.SHADOW: 2}


def _order(match: Match) -> tuple[int, int, bool, float]:
    """Strongest effect first, then the closest, then the upload as it is, then the earliest frame."""
    return (_STRENGTH[match.effect], match.distance, match.view != "", match.frame_time or 0.0)
