"""The pictures that a video or a song carries as its cover or as attachments, decoded as pictures.

A player shows them, so a picture could travel in one; FFmpeg names each a video stream, and often the first.
"""

from dataclasses import dataclass, field, replace

import av
import av.stream

from worker.domain import Kind, ViewHash
from worker.media.image import hash_picture
from worker.media.limits import Limits, Reason, RefusalError
from worker.media.sniff import sniff
from worker.media.views import DIHEDRAL


@dataclass(slots=True)
class Covers:
    """What was found in the covers so far, and why others were not hashed."""

    limits: Limits
    hashes: list[ViewHash] = field(default_factory=list)
    seen: int = 0
    damaged: bool = False
    missed: Reason | None = None

    def take(self, packet: "av.Packet[av.stream.Stream]", places: int) -> int:
        """Hash one cover into at most `places` places for frames; returns how many it took."""
        content = bytes(packet)
        if not content:
            return 0
        self.seen += 1
        format_ = sniff(content)
        if self.seen > self.limits.image_frames:
            self._miss(Reason.FRAME_LIMIT)
        elif format_.kind is not Kind.IMAGE:
            self._miss(Reason.CODEC_NOT_ALLOWED)
        else:
            try:
                found = hash_picture(content, format_, self.limits)
            except RefusalError as refused:
                self._miss(refused.reason)
                return 0
            taken = -(-len(found.hashes) // len(DIHEDRAL))
            if taken <= places:
                self.hashes += [replace(each, frame_time=each.frame_time or 0.0) for each in found.hashes]
                self.damaged = self.damaged or found.partial
                if found.reason:
                    self._miss(Reason(found.reason))
                return taken
            self._miss(Reason.FRAME_LIMIT)
        return 0

    def _miss(self, reason: Reason) -> None:
        self.missed = self.missed or reason
