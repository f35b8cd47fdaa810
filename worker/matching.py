"""Looks the hashes of one content up in the index and says which bank entries they are near.

It never decides what a match means, and knows nothing of storage or queue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bank_sync.bank import Entry
from config.policy import BankSettings, PolicySettings, RuleSettings
from worker.domain import Effect, HashedMedia, Match, ViewHash


class IndexHit(Protocol):
    """One stored hash near one query."""

    @property
    def query(self) -> int: ...
    @property
    def entry_id(self) -> int: ...
    @property
    def distance(self) -> int: ...


class SignalIndex(Protocol):
    """One index epoch, as matching needs it."""

    @property
    def number(self) -> int: ...

    def search_pdq(self, queries: npt.NDArray[np.uint8], radius: int) -> Sequence[IndexHit]:
        """All stored hashes within `radius` bits (inclusive) of each row of `queries`, shape (n, 32)."""
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
    the rule's quality counts only within the rule's low-quality radius and never holds.
    """
    views = media.hashes
    hits: list[tuple[int, int, ViewHash | None]] = []
    if views:
        queries = np.frombuffer(b"".join(view.hash for view in views), dtype=np.uint8).reshape(-1, 32)
        hits += [
            (hit.entry_id, hit.distance, views[hit.query])
            for hit in index.search_pdq(queries, widest_radius(policy))
        ]
    if md5 is not None:
        hits += [(entry_id, 0, None) for entry_id in index.search_md5(md5)]
    known = entries({entry_id for entry_id, _, _ in hits})
    best: dict[int, Match] = {}
    for entry_id, distance, view in hits:
        entry = known.get(entry_id)
        if entry is None or not entry.live or entry.bank not in banks or not banks[entry.bank].enabled:
            continue
        match = _judge(entry, distance, view, policy.rule(entry.bank, entry.signal_type))
        if match is not None and (entry_id not in best or _order(match) < _order(best[entry_id])):
            best[entry_id] = match
    return tuple(sorted(best.values(), key=lambda match: (match.distance, match.entry_id)))


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


_STRENGTH = {Effect.HOLD: 0, Effect.FLAG: 1, Effect.SHADOW: 2}


def _order(match: Match) -> tuple[int, int, bool, float]:
    """Strongest effect first, then the closest, then the upload as it is, then the earliest frame."""
    return (_STRENGTH[match.effect], match.distance, match.view != "", match.frame_time or 0.0)
