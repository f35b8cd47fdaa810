"""The policy: what becomes of an upload, for every combination of matches, memory and settings."""

from hypothesis import given
from hypothesis import strategies as st

from config.policy import PolicySettings, UnmatchedSettings
from worker.decide import decide
from worker.domain import Effect, HashedMedia, Kind, Match, Memory, State, Verdict

IMAGE = HashedMedia(kind=Kind.IMAGE)
ENFORCE = PolicySettings()
SHADOW = PolicySettings(mode="shadow")


def match(entry_id: int = 1, effect: Effect = Effect.HOLD, priority: int = 50) -> Match:
    return Match(entry_id=entry_id, bank="b", signal_type="pdq", distance=3, effect=effect, priority=priority)


matches = st.lists(
    st.builds(match, st.integers(1, 6), st.sampled_from(list(Effect)), st.integers(0, 100)),
    max_size=5,
    unique_by=lambda found: found.entry_id,
).map(tuple)
media = st.sampled_from(
    [HashedMedia(kind=kind, reason="" if kind is Kind.IMAGE else "broken") for kind in Kind]
)
memories = st.builds(
    Memory,
    st.none() | st.sampled_from(list(Verdict)),
    st.booleans(),
    st.frozensets(st.integers(1, 6)),
)
policies = st.builds(
    PolicySettings,
    mode=st.sampled_from(["enforce", "shadow"]),
    unscannable=st.builds(UnmatchedSettings, effect=st.sampled_from(["hold", "flag", "none"])),
    unsupported=st.builds(UnmatchedSettings, effect=st.sampled_from(["hold", "flag", "none"])),
)


def test_nothing_found_is_clear() -> None:
    assert decide(IMAGE, (), ENFORCE).state is State.CLEAR


def test_a_match_holds_and_waits_for_a_person() -> None:
    outcome = decide(IMAGE, (match(priority=7), match(2, Effect.FLAG, 99)), ENFORCE)
    assert (outcome.state, outcome.review, outcome.priority) == (State.HELD, True, 7)


def test_a_demoted_entry_only_flags() -> None:
    outcome = decide(IMAGE, (match(),), ENFORCE, demoted=frozenset({1}))
    assert (outcome.state, outcome.review) == (State.FLAGGED, True)


def test_content_decided_no_match_is_not_held_again_by_the_same_entry() -> None:
    memory = Memory(Verdict.NOT_A_MATCH, dismissed=frozenset({1}))
    assert decide(IMAGE, (match(1),), ENFORCE, memory).state is State.CLEAR
    assert decide(IMAGE, (match(1), match(2)), ENFORCE, memory).state is State.HELD


def test_removed_content_is_removed_again_wherever_it_turns_up() -> None:
    assert decide(IMAGE, (), ENFORCE, Memory(Verdict.CONFIRMED)).state is State.REMOVED


def test_a_confirmed_verdict_ends_with_the_withdrawal_of_its_cases() -> None:
    assert decide(IMAGE, (), ENFORCE, Memory(Verdict.CONFIRMED, supported=False)).state is State.CLEAR


def test_a_suspected_minor_stays_withheld_whatever_else_is_known() -> None:
    outcome = decide(IMAGE, (), ENFORCE, Memory(Verdict.SUSPECTED_MINOR, supported=False))
    assert (outcome.state, outcome.review) == (State.HELD, False)


def test_what_a_limit_left_unseen_is_not_clear() -> None:
    cut = HashedMedia(kind=Kind.VIDEO, partial=True, reason="cpu_limit")
    assert (decide(cut, (), ENFORCE).state, decide(cut, (), ENFORCE).reason) == (
        State.UNSCANNABLE,
        "cpu_limit",
    )
    assert decide(cut, (match(),), ENFORCE).state is State.HELD
    damaged = HashedMedia(kind=Kind.IMAGE, partial=True)
    assert (decide(damaged, (), ENFORCE).state, decide(damaged, (), ENFORCE).reason) == (
        State.CLEAR,
        "partial",
    )


def test_shadow_mode_says_what_it_would_have_done() -> None:
    outcome = decide(IMAGE, (match(),), SHADOW)
    assert (outcome.state, outcome.reason, outcome.review) == (State.CLEAR, "shadow_held", False)
    assert {found.effect for found in outcome.matches} == {Effect.SHADOW}


@given(media, matches, policies, memories, st.frozensets(st.integers(1, 6)))
def test_no_policy_removes_by_itself(
    media: HashedMedia,
    found: tuple[Match, ...],
    policy: PolicySettings,
    memory: Memory,
    demoted: frozenset[int],
) -> None:
    outcome = decide(media, found, policy, memory, demoted)
    if outcome.state is State.REMOVED:
        assert memory.verdict is Verdict.CONFIRMED
        assert policy.mode == "enforce"


@given(media, matches, policies, memories, st.frozensets(st.integers(1, 6)))
def test_what_was_not_compared_is_never_clear_without_a_persons_word(
    media: HashedMedia,
    found: tuple[Match, ...],
    policy: PolicySettings,
    memory: Memory,
    demoted: frozenset[int],
) -> None:
    outcome = decide(media, found, policy, memory, demoted)
    if media.kind in {Kind.UNSCANNABLE, Kind.UNSUPPORTED} and outcome.state is State.CLEAR:
        assert outcome.reason.startswith(("decided_", "shadow_"))


@given(media, matches, policies, memories, st.frozensets(st.integers(1, 6)))
def test_a_standing_hold_match_is_withheld_unless_it_was_decided_or_demoted(
    media: HashedMedia,
    found: tuple[Match, ...],
    policy: PolicySettings,
    memory: Memory,
    demoted: frozenset[int],
) -> None:
    outcome = decide(media, found, policy, memory, demoted)
    standing = [
        m
        for m in found
        if m.effect is Effect.HOLD and m.entry_id not in memory.dismissed and m.entry_id not in demoted
    ]
    if standing and policy.mode == "enforce":
        assert outcome.state in {State.HELD, State.REMOVED}
    if policy.mode == "shadow":
        assert outcome.state not in {State.HELD, State.FLAGGED, State.REMOVED}
        assert not outcome.review


@given(matches, policies, memories)
def test_every_match_is_kept_for_the_record(
    found: tuple[Match, ...], policy: PolicySettings, memory: Memory
) -> None:
    outcome = decide(IMAGE, found, policy, memory)
    assert [m.entry_id for m in outcome.matches] == [m.entry_id for m in found]
