"""The real parts of one process, built from the settings: database, store, sandbox and index."""

from __future__ import annotations

from collections.abc import Callable, Collection

from bank_sync.epoch import EpochReader
from bank_sync.sync import replica_of
from config.database import make_engine, make_sessions
from config.settings import Settings
from worker.domain import Lane
from worker.media.limits import Limits
from worker.media.sandbox import ZygoteSandbox
from worker.pipeline import Stages
from worker.storage.s3 import S3Store


class Parts:
    """Built after a fork, closed at the end; each part connects at its first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = make_engine(settings.database)
        self.sessions = make_sessions(self.engine)
        self.store = S3Store(settings.storage)
        self.sandbox = ZygoteSandbox(
            Limits(video_bytes=settings.media.spool_bytes, video_rate=settings.media.frames_per_second)
        )
        self.epochs = EpochReader(
            settings.epochs_dir, poll_every=settings.index.poll_every, replica=replica_of(settings)
        )

    def stages(self, announce: Callable[[Collection[tuple[int, Lane]]], None]) -> Stages:
        return Stages(
            settings=self.settings,
            sessions=self.sessions,
            store=self.store,
            sandbox=self.sandbox,
            index=self.epochs.current,
            announce=announce,
        )

    def close(self) -> None:
        self.sandbox.close()
        self.engine.dispose()
