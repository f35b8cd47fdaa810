"""Makes hostile films and texts that claim to be films, by code."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from tests.unit.media.hostile.pictures import jpeg_claiming, picture, saved

SIZE = (320, 240)


def film(
    scenes: Sequence[int] = (0, 1, 2),
    *,
    container: str = "mp4",
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    fps: int = 10,
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    metadata: dict[str, str] | None = None,
    gop: int = 12,
) -> bytes:
    """A second of each scene, or one frame of each at these seconds."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options or {}) as writer:
        writer.metadata.update(metadata or {})
        stream = cast(VideoStream, writer.add_stream(codec, rate=fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, fps)
        for at, scene in enumerate(scenes):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture(scene, size)))
            if times is not None:
                frame.pts = times[at] * fps
                writer.mux(stream.encode(frame))
                continue
            for step in range(fps):
                frame.pts = at * fps + step
                writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return out.getvalue()


def with_cover_first(scenes: Sequence[int] = (0, 1)) -> bytes:
    """An MKV whose first video stream is a still JPEG track beside the film."""
    return _two_tracks(picture(9, SIZE), scenes, container="matroska")


def _two_tracks(first: Image.Image, scenes: Sequence[int], *, container: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as writer:
        still = writer.add_stream("mpeg4", rate=1)
        still.width, still.height, still.pix_fmt = *SIZE, "yuv420p"
        moving = writer.add_stream("libx264", rate=10)
        moving.width, moving.height, moving.pix_fmt = *SIZE, "yuv420p"
        for at, scene in enumerate(scenes):
            shown = av.VideoFrame.from_ndarray(np.asarray(first))
            shown.pts = at
            writer.mux(still.encode(shown))
            frame = av.VideoFrame.from_ndarray(np.asarray(picture(scene, SIZE)))
            for step in range(10):
                frame.pts = at * 10 + step
                writer.mux(moving.encode(frame))
        writer.mux(still.encode(None))
        writer.mux(moving.encode(None))
    return out.getvalue()


def two_tracks(scenes: Sequence[int] = (3, 4)) -> bytes:
    return _two_tracks(Image.new("RGB", SIZE, "grey"), scenes, container="mp4")


def one_packet_corrupt() -> bytes:
    body = bytearray(film((0, 1, 2), gop=5))
    middle = body.index(b"mdat") + len(body) // 3
    body[middle : middle + 200] = bytes(200)
    return bytes(body)


def moov_first_and_cut(share: float) -> bytes:
    body = film((0, 1, 2), options={"movflags": "frag_keyframe+empty_moov"})
    return body[: int(len(body) * share)]


def without_moov() -> bytes:
    body = film()
    return body[: body.index(b"moov") - 4]


def odd_title() -> bytes:
    body = film(container="matroska", metadata={"title": "marker-of-the-title"})
    return body.replace(b"marker-of-the-title", b"\xff\xfe\xc3marker\x80\x81-title")


def appended_stream() -> bytes:
    """A second transport stream, on other programme numbers, behind the end of the first."""
    return film((0, 1), container="mpegts") + film(
        (5, 6), container="mpegts", options={"mpegts_start_pid": "0x300", "mpegts_service_id": "7"}
    )


def size_changes() -> bytes:
    """Another resolution in the middle, in a transport stream."""
    return film((0, 1), container="mpegts") + film((5, 6), container="mpegts", size=(640, 480))


def many_streams(count: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as writer:
        tracks = []
        for _ in range(count):
            track = writer.add_stream("mpeg4", rate=1)
            track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
            tracks.append(track)
        for at, track in enumerate(tracks):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture(at, (64, 48))))
            frame.pts = 0
            writer.mux(track.encode(frame))
            writer.mux(track.encode(None))
    return out.getvalue()


def motion_photo() -> bytes:
    return saved(picture(), "JPEG") + film((3, 4))


def probes(address: str) -> dict[str, bytes]:
    """Texts that ask a player to fetch something from this host and port."""
    url = f"http://{address}/x.ts"
    port = address.rpartition(":")[2]
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "concat": f"ffconcat version 1.0\nfile '{url}'\n".encode(),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
            f'<Representation id="1"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>'
        ).encode(),
        "sdp": (
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
            "a=rtpmap:96 H264/90000\n"
        ).encode(),
        "rtsp": f"RTSPtext\nrtsp://{address}/stream\n".encode(),
        "xspf": (
            '<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList><track>'
            f"<location>{url}</location></track></trackList></playlist>"
        ).encode(),
    }


def stuffed(count: int) -> bytes:
    """A film behind which this many empty boxes follow."""
    return film() + ((8).to_bytes(4, "big") + b"free") * count


def huge_frame() -> bytes:
    """A film of one JPEG that claims 16384 x 16384."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as writer:
        stream = writer.add_mux_stream("mjpeg", rate=1, width=16_384, height=16_384)
        packet = av.Packet(jpeg_claiming(16_384, 16_384))
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1)
        writer.mux(packet)
    return out.getvalue()
