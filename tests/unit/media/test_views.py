from worker.domain import ViewHash
from worker.media.views import CODES, NAMES, WORDS, complement, with_complements


def test_codes_are_the_places_of_the_names() -> None:
    assert [CODES[name] for name in NAMES] == list(range(56))
    assert NAMES[0] == ""
    assert NAMES[5] == "flip_horizontal"
    assert NAMES[8] == "on_white"
    assert NAMES[21] == "on_black_flip_horizontal"


def test_every_view_and_complement_has_words() -> None:
    names = {view.view for name in NAMES for view in with_complements([ViewHash(bytes(32), 50, name)])}
    assert names == set(WORDS)
    assert len(names) == 2 * 24 + 32
    assert WORDS["part_flip_horizontal"] == "mirrored, a part of the picture, its border removed"
    assert WORDS["flip_horizontal"] == "mirrored"
    assert WORDS["complement"] == "colours inverted"
    assert WORDS["complement_on_white_rotate_180"] == "colours inverted, on white, upside down"


def test_complement_inverts_every_bit_and_keeps_the_rest() -> None:
    view = ViewHash(bytes(range(32)), 77, "transpose", 1.5)
    inverted = complement(view)
    assert inverted.hash == bytes(255 - byte for byte in range(32))
    assert (inverted.quality, inverted.view, inverted.frame_time) == (77, "complement_transpose", 1.5)
