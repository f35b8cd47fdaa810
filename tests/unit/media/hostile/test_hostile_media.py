"""The sixty-four hostile files: each ends in a typed result, and what it shows is hashed."""

from __future__ import annotations

import os
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.media.hostile import pictures as p
from tests.unit.media.hostile import videos as v
from worker.domain import HashedMedia, Kind
from worker.media.in_process import InProcessSandbox
from worker.media.limits import Reason
from worker.media.media import memfd_from
from worker.media.pdq import distance
from worker.media.sandbox import MediaSandbox, ZygoteSandbox

_NEAR = 20
"""Bits from a still of 320 x 240 after lossy coding; from the picture itself it is 10."""
_GROWTH = 16 * 1024 * 1024


@dataclass(frozen=True)
class Case:
    number: int
    name: str
    make: Callable[[], bytes]
    kind: Kind
    reason: str = ""
    partial: bool = False
    shows: tuple[int, ...] = ()
    """Seeds of the pictures that must be among the hashes, in any turn."""


def image(number: int, name: str, make: Callable[[], bytes], *shows: int, **more: bool | str) -> Case:
    return Case(number, name, make, Kind.IMAGE, str(more.get("reason", "")), bool(more.get("partial")), shows)


def film(number: int, name: str, make: Callable[[], bytes], *shows: int, **more: bool | str) -> Case:
    return Case(number, name, make, Kind.VIDEO, str(more.get("reason", "")), bool(more.get("partial")), shows)


def ends(number: int, name: str, make: Callable[[], bytes], reason: Reason) -> Case:
    return Case(number, name, make, Kind.UNSCANNABLE, reason)


def is_none(number: int, name: str, body: bytes, reason: Reason = Reason.FORMAT_NOT_ALLOWED) -> Case:
    return Case(number, name, lambda: body, Kind.UNSUPPORTED, reason)


def _packed(size: int) -> bytes:
    return zlib.compress(bytes(size))


def _exif(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


CASES = [
    is_none(1, "empty", b"", Reason.EMPTY),
    is_none(2, "one byte", b"\xff"),
    *(
        Case(3, f"magic only: {name}", partial(bytes, body), Kind.UNSCANNABLE, Reason.BROKEN)
        for name, body in {
            "jpeg": b"\xff\xd8\xff",
            "png": b"\x89PNG\r\n\x1a\n",
            "gif": b"GIF89a",
            "webp": b"RIFF\0\0\0\0WEBP",
            "mp4": b"\0\0\0\x18ftypisom",
            "tiff": b"II*\0",
            "matroska": b"\x1aE\xdf\xa3",
        }.items()
    ),
    image(4, "jpeg without its end", lambda: p.JPEG[:-2], 7, partial=True),
    image(5, "half a jpeg", lambda: p.JPEG[: len(p.JPEG) // 2], partial=True),
    ends(6, "jpeg claims 65500 x 65500", lambda: p.jpeg_claiming(65_500, 65_500), Reason.PIXEL_LIMIT),
    image(7, "jpeg claims 9000 x 9000", lambda: p.jpeg_claiming(9_000, 9_000)),
    ends(8, "jpeg of 500 scans", lambda: p.jpeg_with_scans(500), Reason.SCAN_LIMIT),
    ends(9, "arithmetic, 5000 scans", lambda: p.jpeg_with_scans(5_000, arithmetic=True), Reason.SCAN_LIMIT),
    image(10, "jpeg with 4000 notes", lambda: p.jpeg_with_notes(4_000, 100), 7),
    image(10, "jpeg with 20 MB of notes", lambda: p.jpeg_with_notes(320, 65_000), 7),
    ends(11, "height told later", p.jpeg_height_later, Reason.BROKEN),
    image(12, "cmyk", lambda: p.saved(p.picture().convert("CMYK"), "JPEG"), 7),
    image(
        12,
        "cmyk without its marker",
        lambda: p.saved(p.picture().convert("CMYK"), "JPEG").replace(b"Adobe", b"Adobf"),
        7,
    ),
    ends(13, "jpeg of 12 bits", lambda: p.jpeg_frame(0xC1, 12), Reason.BROKEN),
    ends(14, "lossless jpeg", lambda: p.jpeg_frame(0xC3), Reason.TRUNCATED),
    image(15, "two pictures", lambda: p.mpo(p.saved(p.picture(3), "JPEG"), 0), 7, 3),
    image(15, "two pictures, false place", lambda: p.mpo(p.saved(p.picture(3), "JPEG"), 9_999), 7, 3),
    image(16, "motion photo", v.motion_photo, 7, 3, 4),
    image(
        17,
        "another thumbnail",
        lambda: p.jpeg_with_exif(
            p.exif_entries([(0x0201, 4, 1, b"\x60\0\0\0"), (0x0202, 4, 1, b"\x10\0\0\0")])
        ),
        7,
    ),
    image(18, "orientations 0, 9, 65535, 6, 6", lambda: p.orientation(0, 9, 65_535, 6, 6), 7),
    image(19, "exif loop", lambda: p.jpeg_with_exif(p.exif_entries([(0x8769, 4, 1, b"\x08\0\0\0")], 8)), 7),
    ends(20, "177 megapixels in 21 KB", lambda: p.png_empty_rows(13_300, 13_300), Reason.PIXEL_LIMIT),
    ends(21, "900 megapixels", lambda: p.png_empty_rows(30_000, 30_000), Reason.PIXEL_LIMIT),
    ends(22, "2^31 - 1 wide", lambda: p.png(2**31 - 1, 1, 8, 2, b""), Reason.PIXEL_LIMIT),
    image(23, "60 long texts", lambda: p.png_with(*[p.chunk(b"zTXt", b"k\0\0" + _packed(900_000))] * 60), 7),
    image(24, "200 MB profile", lambda: p.png_with(p.chunk(b"iCCP", b"p\0\0" + _packed(200_000_000))), 7),
    image(25, "false checksum", lambda: p.PNG.replace(p.PNG[29:33], b"abcd", 1), 7, partial=True),
    image(26, "png without its end", lambda: p.PNG[:-12], 7, partial=True),
    image(27, "rows behind the end", lambda: p.PNG + p.chunk(b"IDAT", b"x" * 50), 7),
    image(28, "interlaced, cut", lambda: p.png_interlaced(0.7), partial=True),
    image(
        29,
        "colour out of the palette",
        lambda: p.png(8, 8, 8, 3, zlib.compress((b"\0" + bytes([250] * 8)) * 8), p.chunk(b"PLTE", bytes(6))),
    ),
    image(30, "transparent colour", lambda: p.png_with(p.chunk(b"tRNS", bytes(6))), 7),
    image(
        31,
        "16 bits",
        lambda: p.saved(Image.fromarray(np.asarray(p.picture().convert("L")).astype(np.uint16) * 257), "PNG"),
        7,
    ),
    image(32, "no frames claimed", lambda: p.apng(0, p.picture(), [p.picture(3)]), 7),
    image(32, "2^31 frames claimed", lambda: p.apng(2**31, p.picture(), [p.picture(3)]), 7, 3, partial=True),
    image(32, "the default picture is another", lambda: p.apng(1, p.picture(), [p.picture(3)]), 7, 3),
    image(
        32,
        "no frame control",
        lambda: p.apng(1, p.picture(), [p.picture(3)], controls=False),
        7,
        partial=True,
    ),
    image(
        33, "20000 frames", lambda: p.gif_many_frames(20_000, 3_000), reason=Reason.FRAME_LIMIT, partial=True
    ),
    image(34, "blank before the payload", lambda: p.gif_with_payload_second(p.picture()), 7),
    image(35, "gif without a palette", p.gif_without_palette),
    image(36, "code size 0", lambda: p.gif_code_size(0)),
    ends(36, "code size 13", lambda: p.gif_code_size(13), Reason.TRUNCATED),
    image(37, "no delay", lambda: p.gif_of_frames(p.picture(), p.picture(3)), 7, 3),
    ends(38, "canvas of 256 megapixels", lambda: p.webp_claiming(16_000, 16_000), Reason.BROKEN),
    image(38, "canvas larger than its frames", lambda: p.webp_claiming(700, 500)),
    image(39, "alpha of its own", lambda: p.webp_alpha_only(p.picture()), 7),
    image(40, "directory loop", lambda: p.tiff(p.tiff_tiny(200), 8, bytes(200))),
    image(41, "65000 directories", lambda: p.tiff_many(65_000), reason=Reason.FRAME_LIMIT, partial=True),
    image(42, "a strip of 4 GiB", lambda: p.tiff(p.tiff_tiny(200, 2**32 - 1), 0, bytes(200))),
    image(43, "floating point", lambda: p.saved(p.picture().convert("F"), "TIFF"), 7),
    image(43, "lab", lambda: p.saved(p.picture().convert("LAB"), "TIFF"), 7),
    image(43, "jpeg in tiff", lambda: p.saved(p.picture(), "TIFF", compression="jpeg"), 7),
    ends(
        44,
        "big tiff beyond its end",
        lambda: b"II+\0\x08\0\0\0" + (2**40).to_bytes(8, "little"),
        Reason.BROKEN,
    ),
    ends(
        45,
        "a grid of 65535 tiles",
        lambda: p.heif_derived(b"grid", [2] * 65_535, b"\0\1\xff\xff" + (65_535).to_bytes(4, "big") * 2),
        Reason.BROKEN,
    ),
    ends(46, "made of itself", lambda: p.heif_derived(b"iden", [1], b""), Reason.BROKEN),
    ends(46, "laid over itself", lambda: p.heif_derived(b"iovl", [1, 1], bytes(30)), Reason.BROKEN),
    image(
        47,
        "turned twice",
        lambda: p.saved(p.picture().transpose(Image.Transpose.ROTATE_90), "HEIF", exif=_exif(6)),
        7,
    ),
    ends(48, "no primary item", p.heic_without_primary, Reason.BROKEN),
    image(49, "64 megapixels in 3 KB", lambda: p.saved(Image.new("RGB", (8_000, 8_000)), "AVIF")),
    ends(49, "81 megapixels", lambda: p.saved(Image.new("RGB", (9_000, 9_000)), "AVIF"), Reason.PIXEL_LIMIT),
    image(
        50,
        "avif sequence",
        lambda: p.saved(p.picture(), "AVIF", save_all=True, append_images=[p.picture(3)]),
        7,
        3,
    ),
    ends(51, "run lengths without end", p.bmp_endless, Reason.BROKEN),
    image(51, "top down", p.bmp_top_down, 7),
    is_none(52, "icon of a bomb", p.ico_of_bomb()),
    *(
        is_none(53, f"a {name} under another name", body)
        for name, body in {
            "jxl": b"\xff\x0a" + bytes(50),
            "jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
            "psd": b"8BPS\0\1" + bytes(50),
            "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
            "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
            "pdf": b"%PDF-1.7\n",
            "xcf": b"gimp xcf file\0",
        }.items()
    ),
    image(54, "nothing is seen of it", lambda: p.transparent(p.picture()), 7),
    image(54, "opaque over transparent", lambda: p.over_transparent(p.picture()), 7),
    *(is_none(55, f"a {name} text", body) for name, body in v.probes("127.0.0.1:9").items()),
    film(56, "fragments, cut", lambda: v.moov_first_and_cut(0.6), 0, partial=True),
    ends(56, "index at the end, cut", lambda: v.film()[:-400], Reason.BROKEN),
    ends(57, "no index", v.without_moov, Reason.BROKEN),
    film(58, "one corrupt packet", v.one_packet_corrupt, 0, 2, partial=True),
    film(59, "a still before the film", v.with_cover_first, 0, 1, 9),
    film(60, "the second track", v.two_tracks, 3, 4),
    film(61, "1000 frames a second", lambda: v.film((0, 1, 2, 3), fps=1_000, size=(16, 16))),
    ends(62, "a frame that claims 16384 x 16384", v.huge_frame, Reason.BROKEN),
    ends(62, "a frame 8256 wide", lambda: v.film((1,), size=(8_256, 64), fps=1), Reason.SIDE_LIMIT),
    film(63, "another size in the middle", v.size_changes, 0, 1, 5, 6),
    film(
        64,
        "a frame an hour",
        lambda: v.film((0, 1, 2, 3), times=(0, 3_600, 7_200, 10_800), container="matroska"),
        0,
        1,
        2,
        3,
    ),
    film(64, "60 streams", lambda: v.many_streams(60), reason=Reason.STREAM_LIMIT, partial=True),
    film(64, "10000 empty boxes", lambda: v.stuffed(10_000), 0, 1, 2),
    film(64, "a title of any bytes", v.odd_title, 0, 1, 2),
    film(64, "a second stream behind the first", v.appended_stream, 0, 1, 5, 6),
]


@pytest.fixture(scope="module")
def zygote() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as sandbox:
        yield sandbox


def _hash(sandbox: MediaSandbox, body: bytes) -> HashedMedia:
    with memfd_from([body]) as media:
        return sandbox.hash(media)


def _original(seed: int, kind: Kind) -> bytes:
    of = p.picture(seed) if kind is Kind.IMAGE and seed == 7 else p.picture(seed, v.SIZE)
    with InProcessSandbox() as sandbox:
        return _hash(sandbox, p.saved(of, "PNG")).hashes[0].hash


@pytest.mark.parametrize("case", CASES, ids=lambda each: f"{each.number}-{each.name}")
def test_each_ends_in_its_typed_result_and_what_it_shows_is_hashed(zygote: ZygoteSandbox, case: Case) -> None:
    found = _hash(zygote, case.make())
    assert (found.kind, found.reason, found.partial) == (case.kind, case.reason, case.partial)
    for seed in case.shows:
        original = _original(seed, case.kind)
        assert min(distance(view.hash, original) for view in found.hashes) <= _NEAR


def test_all_sixty_four_are_here() -> None:
    assert {case.number for case in CASES} == set(range(1, 65))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_zygote_neither_grows_nor_keeps_children() -> None:
    with ZygoteSandbox() as sandbox:
        _hash(sandbox, p.JPEG)
        assert sandbox._zygote is not None
        pid = sandbox._zygote.process.pid
        before = _resident(pid)
        for body in (p.JPEG[:900], p.png_empty_rows(13_300, 13_300), v.without_moov(), p.JPEG) * 8:
            _hash(sandbox, body)
        assert _resident(pid) - before < _GROWTH
        assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""
        assert sandbox._zygote.process.pid == pid


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A host and port that notes who calls, by TCP and by UDP."""
    calls: list[str] = []
    stop = threading.Event()
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        tcp.settimeout(0.05)
        udp.settimeout(0.05)

        def listen() -> None:
            while not stop.is_set():
                for name, answer in (("tcp", lambda: tcp.accept()[0].close()), ("udp", lambda: udp.recv(10))):
                    try:
                        answer()
                    except TimeoutError:
                        continue
                    calls.append(name)

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"127.0.0.1:{port}", calls
        stop.set()
        thread.join()


@pytest.mark.parametrize("opened", [InProcessSandbox, ZygoteSandbox], ids=["options alone", "all walls"])
def test_no_text_makes_a_decoder_call_anybody(
    opened: Callable[[], MediaSandbox], listener: tuple[str, list[str]]
) -> None:
    address, calls = listener
    sandbox = opened()
    for body in v.probes(address).values():
        # Behind the head of a film as well, where content alone would let it pass.
        for disguise in (b"", b"\0\0\0\x18ftypisom", b"\x1aE\xdf\xa3", b"\x47" + bytes(187)):
            assert _hash(sandbox, disguise + body).hashes == ()
    sandbox.close()
    assert calls == []


def test_the_listener_hears_who_calls(
    listener: tuple[str, list[str]], wait_until: Callable[..., object]
) -> None:
    address, calls = listener
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))):
        wait_until(lambda: calls == ["tcp"])
