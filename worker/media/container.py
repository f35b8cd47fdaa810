"""Open a video file so that it can reach nothing but its own bytes.

FFmpeg opens playlists, sockets and neighbouring files when asked politely; nothing else may open a container.
"""

import errno
import io
from mmap import mmap
from typing import NoReturn, cast

import av
import av.container
import av.error

from worker.media.limits import Limits, Reason, RefusalError

_DEMUXERS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf"
_CONTAINERS = frozenset({*_DEMUXERS.split(","), "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
_IO_SECONDS = 5.0


class _Upload(io.RawIOBase):
    """The mapped bytes as a file with a name of ours: FFmpeg chooses some demuxers by name."""

    name = "<upload>"

    def __init__(self, media: mmap | bytes) -> None:
        super().__init__()
        self._media = media
        self._size = len(media)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        chunk = self._media[self._at : end] if self._at < end else b""
        self._at += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def _deny(*_request: object) -> NoReturn:
    raise PermissionError(errno.EACCES, "no second file")


def open_container(media: mmap | bytes, limits: Limits) -> av.container.InputContainer:
    """Open with an allow-list of demuxers, no protocol, no second file, and our name for the upload.

    A refused demuxer ends with EINVAL before it reads a byte (measured with HLS, DASH, concat and SDP).
    """
    try:
        container: av.container.InputContainer = av.open(
            mode="r",
            file=cast(io.BufferedReader, _Upload(media)),
            options={
                "format_whitelist": _DEMUXERS,
                "protocol_whitelist": "none",
                "probesize": str(limits.probe_bytes),
                "analyzeduration": str(int(limits.probe_seconds * 1_000_000)),
                "max_streams": str(limits.container_streams),
                # An edit list hides frames from some players and not from others: all of them are seen here.
                "ignore_editlist": "1",
            },
            io_open=_deny,
            # A title of any bytes is no fault of the film.
            metadata_errors="replace",
            timeout=(_IO_SECONDS, _IO_SECONDS),
        )
    except MemoryError as fault:
        # FFmpeg's answer to one stream too many; a container that opens runs out of those first.
        raise RefusalError(Reason.STREAM_LIMIT) from fault
    except av.error.FFmpegError as fault:
        refused = fault.errno == errno.EINVAL
        raise RefusalError(Reason.FORMAT_NOT_ALLOWED if refused else Reason.BROKEN) from fault
    if container.format.name not in _CONTAINERS:
        container.close()
        raise RefusalError(Reason.FORMAT_NOT_ALLOWED)
    return container
