"""Matching: radius, quality, liveness, and the closest view of each entry."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bank_sync.bank import Entry
from config.policy import BankSettings, PolicySettings, RuleSettings
from worker.domain import Effect, HashedMedia, Kind, ViewHash
from worker.matching import find_matches, widest_radius
from worker.media.edited import placed

BANKS = {"a": BankSettings(exchange="own"), "off": BankSettings(exchange="own", enabled=False)}
POLICY = PolicySettings(rules={"a": {"pdq": RuleSettings(radius=31, low_quality_radius=8)}})
BASE = bytes(range(32))


@dataclass(frozen=True)
class Hit:
    query: int
    entry_id: int
    distance: int
    frame_time: float | None = None


class PlainIndex:
    """Every stored hash compared with every query: slow and surely right."""

    number = holds = 1
    size = 0

    def __init__(self, stored: Mapping[int, bytes], md5s: Mapping[bytes, list[int]] | None = None) -> None:
        self._stored = stored
        self._md5s = md5s or {}

    def search_pdq(self, queries: npt.NDArray[np.uint8], radius: int, met: int = 0) -> Sequence[Hit]:  # noqa: ARG002
        hits = []
        for row, query in enumerate(queries):
            for entry_id, stored in self._stored.items():
                distance = sum((a ^ b).bit_count() for a, b in zip(query.tolist(), stored, strict=True))
                if distance <= radius:
                    hits.append(Hit(row, entry_id, distance))
        return hits

    def frames_of(self, entry_id: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        raise AssertionError(f"entry {entry_id} is no video")

    def search_md5(self, md5: bytes) -> Sequence[int]:
        return self._md5s.get(md5, [])


def turned(value: bytes, bits: int) -> bytes:
    """`value` with its first `bits` bits turned."""
    number = int.from_bytes(value, "little") ^ ((1 << bits) - 1)
    return number.to_bytes(len(value), "little")


def entry(entry_id: int, *, bank: str = "a", live: bool = True, quality: int = 100) -> Entry:
    return Entry(
        id=entry_id,
        bank=bank,
        signal_type="pdq",
        live=live,
        quality=quality,
        raw_status="Active",
        case_count=1,
        last_modified=0,
    )


def picture(*hashes: ViewHash) -> HashedMedia:
    return HashedMedia(kind=Kind.IMAGE, hashes=hashes)


def known(*entries: Entry) -> "LookUp":
    return LookUp({e.id: e for e in entries})


class LookUp:
    def __init__(self, entries: dict[int, Entry]) -> None:
        self._entries = entries

    def __call__(self, ids: Collection[int]) -> Mapping[int, Entry]:
        return {i: self._entries[i] for i in ids if i in self._entries}


def test_both_radii_are_inclusive_and_from_the_first_to_the_second_a_match_only_flags() -> None:
    index = PlainIndex({1: turned(BASE, 31), 2: turned(BASE, 32), 3: turned(BASE, 40), 4: turned(BASE, 41)})
    entries = known(*map(entry, range(1, 5)))
    found = find_matches(picture(ViewHash(BASE, 100)), None, index, entries, POLICY, BANKS)
    assert [(m.entry_id, m.distance, m.effect) for m in found] == [
        (1, 31, Effect.HOLD),
        (2, 32, Effect.FLAG),
        (3, 40, Effect.FLAG),
    ]


def test_without_a_wider_review_radius_nothing_is_flagged_beyond_the_radius() -> None:
    index = PlainIndex({1: turned(BASE, 31), 2: turned(BASE, 32)})
    policy = PolicySettings(rules={"a": {"pdq": RuleSettings(review_radius=0)}})
    assert widest_radius(policy) == 40
    found = find_matches(picture(ViewHash(BASE, 100)), None, index, known(entry(1), entry(2)), policy, BANKS)
    assert [m.entry_id for m in found] == [1]


def test_a_recording_rule_stays_recording_beyond_its_radius() -> None:
    policy = PolicySettings(rules={"a": {"pdq": RuleSettings(effect="shadow")}})
    index = PlainIndex({2: turned(BASE, 35)})
    (found,) = find_matches(picture(ViewHash(BASE, 100)), None, index, known(entry(2)), policy, BANKS)
    assert found.effect is Effect.SHADOW


def test_a_match_says_by_which_part_of_the_upload_it_was_found() -> None:
    view = ViewHash(BASE, 100, "part", None, placed((0.0, 0.25, 1.0, 0.5)))
    (found,) = find_matches(picture(view), None, PlainIndex({1: BASE}), known(entry(1)), POLICY, BANKS)
    assert (found.view, found.region) == ("part", (0.0, 0.25, 1.0, 0.5))


def test_the_longest_prefix_chooses_the_profile() -> None:
    policy = PolicySettings(
        profile="plain", profiles={"media/": "standard", "media/new-accounts/": "thorough"}
    )
    assert policy.profile_of("media", "new-accounts/1.jpg") == "thorough"
    assert policy.profile_of("media", "1.jpg") == "standard"
    assert policy.profile_of("other", "1.jpg") == "plain"


def test_an_entry_is_found_once_by_its_closest_view() -> None:
    index = PlainIndex({1: BASE})
    views = (
        ViewHash(turned(BASE, 9), 100),
        ViewHash(turned(BASE, 2), 100, "flip_horizontal"),
        ViewHash(turned(BASE, 2), 100, "complement"),
    )
    (found,) = find_matches(picture(*views), None, index, known(entry(1)), POLICY, BANKS)
    assert (found.distance, found.view) == (2, "flip_horizontal")


def test_the_upload_as_it_is_wins_a_tie() -> None:
    index = PlainIndex({1: BASE})
    views = (ViewHash(BASE, 100, "rotate_90"), ViewHash(BASE, 100))
    (found,) = find_matches(picture(*views), None, index, known(entry(1)), POLICY, BANKS)
    assert found.view == ""


def test_withdrawn_and_disabled_entries_do_not_match() -> None:
    index = PlainIndex({1: BASE, 2: BASE, 3: BASE})
    entries = known(entry(1, live=False), entry(2, bank="off"))
    assert find_matches(picture(ViewHash(BASE, 100)), None, index, entries, POLICY, BANKS) == ()


def test_low_quality_counts_only_near_exactly_and_never_holds() -> None:
    index = PlainIndex({1: turned(BASE, 8), 2: turned(BASE, 9), 3: BASE})
    entries = known(entry(1), entry(2), entry(3, quality=10))
    found = find_matches(picture(ViewHash(BASE, 49)), None, index, entries, POLICY, BANKS)
    assert [(m.entry_id, m.effect) for m in found] == [(3, Effect.FLAG), (1, Effect.FLAG)]
    (low_entry,) = find_matches(
        picture(ViewHash(BASE, 100)), None, PlainIndex({3: BASE}), known(entry(3, quality=10)), POLICY, BANKS
    )
    assert low_entry.effect is Effect.FLAG


def test_an_exact_copy_matches_without_any_hash_of_its_picture() -> None:
    index = PlainIndex({}, {b"m" * 16: [7]})
    broken = HashedMedia(kind=Kind.UNSCANNABLE, reason="broken")
    (found,) = find_matches(broken, b"m" * 16, index, known(entry(7)), POLICY, BANKS)
    assert (found.entry_id, found.distance, found.effect) == (7, 0, Effect.HOLD)


def test_a_frame_tells_its_time() -> None:
    index = PlainIndex({1: BASE})
    video = HashedMedia(
        kind=Kind.VIDEO,
        hashes=(ViewHash(turned(BASE, 40), 100, frame_time=0.5), ViewHash(BASE, 100, frame_time=2.5)),
    )
    (found,) = find_matches(video, None, index, known(entry(1)), POLICY, BANKS)
    assert found.frame_time == 2.5


class FilmIndex(PlainIndex):
    """A bank of one video, entry 9: a frame a second, each of another scene."""

    def __init__(self, scenes: Sequence[bytes]) -> None:
        super().__init__({})
        self._scenes = scenes

    def search_pdq(self, queries: npt.NDArray[np.uint8], radius: int, met: int = 0) -> Sequence[Hit]:  # noqa: ARG002
        return [
            Hit(hit.query, 9, hit.distance, float(second))
            for second, scene in enumerate(self._scenes)
            for hit in PlainIndex({9: scene}).search_pdq(queries, radius)
        ]

    def frames_of(self, entry_id: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        assert entry_id == 9
        hashes = np.frombuffer(b"".join(self._scenes), dtype=np.uint8).reshape(-1, 32)
        return hashes, np.arange(len(self._scenes), dtype=np.float32)


SCENES = [bytes(np.random.default_rng(at).bytes(32)) for at in range(40)]
FILM = replace(entry(9), signal_type="vpdq")


def video(scenes: Sequence[bytes]) -> HashedMedia:
    frames = [ViewHash(scene, 100, "", float(second)) for second, scene in enumerate(scenes)]
    return HashedMedia(kind=Kind.VIDEO, hashes=tuple(frames), duration=float(len(scenes)))


def test_a_video_is_held_by_the_share_that_agrees_and_flagged_under_it() -> None:
    index, entries = FilmIndex(SCENES[:10]), known(FILM)
    (whole,) = find_matches(video(SCENES[:10]), None, index, entries, POLICY, BANKS)
    assert (whole.effect, whole.signal_type, whole.frame_time) == (Effect.HOLD, "vpdq", 0.0)
    (half,) = find_matches(video([*SCENES[20:40], *SCENES[:4]]), None, index, entries, POLICY, BANKS)
    assert (half.effect, half.frame_time) == (Effect.FLAG, 20.0)
    one = find_matches(video([*SCENES[20:40], SCENES[0]]), None, index, entries, POLICY, BANKS)
    assert one == ()


def test_a_video_that_agrees_only_within_the_review_radius_is_flagged() -> None:
    far = video([turned(scene, 35) for scene in SCENES[:10]])
    (found,) = find_matches(far, None, FilmIndex(SCENES[:10]), known(FILM), POLICY, BANKS)
    assert (found.effect, found.distance) == (Effect.FLAG, 35)


def test_a_still_is_held_by_any_frame_of_a_banks_video() -> None:
    still = picture(ViewHash(SCENES[4], 100, "flip_horizontal"))
    (found,) = find_matches(still, None, FilmIndex(SCENES[:10]), known(FILM), POLICY, BANKS)
    assert (found.effect, found.view, found.frame_time) == (Effect.HOLD, "flip_horizontal", None)


def test_a_withdrawn_video_does_not_match() -> None:
    gone = known(replace(FILM, live=False))
    assert find_matches(video(SCENES[:10]), None, FilmIndex(SCENES[:10]), gone, POLICY, BANKS) == ()


class CountedIndex(FilmIndex):
    """Counts the queries."""

    asked = 0

    def search_pdq(self, queries: npt.NDArray[np.uint8], radius: int, met: int = 0) -> Sequence[Hit]:  # noqa: ARG002
        self.asked += len(queries)
        return super().search_pdq(queries, radius)


def dense(view: str, scenes: Sequence[bytes], rate: int = 20) -> HashedMedia:
    """So many frames a second, one of them a scene as `view` shows it; in all other views nothing known is seen."""
    noise = np.random.default_rng(99)
    frames = [
        ViewHash(scene if (shown, part) == (view, 1) else noise.bytes(32), 100, shown, second + part / rate)
        for second, scene in enumerate(scenes)
        for part in range(rate)
        for shown in ("", "complement", "flip_horizontal")
    ]
    return HashedMedia(kind=Kind.VIDEO, hashes=tuple(frames), duration=float(len(scenes)))


def test_turned_forms_between_quarters_of_a_second_are_looked_up_when_one_was_met() -> None:
    index = CountedIndex(SCENES[:10])
    mirrored = dense("flip_horizontal", SCENES[:10])
    assert find_matches(mirrored, None, index, known(FILM), POLICY, BANKS) == ()
    assert index.asked == 10 * (20 + 4 * 2)

    first = replace(mirrored.hashes[2], hash=SCENES[0])
    met = replace(mirrored, hashes=(*mirrored.hashes[:2], first, *mirrored.hashes[3:]))
    (found,) = find_matches(met, None, index, known(FILM), POLICY, BANKS)
    assert (found.view, found.effect) == ("flip_horizontal", Effect.HOLD)


def test_a_turned_film_beside_another_one_is_met() -> None:
    """Two streams of one file: each has its quarters of a second."""
    mirrored = dense("flip_horizontal", SCENES[:10], rate=4)
    decoy = dense("", SCENES[20:30], rate=4)
    both = replace(mirrored, hashes=(*decoy.hashes, *mirrored.hashes))
    (found,) = find_matches(both, None, FilmIndex(SCENES[:10]), known(FILM), POLICY, BANKS)
    assert found.view == "flip_horizontal"


def test_every_frame_as_it_is_is_looked_up() -> None:
    (found,) = find_matches(dense("", SCENES[:10]), None, FilmIndex(SCENES[:10]), known(FILM), POLICY, BANKS)
    assert (found.view, found.effect) == ("", Effect.HOLD)


def test_an_animated_picture_is_held_by_any_of_its_frames() -> None:
    animated = replace(video([*SCENES[20:23], SCENES[0]]), kind=Kind.IMAGE)
    (found,) = find_matches(animated, None, FilmIndex(SCENES[:10]), known(FILM), POLICY, BANKS)
    assert (found.effect, found.frame_time) == (Effect.HOLD, 3.0)
