"""Makes hostile pictures: each function gives the bytes of one, by code, so that nothing hostile is shipped."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

Picture = Image.Image

# Else only what ran before in the same process lets Pillow write HEIF.
pillow_heif.register_heif_opener()


def picture(seed: int = 7, size: tuple[int, int] = (640, 480)) -> Picture:
    """A picture with structure, another for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def saved(image: Picture, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


JPEG = saved(picture(), "JPEG", quality=90)
PNG = saved(picture(), "PNG")


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", height, width) + JPEG[at + 9 :]


def jpeg_with_scans(count: int, *, arithmetic: bool = False) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    body = saved(picture(), "JPEG", quality=60, progressive=True)
    last = body.rindex(b"\xff\xda")
    found = body[:last] + body[last:-2] * count + b"\xff\xd9"
    return found.replace(b"\xff\xc2", b"\xff\xca", 1) if arithmetic else found


def jpeg_with_notes(count: int, size: int) -> bytes:
    """The JPEG behind `count` Exif segments of `size` bytes."""
    return JPEG[:2] + segment(0xE1, b"Exif\0\0" + bytes(size)) * count + JPEG[2:]


def jpeg_height_later() -> bytes:
    """Height 0 in the frame header; the real one is told by a DNL segment."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + b"\0\0" + JPEG[at + 7 : -2] + segment(0xDC, struct.pack(">H", 480)) + JPEG[-2:]


def jpeg_frame(code: int, precision: int = 8) -> bytes:
    """The frame header of another process: lossless, 12 bits."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 1] + bytes([code]) + JPEG[at + 2 : at + 4] + bytes([precision]) + JPEG[at + 5 :]


def exif_entries(entries: Iterable[tuple[int, int, int, bytes]], following: int = 0) -> bytes:
    """An Exif block of one little-endian directory."""
    rows = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    count = len(rows) // 12
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + rows + struct.pack("<I", following) + bytes(64)


def jpeg_with_exif(block: bytes) -> bytes:
    return JPEG[:2] + segment(0xE1, block) + JPEG[2:]


def orientation(*values: int) -> bytes:
    return jpeg_with_exif(exif_entries((0x0112, 3, 1, struct.pack("<HH", value, 0)) for value in values))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes, interlaced: bool = False
) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *more, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    )


def png_empty_rows(width: int, height: int) -> bytes:
    """One bit a pixel, all black: megapixels in kilobytes."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    parts = [squeeze.compress(row * 1000) for _ in range(height // 1000)]
    parts += [squeeze.compress(row * (height % 1000)), squeeze.flush()]
    return png(width, height, 1, 0, b"".join(parts))


def png_with(*chunks: bytes) -> bytes:
    """The PNG with chunks behind its header."""
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def apng(claimed: int, default: Picture, frames: list[Picture], *, controls: bool = True) -> bytes:
    """An animation whose default picture is no part of it."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    size = default.size
    parts.append(chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)))
    parts.append(chunk(b"acTL", struct.pack(">II", claimed, 0)))

    def rows(image: Picture) -> bytes:
        pixels = np.asarray(image.convert("RGB"))
        flat = pixels.reshape(len(pixels), -1)
        return zlib.compress(np.hstack([np.zeros((len(flat), 1), np.uint8), flat]).tobytes())

    parts.append(chunk(b"IDAT", rows(default)))
    number = 0
    for frame in frames:
        if controls:
            parts.append(chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *size, 0, 0, 1, 1, 0, 0)))
            number += 1
        parts.append(chunk(b"fdAT", struct.pack(">I", number) + rows(frame)))
        number += 1
    return b"".join([*parts, chunk(b"IEND", b"")])


def gif_many_frames(count: int, side: int) -> bytes:
    """One pixel changes `count` times on a huge canvas."""
    dot = saved(Image.new("P", (1, 1)), "GIF")
    at = dot.index(b",")
    frame = dot[at:-1]
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(3) + b"\xff\xff\xff"
    return head + frame * count + b";"


def gif_with_payload_second(payload: Picture) -> bytes:
    blank = Image.new("RGB", payload.size, "white")
    second = payload.convert("L")
    return saved(blank.convert("L"), "GIF", save_all=True, append_images=[second], duration=[0, 900], loop=0)


def gif_of_frames(*frames: Picture) -> bytes:
    """Frames without any delay, for ever."""
    first, *others = (frame.convert("L") for frame in frames)
    return saved(first, "GIF", save_all=True, append_images=others, duration=0, loop=0)


def gif_without_palette() -> bytes:
    body = saved(picture(size=(64, 64)).convert("L"), "GIF")
    table = 3 * 2 ** ((body[10] & 7) + 1)
    return body[:10] + bytes([body[10] & 0x7F]) + body[11:13] + body[13 + table :]


def png_interlaced(share: float) -> bytes:
    """An Adam7 picture of which so much of the squeezed rows arrived."""
    pixels = np.asarray(picture())
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    rows = []
    for top, left, down, across in passes:
        lines = pixels[top::down, left::across].reshape(len(pixels[top::down]), -1)
        rows.append(np.hstack([np.zeros((len(lines), 1), np.uint8), lines]).tobytes())
    packed = zlib.compress(b"".join(rows))
    return png(640, 480, 8, 2, packed[: int(share * len(packed))], interlaced=True)


def webp_claiming(width: int, height: int) -> bytes:
    """An animation whose canvas is claimed larger than its frames."""
    body = saved(picture(), "WEBP", save_all=True, append_images=[picture(3)], duration=100)
    at = body.index(b"VP8X") + 12
    claim = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return body[:at] + claim + body[at + 6 :]


def webp_alpha_only(payload: Picture) -> bytes:
    hidden = payload.convert("RGBA")
    hidden.putalpha(payload.convert("L"))
    return saved(hidden, "WEBP", lossless=True, exact=True)


def mpo(second: bytes, offset: int) -> bytes:
    """A JPEG whose index of further pictures points to `offset` bytes off the second one."""
    entries = b"".join(
        struct.pack("<IIIHH", kind, size, at, 0, 0)
        for kind, size, at in ((0x030000, len(JPEG), 0), (0, len(second), len(JPEG) + offset))
    )
    rows = struct.pack("<HHII", 0xB000, 7, 4, 0x30303130) + struct.pack("<HHII", 0xB001, 4, 1, 2)
    rows += struct.pack("<HHII", 0xB002, 7, len(entries), 50)
    index = b"MPF\0II*\0" + struct.pack("<IH", 8, 3) + rows + struct.pack("<I", 0) + entries
    return JPEG[:2] + segment(0xE2, index) + JPEG[2:] + second


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def _full_box(name: bytes, body: bytes) -> bytes:
    return _box(name, bytes(4) + body)


def heif_derived(kind: bytes, parts: list[int], data: bytes) -> bytes:
    """A HEIF file of one derived item of this kind, made of these items, with its description in the file."""
    infos = b"".join(
        _box(b"infe", b"\2\0\0\0" + struct.pack(">HH", item, 0) + name + b"\0")
        for item, name in ((1, kind), (2, b"hvc1"))
    )
    references = _box(b"dimg", struct.pack(f">HH{len(parts)}H", 1, len(parts), *parts))
    place = struct.pack(">HHHHI", 1, 1, 0, 1, 0) + struct.pack(">I", len(data))
    meta = b"".join(
        [
            _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13)),
            _full_box(b"pitm", struct.pack(">H", 1)),
            _full_box(b"iinf", struct.pack(">H", 2) + infos),
            _full_box(b"iref", references),
            _box(b"iloc", b"\1\0\0\0" + b"\x44\0" + struct.pack(">H", 1) + place),
            _box(b"idat", data),
        ]
    )
    return _box(b"ftyp", b"heic\0\0\0\0mif1heic") + _full_box(b"meta", meta)


def heic_without_primary() -> bytes:
    body = saved(picture(), "HEIF")
    at = body.index(b"pitm") + 8
    return body[:at] + b"\x7f\xff" + body[at + 2 :]


def gif_code_size(size: int) -> bytes:
    body = bytearray(saved(picture(size=(64, 64)).convert("P"), "GIF"))
    body[body.index(b",") + 10] = size
    return bytes(body)


def tiff(entries: list[tuple[int, int, int, int]], following: int, body: bytes = b"") -> bytes:
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", following) + body


def tiff_tiny(strip: int, counts: int = 1) -> list[tuple[int, int, int, int]]:
    """Tags of a grey picture of one pixel at this offset."""
    return [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, strip),
        (278, 3, 1, 1),
        (279, 4, 1, counts),
    ]


def tiff_many(count: int) -> bytes:
    """`count` directories, each pointing to the next."""
    length = 2 + 8 * 12 + 4
    parts = [b"II*\0" + struct.pack("<I", 8)]
    for at in range(count):
        rows = b"".join(struct.pack("<HHII", *entry) for entry in tiff_tiny(8 + count * length))
        following = 8 + (at + 1) * length if at + 1 < count else 0
        parts.append(struct.pack("<H", 8) + rows + struct.pack("<I", following))
    return b"".join([*parts, bytes(4)])


def bmp_endless() -> bytes:
    """Run lengths that never end a line."""
    rows = bytes([255, 7]) * 4000
    head = struct.pack("<IiiHHIIiiII", 40, 4000, 4000, 1, 8, 1, len(rows), 0, 0, 256, 0)
    palette = bytes(1024)
    offset = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + head + palette + rows


def bmp_top_down() -> bytes:
    pixels = np.asarray(picture().convert("RGB"))[:, :, ::-1]
    body = pixels.tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, 640, -480, 1, 24, 0, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + head + body


def ico_of_bomb() -> bytes:
    bomb = png_empty_rows(20_000, 20_000)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 1, len(bomb), 22) + bomb


def transparent(payload: Picture) -> bytes:
    """Nothing is seen of it, but the colours are there."""
    hidden = payload.convert("RGBA")
    hidden.putalpha(0)
    return saved(hidden, "PNG")


def over_transparent(payload: Picture) -> bytes:
    """Opaque over a wide transparent frame of other colours."""
    frame = Image.new("RGBA", (payload.width, payload.height), (255, 0, 0, 0))
    frame.paste(ImageOps.grayscale(payload).convert("RGBA"), (0, 0))
    return saved(frame, "PNG")
