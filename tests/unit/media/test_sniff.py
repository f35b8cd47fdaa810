import io

import pytest
from PIL import Image

from worker.domain import Kind
from worker.media.sniff import HEAD_BYTES, Format, sniff


def _saved(name: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(out, name)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("JPEG", Format.JPEG),
        ("PNG", Format.PNG),
        ("GIF", Format.GIF),
        ("WEBP", Format.WEBP),
        ("AVIF", Format.HEIF),
        ("TIFF", Format.TIFF),
        ("BMP", Format.BMP),
    ],
)
def test_what_pillow_writes_is_recognised(name: str, found: Format) -> None:
    assert sniff(_saved(name)) is found
    assert found.kind is Kind.IMAGE


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", Format.HEIF),
        (b"\x00\x00\x00\x18ftypavis\x00\x00\x00\x00avismsf1", Format.HEIF),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41", Format.MP4),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ", Format.MP4),
        (b"\x00\x00\x10\x00moov\x00\x00\x00\x6cmvhd", Format.MP4),
        (b"\x1a\x45\xdf\xa3\x01\x00\x00\x00", Format.MATROSKA),
        (b"RIFF\x00\x00\x00\x00AVI LIST", Format.AVI),
        ((b"\x47" + bytes(187)) * 5, Format.MPEG_TS),
        ((bytes(4) + b"\x47" + bytes(187)) * 5, Format.MPEG_TS),
        (b"\x00\x00\x01\xba\x44", Format.MPEG_PS),
        (b"FLV\x01\x05\x00\x00\x00\x09", Format.FLV),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Format.ASF),
        (b"OggS\x00\x02", Format.OGG),
        (b"MM\x00+\x00\x08\x00\x00", Format.TIFF),
    ],
)
def test_signatures(head: bytes, found: Format) -> None:
    assert sniff(head) is found
    assert found.kind in {Kind.IMAGE, Kind.VIDEO}


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"#EXTM3U\n#EXTINF:1,\nhttp://192.0.2.1/a.ts\n",
        b"ffconcat version 1.0\nfile a.mp4\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        b"8BPS\x00\x01",
        b"\xff\x0a\xfa\x7f",
        b"\x00\x00\x00\x0cJXL \r\n\x87\n",
        b"\x00\x00\x00\x14ftypjxl \x00\x00\x00\x00jxl ",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        b"BMW is a maker of cars",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"PK\x03\x04",
        b"ID3\x04",
        b"G" * 10,
    ],
)
def test_everything_else_is_unknown(head: bytes) -> None:
    assert sniff(head) is Format.UNKNOWN
    assert Format.UNKNOWN.kind is Kind.UNSUPPORTED


def test_only_the_head_is_looked_at() -> None:
    assert sniff(b"x" * HEAD_BYTES + _saved("PNG")) is Format.UNKNOWN
