"""Keeps the epoch in force at hand: polls the pointer, verifies, maps, swaps.

Look-ups never wait for a new epoch: what takes long is verified beside them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from bank_sync.epoch_files import Pointer, read_manifest, read_pointer
from bank_sync.loaded import LoadedEpoch
from bank_sync.manifest import EpochError, Manifest
from bank_sync.opened import Opened, bytes_to_verify, let_go, open_epoch
from bank_sync.replica import Replica

AT_ONCE = 2 * 2**20
"""Bytes that are verified within a look-up's wait: some milliseconds. More goes to a thread."""

_TRIES = 3
"""Times a reader begins anew because what it was about to open had been replaced."""

log = structlog.get_logger()


class EpochReader:
    """The epoch in force, for searching. Safe from several threads.

    A new epoch that is corrupt, partial or older than the one at hand is refused: the last good one stays,
    and `fault` says why until a good one comes.

    The first epoch is loaded before `current` returns. Later a small change is as well; a new base, and whatever is
    pulled from `replica`, is fetched and verified by a daemon thread and swapped in when it is ready. The thread begins
    with the work and ends with it, so a reader that has not been asked yet may be forked.
    """

    def __init__(
        self,
        folder: Path,
        poll_every: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        replica: Replica | None = None,
    ) -> None:
        self._folder = folder
        self._poll_every = poll_every
        self._clock = clock
        self._replica = replica
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._pointer: Pointer | None = None
        self._polled_at: float | None = None
        self._error: EpochError | None = None
        self._confirmed_at: datetime | None = None

    @property
    def fault(self) -> str:
        """Why the newest epoch is not the one at hand: none, older, partial, corrupt, unreadable; '' if it is."""
        error = self._error
        return error.fault if error else ""

    @property
    def confirmed_at(self) -> datetime | None:
        """When the epoch at hand was last known to equal the database: the age that matters of an index."""
        return self._confirmed_at

    def current(self) -> LoadedEpoch:
        """The epoch to search now. Raises EpochError only when there never was a usable one."""
        # While one thread loads, the others go on with what is there.
        if self._lock.acquire(blocking=self._opened is None):
            handed_over = False
            try:
                if self._polled_at is None or self._clock() - self._polled_at >= self._poll_every:
                    self._polled_at = self._clock()
                    handed_over = not self._poll(beside=self._opened is not None)
            finally:
                if not handed_over:
                    self._lock.release()
        if self._opened is None:
            raise self._error or EpochError("No epoch is loaded.")
        return self._opened.epoch

    def _poll(self, *, beside: bool) -> bool:
        """Looks for a newer epoch and swaps it in; False if a thread does, which then releases the lock."""
        try:
            if not (beside and (self._replica is not None or self._is_long())):
                self._swap()
                return True
        except EpochError as error:
            self._refuse(error)
            return True
        threading.Thread(target=self._swap_beside, name="epoch", daemon=True).start()
        return False

    def _swap_beside(self) -> None:
        try:
            self._swap()
        except EpochError as error:
            self._refuse(error)
        except Exception as fault:  # noqa: BLE001 (a thread's fault would be seen by nobody)
            self._refuse(EpochError(f"A new epoch can't be loaded ({type(fault).__name__})."))
        finally:
            self._lock.release()

    def _is_long(self) -> bool:
        try:
            found = self._newer()
        except EpochError as error:
            if error.fault != "partial":
                raise
            # `_swap` finds out whether it was only replaced meanwhile.
            return False
        return found is not None and bytes_to_verify(found[1], self._opened) > AT_ONCE

    def _swap(self) -> None:
        trouble = self._pull()
        for attempt in range(1, _TRIES + 1):
            pointer = read_pointer(self._folder)
            try:
                found = self._newer()
                if found is None:
                    break
                pointer, manifest = found
                former, self._opened = self._opened, self._open(manifest)
            except EpochError as error:
                # Meanwhile it may have been replaced, and its files removed.
                if error.fault != "partial" or attempt == _TRIES or read_pointer(self._folder) == pointer:
                    raise
            else:
                self._pointer = pointer
                self._confirmed_at = pointer.confirmed_at
                log.info("epoch_loaded", epoch=pointer.number, **self._opened.epoch.counts)
                if former is not None:
                    let_go(former, self._opened)
                break
        if trouble is not None:
            raise trouble
        self._error = None

    def _open(self, manifest: Manifest) -> Opened:
        try:
            return open_epoch(self._folder, manifest, self._opened)
        except EpochError as error:
            if self._replica is None or error.fault != "corrupt":
                raise
            self._replica.mend(self._folder, manifest)
            return open_epoch(self._folder, manifest, self._opened)

    def _pull(self) -> EpochError | None:
        """Fetches the newest epoch; the error if it can't be had: what is on this host serves then."""
        if self._replica is not None:
            try:
                self._replica.pull(self._folder, every=self._poll_every)
            except EpochError as error:
                return error
        return None

    def _newer(self) -> tuple[Pointer, Manifest] | None:
        """The epoch in force, if it is not the one at hand. Raises EpochError if it can't be one."""
        pointer, known = read_pointer(self._folder), self._pointer
        if known is not None and pointer.manifest_sha256 == known.manifest_sha256:
            self._confirmed_at = pointer.confirmed_at
            return None
        if known is not None and pointer.number <= known.number:
            raise EpochError(
                f"Epoch {pointer.number} is older than epoch {known.number}, which is in use.",
                next_step="Publish the old content anew with `hashwarden index rollback`.",
                fault="older",
            )
        return pointer, read_manifest(self._folder, pointer.number, pointer.manifest_sha256)

    def _refuse(self, error: EpochError) -> None:
        if self._error is None or self._error.message != error.message:
            log.error("epoch_refused", fault=error.fault, reason=error.message)
        self._error = error
