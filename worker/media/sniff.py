"""Which format the bytes are, by content and never by name or declared type.

It runs in the parent, on at most the first 64 KiB, so it reads fixed offsets only and parses nothing.
"""

from enum import StrEnum

from worker.domain import Kind

HEAD_BYTES = 65_536


class Format(StrEnum):
    """A recognised format; `UNKNOWN` is everything that is not decoded here."""

    UNKNOWN = "unknown"
    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    HEIF = "heif"
    """HEIC and AVIF: one box structure, told apart by the decoder."""
    TIFF = "tiff"
    BMP = "bmp"
    MP4 = "mp4"
    MATROSKA = "matroska"
    AVI = "avi"
    MPEG_TS = "mpeg_ts"
    MPEG_PS = "mpeg_ps"
    FLV = "flv"
    ASF = "asf"
    OGG = "ogg"

    @property
    def kind(self) -> Kind:
        """IMAGE, VIDEO or, for `UNKNOWN`, UNSUPPORTED."""
        if self is Format.UNKNOWN:
            return Kind.UNSUPPORTED
        return Kind.IMAGE if self in IMAGE_FORMATS else Kind.VIDEO


IMAGE_FORMATS = frozenset(
    {Format.JPEG, Format.PNG, Format.GIF, Format.WEBP, Format.HEIF, Format.TIFF, Format.BMP}
)

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", Format.JPEG),
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"II*\x00", Format.TIFF),
    (b"MM\x00*", Format.TIFF),
    (b"II+\x00\x08\x00\x00\x00", Format.TIFF),
    (b"MM\x00+\x00\x08\x00\x00", Format.TIFF),
    (b"\x1a\x45\xdf\xa3", Format.MATROSKA),
    (b"\x00\x00\x01\xba", Format.MPEG_PS),
    (b"FLV\x01", Format.FLV),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", Format.ASF),
    (b"OggS\x00", Format.OGG),
)

_PICTURE_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2", b"avif", b"avis"}
)
# Boxes that a QuickTime file without `ftyp` may start with.
_MOVIE_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
# Size of the header that follows a BMP's file header; text that starts with "BM" has none of these there.
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_TS_PACKETS = ((0, 188), (4, 192), (0, 204))
_TS_RUN = 4


def sniff(head: bytes) -> Format:
    """Name the format of an object by its first bytes (64 KiB at most are looked at)."""
    head = head[:HEAD_BYTES]
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if head[:4] == b"RIFF":
        return {b"WEBP": Format.WEBP, b"AVI ": Format.AVI}.get(head[8:12], Format.UNKNOWN)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return Format.BMP
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head[4:8] in _MOVIE_BOXES:
        return Format.MP4
    if _is_transport_stream(head):
        return Format.MPEG_TS
    return Format.UNKNOWN


def _brand(head: bytes) -> Format:
    """A picture is named by its major brand, or by a compatible one where the major brand is unknown."""
    end = min(int.from_bytes(head[:4], "big"), len(head), 512)
    major = head[8:12]
    if major in _PICTURE_BRANDS:
        return Format.HEIF
    if major in {b"jxl ", b"jp2 ", b"jpx ", b"jpm ", b"crx "}:
        return Format.UNKNOWN
    compatible = {head[at : at + 4] for at in range(16, end - 3, 4)}
    if major in {b"MiHE", b"MiHB", b"1pic"} and compatible & _PICTURE_BRANDS:
        return Format.HEIF
    return Format.MP4


def _is_transport_stream(head: bytes) -> bool:
    return any(
        len(head) >= start + (_TS_RUN - 1) * step + 1
        and all(head[start + n * step] == 0x47 for n in range(_TS_RUN))
        for start, step in _TS_PACKETS
    )
