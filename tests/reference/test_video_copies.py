"""Copies of a bank's video are found by the rule of the default policy, and other videos are not."""

import io
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from click.testing import CliRunner

from bank_sync.bank import Entry
from bank_sync.loaded import LoadedEpoch, epoch_from_file
from config.policy import BankSettings, PolicySettings
from worker.commands.media import match
from worker.domain import Effect, HashedMedia, Kind, Match
from worker.matching import find_matches
from worker.media.media import memfd_from
from worker.media.sandbox import ZygoteSandbox

CHAIR = "chair-20-sd-bar"
PATTERN = "pattern-sd-grey-bar"
STILL = "test-padded-dimensions"
SIZE = (360, 540)
"""Three quarters of the clips' own."""
Edit = Callable[[av.VideoFrame], av.VideoFrame]


def frames_of(path: Path, *, start: float = 0.0, stop: float = 1e9) -> Iterator[av.VideoFrame]:
    """The frames shown from `start` until `stop`, in seconds."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if start <= (frame.time or 0.0) < stop:
                yield frame


def encoded(
    *parts: Iterator[av.VideoFrame],
    size: tuple[int, int],
    edit: Edit | None = None,
    crf: int = 28,
    fps: int = 30,
    codec: str = "libx264",
    container: str = "mp4",
    aspect: Fraction | None = None,
) -> bytes:
    """The parts one after another as one new video of `size`, encoded afresh."""
    out, scaler = io.BytesIO(), VideoReformatter()
    with av.open(out, "w", format=container) as writer:
        stream = writer.add_stream(codec, rate=fps)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = (
            {"crf": str(crf), "preset": "veryfast"} if codec == "libx264" else {"qscale": "4"}
        )
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        count = 0
        for part in parts:
            for frame in part:
                shown = edit(frame) if edit else frame
                scaled = scaler.reformat(shown, width=size[0], height=size[1], format="yuv420p", threads=1)
                fresh = av.VideoFrame.from_ndarray(scaled.to_ndarray(), format="yuv420p")
                fresh.pts, fresh.time_base = count, Fraction(1, fps)
                count += 1
                writer.mux(stream.encode(fresh))
        writer.mux(stream.encode(None))
    return out.getvalue()


def mirrored(frame: av.VideoFrame) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24")[:, ::-1].copy(), format="rgb24")


def _bank(folder: Path, to: Path, clips: list[str], *, start: float = 0.0, stop: float = 1e9) -> LoadedEpoch:
    """Each clip's published vPDQ at one frame a second, cut to a time."""
    lines = []
    for clip in clips:
        rows = [line.split(",") for line in (folder / f"video/{clip}.vpdq.txt").read_text().split()]
        kept = [
            f"{found},{quality},{float(time) - start}"
            for _, quality, found, time in rows[::30]
            if start <= float(time) < stop
        ]
        lines.append(f"vpdq {json.dumps(kept)}\n")
    path = to / "bank.txt"
    path.write_text("".join(lines))
    return epoch_from_file(path)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as opened:
        yield opened


@pytest.fixture
def hashed(sandbox: ZygoteSandbox) -> Callable[[bytes], HashedMedia]:
    def hash_(content: bytes) -> HashedMedia:
        with memfd_from([content]) as media:
            return sandbox.hash(media)

    return hash_


def _entry(entry_id: int) -> Entry:
    return Entry(entry_id, "file", "vpdq", True, 100, "Active", 0, 0)


def _matches(found: HashedMedia, epoch: LoadedEpoch) -> tuple[Match, ...]:
    banks = {"file": BankSettings(exchange="own")}
    return find_matches(
        found, None, epoch, lambda ids: {each: _entry(each) for each in ids}, PolicySettings(), banks
    )


@pytest.mark.parametrize("clip", [CHAIR, PATTERN, "pattern-hd-no-bar", STILL])
@pytest.mark.parametrize("trim", [pytest.param(0.3, marks=pytest.mark.storm), 0.5])
def test_a_trimmed_and_scaled_copy_is_held(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia], clip: str, trim: float
) -> None:
    copy = encoded(frames_of(reference_data / f"video/{clip}.mp4", start=trim), size=SIZE)
    (found,) = _matches(hashed(copy), _bank(reference_data, tmp_path, [clip]))
    assert (found.effect, found.view, found.signal_type) == (Effect.HOLD, "", "vpdq")
    assert found.frame_time is not None


def test_a_copy_of_a_film_so_dark_that_the_bank_holds_little_of_it_is_flagged(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia]
) -> None:
    copy = encoded(frames_of(reference_data / "video/doorknob-hd-no-bar.mp4", start=0.3), size=SIZE)
    epoch = _bank(reference_data, tmp_path, ["doorknob-hd-no-bar"])
    assert epoch.counts["frames"] == 2
    assert [found.effect for found in _matches(hashed(copy), epoch)] == [Effect.FLAG]


@pytest.mark.parametrize("start", [3.0, 7.3, 11.5])
def test_a_cut_from_a_longer_bank_video_is_held(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia], start: float
) -> None:
    cut = encoded(frames_of(reference_data / f"video/{CHAIR}.mp4", start=start, stop=start + 5), size=SIZE)
    (found,) = _matches(hashed(cut), _bank(reference_data, tmp_path, [CHAIR]))
    assert found.effect is Effect.HOLD


@pytest.mark.parametrize("trim", [pytest.param(0.3, marks=pytest.mark.storm), 0.5])
def test_a_short_clip_inside_a_long_upload_is_held(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia], trim: float
) -> None:
    folder = reference_data / "video"
    long = encoded(
        frames_of(folder / f"{CHAIR}.mp4"),
        frames_of(folder / f"{PATTERN}.mp4", start=trim),
        frames_of(folder / f"{CHAIR}.mp4", start=5),
        size=SIZE,
    )
    (found,) = _matches(hashed(long), _bank(reference_data, tmp_path, [PATTERN]))
    assert found.effect is Effect.HOLD
    assert 20 <= (found.frame_time or 0.0) <= 28


def test_a_piece_of_a_bank_video_in_another_film_is_flagged(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia]
) -> None:
    folder = reference_data / "video"
    mixed = encoded(
        frames_of(folder / f"{PATTERN}.mp4"),
        frames_of(folder / f"{CHAIR}.mp4", start=4, stop=9),
        frames_of(folder / f"{PATTERN}.mp4"),
        size=SIZE,
    )
    (found,) = _matches(hashed(mixed), _bank(reference_data, tmp_path, [CHAIR]))
    assert found.effect is Effect.FLAG


def test_a_mirrored_copy_says_so(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia]
) -> None:
    copy = encoded(frames_of(reference_data / f"video/{PATTERN}.mp4", start=0.3), size=SIZE, edit=mirrored)
    (found,) = _matches(hashed(copy), _bank(reference_data, tmp_path, [PATTERN]))
    assert (found.effect, found.view) == (Effect.HOLD, "flip_horizontal")


def test_other_pixels_to_the_inch_or_another_rate_hide_nothing(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia]
) -> None:
    epoch = _bank(reference_data, tmp_path, [PATTERN])
    film = reference_data / f"video/{PATTERN}.mp4"
    squeezed = encoded(frames_of(film), size=(120, 540), aspect=Fraction(3, 1))
    slow = encoded(frames_of(film), size=SIZE, fps=12)
    assert [_matches(hashed(copy), epoch)[0].effect for copy in (squeezed, slow)] == [Effect.HOLD] * 2


def test_a_bad_packet_takes_its_frames_only(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia]
) -> None:
    film = reference_data / f"video/{PATTERN}.mp4"
    copy = bytearray(encoded(frames_of(film), size=SIZE, codec="mpeg2video", container="mpegts"))
    middle = len(copy) // 2
    copy[middle : middle + 188] = bytes(188)
    found = hashed(bytes(copy))
    assert (found.kind, found.partial) == (Kind.VIDEO, True)
    assert _matches(found, _bank(reference_data, tmp_path, [PATTERN]))[0].effect is Effect.HOLD


def test_films_of_another_thing_do_not_match(
    reference_data: Path, tmp_path: Path, hashed: Callable[[bytes], HashedMedia]
) -> None:
    folder = reference_data / "video"
    epoch = _bank(reference_data, tmp_path, [PATTERN, STILL])
    assert _matches(hashed((folder / f"{CHAIR}.mp4").read_bytes()), epoch) == ()
    epoch = _bank(reference_data, tmp_path, [CHAIR, "chair-22-sd-grey-bar"])
    for clip in (PATTERN, STILL, "doorknob-hd-no-bar"):
        assert _matches(hashed((folder / f"{clip}.mp4").read_bytes()), epoch) == ()


def test_the_command_line_tells_view_time_and_effect(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHWARDEN_STATE_DIR", str(tmp_path / "state"))
    _bank(reference_data, tmp_path, [PATTERN])
    copy = tmp_path / "copy.mp4"
    film = reference_data / f"video/{PATTERN}.mp4"
    copy.write_bytes(encoded(frames_of(film, start=0.3), size=SIZE, edit=mirrored))
    answer = CliRunner().invoke(match, ["--json", "--bank", str(tmp_path / "bank.txt"), str(copy)])
    assert answer.exit_code == 0
    line = json.loads(answer.stdout)
    (found,) = line["matches"]
    assert (line["kind"], line["matched"]) == ("video", True)
    assert (found["signal_type"], found["view"], found["effect"]) == ("vpdq", "flip_horizontal", "hold")
    assert 0 <= found["frame_time"] <= 7
