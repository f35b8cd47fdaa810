"""What every media sandbox owes its callers; and what only the one with processes owes them."""

from __future__ import annotations

import io
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import av
import numpy as np
import pillow_heif
import pytest
from av.video.stream import VideoStream
from PIL import Image

from worker.domain import CloserLook, HashedMedia, Kind, Placement, Profile, ViewHash
from worker.errors import SandboxError
from worker.media import sandbox as sandbox_module
from worker.media.in_process import InProcessSandbox
from worker.media.isolation import Wall
from worker.media.limits import Limits, Reason
from worker.media.media import memfd_from
from worker.media.sandbox import MediaSandbox, ZygoteSandbox
from worker.media.views import NAMES, PLAIN_VIEWS, WORDS, with_complements

WaitUntil = Callable[..., object]


def _picture(seed: int = 7, size: tuple[int, int] = (700, 540)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def _saved(image: Image.Image, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def _clip(
    scenes: int = 3,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    size: tuple[int, int] = (320, 240),
    fps: int = 10,
) -> bytes:
    """A video of `scenes` seconds; each second shows another picture."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as writer:
        stream = cast(VideoStream, writer.add_stream(codec, rate=fps))
        stream.width, stream.height = size
        if codec == "libvpx":
            stream.options = {"deadline": "realtime", "cpu-used": "8"}
        stream.pix_fmt = "yuv420p"
        for scene in range(scenes):
            frame = av.VideoFrame.from_ndarray(np.asarray(_picture(scene, size)))
            for step in range(fps):
                frame.pts = scene * fps + step
                writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return out.getvalue()


def _song() -> bytes:
    """An MP4 without any video stream."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as writer:
        stream = writer.add_stream("aac", rate=44_100)
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate = 44_100
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        for at in range(20):
            silence.pts = at * 1024
            writer.mux(stream.encode(silence))
        writer.mux(stream.encode(None))
    return out.getvalue()


def _scan_bomb(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = _saved(Image.new("RGB", (4000, 4000), "teal"), "JPEG", progressive=True)
    start = whole.rindex(b"\xff\xda")
    return whole[:start] + whole[start:-2] * scans + b"\xff\xd9"


def _huge_png(side: int, *, bits: int, colour_type: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be a large square."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, bits, colour_type, 0, 0, 0)
    body = zlib.compress(bytes(200_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.fixture(params=["in_process", "zygote"])
def open_sandbox(request: pytest.FixtureRequest) -> Iterator[Callable[..., MediaSandbox]]:
    """Opens sandboxes of one implementation, with any limits, and closes them."""
    opened: list[MediaSandbox] = []

    def opener(**limits: float) -> MediaSandbox:
        made = Limits(**limits)  # type: ignore[arg-type]
        opened.append(InProcessSandbox(made) if request.param == "in_process" else ZygoteSandbox(made))
        return opened[-1]

    yield opener
    for sandbox in opened:
        sandbox.close()


@pytest.fixture
def zygote() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as sandbox:
        yield sandbox


def _hash(sandbox: MediaSandbox, content: bytes) -> HashedMedia:
    with memfd_from([content]) as media:
        return sandbox.hash(media)


def _distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


class TestEverySandbox:
    def test_a_jpeg_has_eight_views_and_their_complements(
        self, open_sandbox: Callable[..., MediaSandbox]
    ) -> None:
        found = _hash(open_sandbox(), _saved(_picture(), "JPEG", quality=95))
        assert (found.kind, found.reason, found.partial) == (Kind.IMAGE, "", False)
        assert (found.width, found.height, found.duration) == (700, 540, 0.0)
        views = {each.view: each for each in found.hashes}
        assert len(views) == len(found.hashes) == 16
        assert set(views) <= set(WORDS)
        assert [each.view for each in found.originals] == [""]
        assert _distance(views["transpose"].hash, views["complement_transpose"].hash) == 256
        assert {each.frame_time for each in found.hashes} == {None}
        assert {each.quality for each in found.hashes} == {100}

    @pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"])
    def test_formats_hash_alike(self, open_sandbox: Callable[..., MediaSandbox], name: str) -> None:
        pillow_heif.register_heif_opener()
        sandbox = open_sandbox()
        jpeg = _hash(sandbox, _saved(_picture(), "JPEG", quality=95)).originals[0]
        found = _hash(sandbox, _saved(_picture(), name))
        assert (found.kind, found.reason) == (Kind.IMAGE, "")
        # 256 colours are not the same picture.
        assert _distance(found.originals[0].hash, jpeg.hash) <= (24 if name == "GIF" else 10)

    def test_a_mirrored_upload_has_the_bank_hash_among_its_views(
        self, open_sandbox: Callable[..., MediaSandbox]
    ) -> None:
        sandbox = open_sandbox()
        bank = _hash(sandbox, _saved(_picture(), "PNG")).originals[0].hash
        mirrored = _picture().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        views = {each.view: each.hash for each in _hash(sandbox, _saved(mirrored, "JPEG")).hashes}
        assert _distance(views["flip_horizontal"], bank) <= 10

    @pytest.mark.parametrize("profile", [Profile.STANDARD, Profile.THOROUGH])
    def test_a_profile_adds_views_with_their_regions(
        self, open_sandbox: Callable[..., MediaSandbox], profile: Profile
    ) -> None:
        upload = memfd_from([_saved(_picture(), "JPEG", quality=95)])
        sandbox = open_sandbox()
        with upload:
            plain, found = sandbox.hash(upload), sandbox.hash(upload, profile)
        assert found.hashes[:16] == plain.hashes
        more = found.hashes[16:]
        assert 200 < len(more) <= Limits().edited_views
        assert {each.view.partition("_")[0] for each in more} <= {
            "part",
            "uncropped",
            "straightened",
            "filled",
        }
        assert all(each.region is not None for each in more)

    def test_a_closer_look_is_made_around_its_seed(self, open_sandbox: Callable[..., MediaSandbox]) -> None:
        outside = (2, 0, 1, -127, 0, 127, 4, 5, 6, 7)
        seed = Placement((0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0), None, outside)
        sandbox = open_sandbox()
        with memfd_from([_saved(_picture(), "JPEG", quality=95)]) as media:
            found = sandbox.hash(media, Profile.STANDARD, CloserLook(1, (("part", seed),)))
        placed = [view.placement for view in found.hashes if view.placement is not None]
        assert placed[0] == seed
        assert len(placed) > 100

    def test_a_transparent_png_has_its_backgrounds(self, open_sandbox: Callable[..., MediaSandbox]) -> None:
        picture = _picture()
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        found = _hash(open_sandbox(), _saved(picture, "PNG"))
        plain = with_complements(ViewHash(bytes(32), 100, name) for name in NAMES[:PLAIN_VIEWS])
        assert {each.view for each in found.hashes} == {each.view for each in plain}

    def test_frames_of_an_animated_gif_are_found(self, open_sandbox: Callable[..., MediaSandbox]) -> None:
        sandbox = open_sandbox()
        frames = [_picture(seed, (120, 90)) for seed in range(60)]
        found = _hash(
            sandbox, _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
        )
        assert (found.kind, found.reason, found.partial) == (Kind.IMAGE, "", False)
        assert len(found.originals) == Limits().image_frames
        assert found.duration == pytest.approx(6.0)
        times = [each.frame_time for each in found.originals]
        assert times[0] == 0.0
        assert times[-1] == pytest.approx(5.9)
        last = _hash(sandbox, _saved(frames[-1], "PNG")).originals[0].hash
        assert _distance(found.originals[-1].hash, last) <= 31

    def test_an_animation_over_its_budget_is_partial_and_says_so(
        self, open_sandbox: Callable[..., MediaSandbox]
    ) -> None:
        frames = [_picture(seed, (120, 90)) for seed in range(20)]
        content = _saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
        found = _hash(open_sandbox(image_frame_pixels=120 * 90 * 5), content)
        assert (found.kind, found.reason, found.partial) == (Kind.IMAGE, Reason.FRAME_LIMIT, True)
        assert len(found.originals) == 5

    @pytest.mark.parametrize(
        ("container", "codec"),
        [("mp4", "libx264"), ("matroska", "libvpx"), ("avi", "mpeg4"), ("mpegts", "mpeg2video")],
    )
    def test_frames_of_a_video_match_the_stills(
        self, open_sandbox: Callable[..., MediaSandbox], container: str, codec: str
    ) -> None:
        sandbox = open_sandbox()
        found = _hash(sandbox, _clip(container=container, codec=codec, fps=25))
        assert (found.kind, found.reason) == (Kind.VIDEO, "")
        assert (found.width, found.height) == (320, 240)
        assert found.duration == pytest.approx(3.0, abs=0.2)
        for scene in range(3):
            still = _hash(sandbox, _saved(_picture(scene, (320, 240)), "PNG")).originals[0].hash
            shown = [each for each in found.originals if _distance(each.hash, still) <= 20]
            assert shown, f"scene {scene} was not found"
            assert shown[0].frame_time == pytest.approx(scene, abs=0.6)

    def test_a_video_over_its_frame_budget_is_partial(
        self, open_sandbox: Callable[..., MediaSandbox]
    ) -> None:
        found = _hash(open_sandbox(video_decoded_frames=12), _clip())
        assert (found.kind, found.reason, found.partial) == (Kind.VIDEO, Reason.FRAME_LIMIT, True)
        assert found.originals

    def test_a_video_damaged_in_the_middle_is_read_on(
        self, open_sandbox: Callable[..., MediaSandbox]
    ) -> None:
        content = bytearray(_clip(container="mpegts", codec="mpeg2video", fps=25))
        middle = len(content) // 2
        content[middle : middle + 2_000] = os.urandom(2_000)
        found = _hash(open_sandbox(), bytes(content))
        assert found.kind is Kind.VIDEO
        assert max(each.frame_time or 0 for each in found.originals) >= 1.5

    def test_a_truncated_jpeg_is_hashed_as_far_as_it_goes(
        self, open_sandbox: Callable[..., MediaSandbox]
    ) -> None:
        whole = _saved(_picture(), "JPEG", quality=95)
        found = _hash(open_sandbox(), whole[: len(whole) * 9 // 10])
        assert (found.kind, found.reason, found.partial) == (Kind.IMAGE, "", True)

    @pytest.mark.parametrize(
        ("content", "kind", "reason"),
        [
            (b"", Kind.UNSUPPORTED, Reason.EMPTY),
            (b"\x00", Kind.UNSUPPORTED, Reason.FORMAT_NOT_ALLOWED),
            (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", Kind.UNSUPPORTED, Reason.FORMAT_NOT_ALLOWED),
            (b"ffconcat version 1.0\nfile a.mp4\n", Kind.UNSUPPORTED, Reason.FORMAT_NOT_ALLOWED),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Kind.UNSUPPORTED, Reason.FORMAT_NOT_ALLOWED),
            (b"%PDF-1.7\n", Kind.UNSUPPORTED, Reason.FORMAT_NOT_ALLOWED),
            (b"\xff\xd8\xff\xe0" + bytes(200), Kind.UNSCANNABLE, Reason.BROKEN),
            (b"\x89PNG\r\n\x1a\n" + bytes(200), Kind.UNSCANNABLE, Reason.BROKEN),
            (b"GIF89a", Kind.UNSCANNABLE, Reason.BROKEN),
            (b"\x00\x00\x00\x18ftypheic" + bytes(200), Kind.UNSCANNABLE, Reason.BROKEN),
            (
                b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41" + bytes(99),
                Kind.UNSCANNABLE,
                Reason.BROKEN,
            ),
            (b"\x1a\x45\xdf\xa3" + bytes(500), Kind.UNSCANNABLE, Reason.BROKEN),
        ],
    )
    def test_what_is_no_media_or_broken_is_a_result(
        self, open_sandbox: Callable[..., MediaSandbox], content: bytes, kind: Kind, reason: Reason
    ) -> None:
        found = _hash(open_sandbox(), content)
        assert (found.kind, found.reason, found.hashes) == (kind, reason, ())

    def test_sound_alone_is_no_video(self, open_sandbox: Callable[..., MediaSandbox]) -> None:
        found = _hash(open_sandbox(), _song())
        assert (found.kind, found.reason) == (Kind.UNSUPPORTED, Reason.NO_VIDEO_STREAM)

    def test_a_codec_that_is_not_allowed_is_refused(self, open_sandbox: Callable[..., MediaSandbox]) -> None:
        found = _hash(open_sandbox(), _clip(container="matroska", codec="ffv1"))
        assert (found.kind, found.reason) == (Kind.UNSCANNABLE, Reason.CODEC_NOT_ALLOWED)

    @pytest.mark.parametrize(
        ("limits", "content", "reason"),
        [
            ({}, _huge_png(16_000, bits=1, colour_type=0), Reason.PIXEL_LIMIT),
            ({"image_side": 600}, _saved(_picture(), "PNG"), Reason.SIDE_LIMIT),
            ({"jpeg_side": 600}, _saved(_picture(), "JPEG"), Reason.SIDE_LIMIT),
            ({"image_aspect": 2}, _saved(_picture(size=(1300, 400)), "PNG"), Reason.ASPECT_LIMIT),
            ({"image_bytes": 5_000}, _saved(_picture(), "PNG"), Reason.FILE_SIZE_LIMIT),
            ({"video_bytes": 5_000}, _clip(), Reason.FILE_SIZE_LIMIT),
            ({"video_pixels": 320 * 240 - 1}, _clip(), Reason.PIXEL_LIMIT),
            ({"video_side": 319}, _clip(), Reason.SIDE_LIMIT),
            ({}, _scan_bomb(200), Reason.SCAN_LIMIT),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_limit_is_a_typed_reason(
        self,
        open_sandbox: Callable[..., MediaSandbox],
        limits: dict[str, int],
        content: bytes,
        reason: Reason,
    ) -> None:
        found = _hash(open_sandbox(**limits), content)
        assert (found.kind, found.reason, found.hashes) == (Kind.UNSCANNABLE, reason, ())

    def test_bytes_that_look_like_scans_behind_the_end_do_not_count(
        self, open_sandbox: Callable[..., MediaSandbox]
    ) -> None:
        content = _saved(_picture(), "JPEG") + b"\xff\xda\x00\x02" * 500
        assert _hash(open_sandbox(), content).kind is Kind.IMAGE

    def test_one_after_another_gives_the_same(self, open_sandbox: Callable[..., MediaSandbox]) -> None:
        sandbox = open_sandbox()
        content = _saved(_picture(), "JPEG")
        assert _hash(sandbox, content) == _hash(sandbox, content)


def _children(pid: int) -> list[int]:
    """Process ids of the children of a process; empty when it has ended."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _zygotes() -> list[int]:
    return [
        pid for pid in _children(os.getpid()) if b"worker.media" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


class TestTheZygote:
    """Bombs run with the scan limit lifted: that is the slowest thing a small file can ask for."""

    def test_endless_cpu_is_stopped_by_the_kernel(self) -> None:
        with ZygoteSandbox(Limits(jpeg_scans=10_000, image_cpu=1.0, image_wall=60.0)) as sandbox:
            found = _hash(sandbox, _scan_bomb(2_000))
        assert (found.kind, found.reason) == (Kind.UNSCANNABLE, Reason.CPU_LIMIT)

    def test_the_wall_clock_is_kept(self) -> None:
        with ZygoteSandbox(Limits(jpeg_scans=10_000, image_cpu=60.0, image_wall=0.5)) as sandbox:
            found = _hash(sandbox, _scan_bomb(2_000))
            assert (found.kind, found.reason) == (Kind.UNSCANNABLE, Reason.WALL_LIMIT)
            (pid,) = _zygotes()
            assert _children(pid) == []
            assert _hash(sandbox, _saved(_picture(), "JPEG")).kind is Kind.IMAGE

    def test_memory_is_bounded(self) -> None:
        with ZygoteSandbox(Limits(image_memory=500_000_000, image_pixels=250_000_000)) as sandbox:
            found = _hash(sandbox, _huge_png(15_000, bits=8, colour_type=2))
        assert (found.kind, found.reason) == (Kind.UNSCANNABLE, Reason.MEMORY_LIMIT)

    def test_a_child_that_is_killed_is_a_crash_of_its_object_only(self, wait_until: WaitUntil) -> None:
        with ZygoteSandbox(Limits(jpeg_scans=10_000, image_cpu=60.0, image_wall=60.0)) as sandbox:
            assert _hash(sandbox, _saved(_picture(), "JPEG")).kind is Kind.IMAGE
            (pid,) = _zygotes()
            found: list[HashedMedia] = []
            bomb = _scan_bomb(2_000)
            job = threading.Thread(target=lambda: found.append(_hash(sandbox, bomb)))
            job.start()
            wait_until(lambda: _children(pid))
            os.kill(_children(pid)[0], signal.SIGKILL)
            job.join()
            assert [(each.kind, each.reason) for each in found] == [(Kind.UNSCANNABLE, Reason.CRASHED)]
            assert _zygotes() == [pid]
            assert _hash(sandbox, _saved(_picture(), "JPEG")).kind is Kind.IMAGE

    def test_a_dead_zygote_is_replaced(self, zygote: ZygoteSandbox, wait_until: WaitUntil) -> None:
        content = _saved(_picture(), "JPEG")
        before = _hash(zygote, content)
        (pid,) = _zygotes()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text())
        assert _hash(zygote, content) == before
        assert pid not in _zygotes()

    def test_a_zygote_that_dies_in_the_middle_is_a_fault_of_the_sandbox(self, wait_until: WaitUntil) -> None:
        with ZygoteSandbox(Limits(jpeg_scans=10_000, image_cpu=60.0, image_wall=60.0)) as sandbox:
            assert sandbox.walls
            (pid,) = _zygotes()
            bomb, faults = _scan_bomb(2_000), []

            def hash_bomb() -> None:
                try:
                    _hash(sandbox, bomb)
                except SandboxError as fault:
                    faults.append(fault)

            job = threading.Thread(target=hash_bomb)
            job.start()
            wait_until(lambda: _children(pid))
            (child,) = _children(pid)
            os.kill(pid, signal.SIGKILL)
            job.join()
            assert [fault.code for fault in faults] == ["sandbox"]
            wait_until(lambda: not Path(f"/proc/{child}").exists())
            assert _hash(sandbox, _saved(_picture(), "JPEG")).kind is Kind.IMAGE

    def test_closing_leaves_no_process(self) -> None:
        sandbox = ZygoteSandbox()
        assert sandbox.walls
        (pid,) = _zygotes()
        sandbox.close()
        assert not Path(f"/proc/{pid}").exists()
        assert _zygotes() == []

    def test_it_ends_with_its_parent(self, wait_until: WaitUntil) -> None:
        script = (
            "import os; from worker.media.sandbox import ZygoteSandbox; s = ZygoteSandbox(); s.walls; "
            "print(s._zygote.process.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
        pid = int(ended.stdout)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())

    def test_a_fork_of_its_owner_has_a_zygote_of_its_own(self) -> None:
        script = (
            "import io, os; from PIL import Image; from worker.media.media import memfd_from\n"
            "from worker.media.sandbox import ZygoteSandbox\n"
            "out = io.BytesIO(); Image.new('RGB', (90, 90)).save(out, 'PNG')\n"
            "s = ZygoteSandbox(); m = memfd_from([out.getvalue()]); first = s.hash(m)\n"
            "if os.fork() == 0:\n"
            "    same = s.hash(m) == first; s.close(); os._exit(0 if same else 1)\n"
            "status = os.wait()[1]; assert s.hash(m) == first; s.close(); print(status)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
        assert (done.stdout.strip(), done.stderr) == ("0", "")

    def test_neither_environment_nor_descriptors_are_inherited(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("HASHWARDEN_STORAGE__SECRET_KEY", "credential")
        secret = os.open(tmp_path, os.O_RDONLY)
        os.set_inheritable(secret, True)
        with ZygoteSandbox() as sandbox:
            assert sandbox.walls & Wall.NO_PRIVILEGES
            (pid,) = _zygotes()
            if os.geteuid() != 0:
                with pytest.raises(PermissionError):
                    Path(f"/proc/{pid}/environ").read_bytes()
            else:
                names = re.findall(rb"(?:^|\x00)([A-Z_]+)=", Path(f"/proc/{pid}/environ").read_bytes())
                assert set(names) == {name.encode() for name in sandbox_module._ENVIRONMENT}
                links = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
                assert str(tmp_path) not in links
                assert all(link.startswith(("/dev/null", "socket:", "anon_inode:")) for link in links)
                assert "(deleted)" in str(Path(f"/proc/{pid}/cwd").readlink())
        os.close(secret)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its user")
    def test_root_gives_up_its_user_and_its_network(self, zygote: ZygoteSandbox) -> None:
        assert zygote.walls & Wall.OTHER_USER
        (pid,) = _zygotes()
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:\t65534\t65534\t65534", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
        if zygote.walls & Wall.NO_NETWORK:
            assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()

    def test_an_interpreter_that_does_not_start_is_a_fault_of_the_sandbox(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = _saved(_picture(), "JPEG")
        for broken in ("/nonexistent/python", "/bin/false"):
            monkeypatch.setattr(sys, "executable", broken)
            with ZygoteSandbox() as sandbox, pytest.raises(SandboxError) as fault:
                _hash(sandbox, content)
            assert fault.value.next_step
        assert _zygotes() == []

    def test_threads_take_turns(self, zygote: ZygoteSandbox) -> None:
        contents = [_saved(_picture(seed), "JPEG") for seed in range(4)]
        expected = [_hash(zygote, content) for content in contents]
        found: dict[int, HashedMedia] = {}
        threads = [
            threading.Thread(target=lambda at=at: found.update({at: _hash(zygote, contents[at])}))
            for at in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found[at] for at in range(4)] == expected

    def test_the_parent_loads_no_decoder(self) -> None:
        script = (
            "import sys; import worker.media.sandbox; "
            "print([m for m in ('PIL', 'av', 'numpy', 'pdqhash', 'pillow_heif') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stdout.strip() == "[]"
