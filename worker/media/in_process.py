"""The same decoders without a sandbox, for tests of the decode path only: hostile media may crash the caller."""

from types import TracebackType
from typing import Self

from worker.domain import CloserLook, HashedMedia, Profile
from worker.media import raster, record
from worker.media.decode import decode, render
from worker.media.limits import Limits, refused
from worker.media.media import Media
from worker.media.rungs import Showing, Shown
from worker.media.sandbox import read_raster, read_record, refusal_unseen


class InProcessSandbox:
    """Decodes in this very process; results pass through the same record as the real sandbox's."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def hash(
        self, media: Media, profile: Profile = Profile.PLAIN, closer: CloserLook | None = None
    ) -> HashedMedia:
        format_ = media.format()
        refusal = refusal_unseen(media, format_, self._limits)
        if refusal is not None:
            return refused(refusal)
        found = decode(media.fd, media.size, format_, self._limits, profile, closer)
        return read_record(record.pack(found), format_, self._limits)

    def show(self, media: Media, showing: Showing) -> Shown:
        format_ = media.format()
        refusal = refusal_unseen(media, format_, self._limits)
        if refusal is not None:
            return Shown(reason=refusal)
        made = render(media.fd, media.size, format_, self._limits, showing)
        return read_raster(raster.pack(made), showing, format_.kind)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
