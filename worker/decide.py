"""Says what becomes of an upload: policy, matches and what people decided before, in one pure function.

It reads nothing and writes nothing; the same input gives the same outcome.
"""

from __future__ import annotations

from dataclasses import replace

from config.policy import PolicySettings, UnmatchedSettings
from worker.domain import NOTHING_DECIDED, Effect, HashedMedia, Kind, Match, Memory, Outcome, State, Verdict


def decide(
    media: HashedMedia,
    matches: tuple[Match, ...],
    policy: PolicySettings,
    memory: Memory = NOTHING_DECIDED,
    demoted: frozenset[int] = frozenset(),
) -> Outcome:
    """The outcome of one scan.

    `demoted` are entries that the flood breaker set to flag-only. In shadow mode nothing is held, flagged or
    reviewed; the outcome's reason records what enforcing would have done.
    """
    outcome = _enforced(media, matches, policy, memory, demoted)
    if policy.mode == "shadow" and outcome.state in {State.HELD, State.FLAGGED, State.REMOVED}:
        shadows = tuple(replace(match, effect=Effect.SHADOW) for match in outcome.matches)
        return Outcome(State.CLEAR, reason=f"shadow_{outcome.state}", matches=shadows)
    if policy.mode == "shadow":
        return replace(outcome, review=False)
    return outcome


def _enforced(
    media: HashedMedia,
    matches: tuple[Match, ...],
    policy: PolicySettings,
    memory: Memory,
    demoted: frozenset[int],
) -> Outcome:
    weighed = tuple(
        replace(match, effect=Effect.FLAG)
        if match.entry_id in demoted and match.effect is Effect.HOLD
        else match
        for match in matches
    )
    if memory.verdict is Verdict.SUSPECTED_MINOR:
        return Outcome(State.HELD, reason="decided_suspected_minor", matches=weighed)
    if memory.verdict is Verdict.CONFIRMED and memory.supported:
        return Outcome(State.REMOVED, reason="decided_confirmed", matches=weighed)

    standing = [match for match in weighed if match.entry_id not in memory.dismissed]
    for effect, state in ((Effect.HOLD, State.HELD), (Effect.FLAG, State.FLAGGED)):
        found = [match for match in standing if match.effect is effect]
        if found:
            return Outcome(
                state,
                reason="match",
                review=True,
                priority=max(match.priority for match in found),
                matches=weighed,
            )
    if memory.verdict in {Verdict.NOT_A_MATCH, Verdict.LAWFUL, Verdict.HASH_WRONG}:
        return Outcome(State.CLEAR, reason=f"decided_{memory.verdict}", matches=weighed)
    # Where a limit ended the decode, what was not looked at is not clear.
    if media.kind is Kind.UNSCANNABLE or (media.partial and media.reason):
        if memory.withheld:
            # The same bytes matched when they could be read.
            return Outcome(State.HELD, reason="match", review=True, matches=weighed)
        return unmatched(State.UNSCANNABLE, media.reason, policy.unscannable, weighed)
    if media.kind is Kind.UNSUPPORTED:
        return unmatched(State.UNSUPPORTED, media.reason, policy.unsupported, weighed)
    if weighed:
        return Outcome(State.CLEAR, reason="shadow_match", matches=weighed)
    return Outcome(State.CLEAR, reason="partial" if media.partial else "")


def unmatched(
    state: State, reason: str, settings: UnmatchedSettings, matches: tuple[Match, ...] = ()
) -> Outcome:
    """The outcome of an upload that could not be compared: its own visible state, or held where policy says so."""
    if settings.effect == "hold":
        return Outcome(State.HELD, reason=reason, review=True, priority=settings.priority, matches=matches)
    return Outcome(
        state, reason=reason, review=settings.effect == "flag", priority=settings.priority, matches=matches
    )
