"""The epoch in force, as hunts need it: which changes of the banks it holds, and its hashes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bank_sync.epoch_files import read_manifest, read_pointer
from bank_sync.loaded import LoadedEpoch
from bank_sync.manifest import Manifest
from bank_sync.opened import Opened, open_epoch


@dataclass(frozen=True, slots=True)
class Force:
    """One look at the pointer. `holds` is the number of the epoch that first had this content."""

    manifest: Manifest
    snapshot: str
    """pg_snapshot of what the epoch holds at least."""
    confirmed_at: datetime

    @property
    def number(self) -> int:
        return self.manifest["number"]

    @property
    def holds(self) -> int:
        return self.manifest.get("copy_of", self.number)

    def reaches(self, snapshot: str) -> bool:
        """Whether it holds all that was committed in an earlier snapshot: not one rolled back, nor of a host behind."""
        if "copy_of" in self.manifest:
            return False
        return ends(self.snapshot) >= ends(snapshot) and _begins(self.snapshot) >= _begins(snapshot)


class InForce:
    """Looks at the epoch in force anew each time, and loads none but that one. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: Opened | None = None

    def look(self) -> Force:
        """Raises EpochError without an epoch."""
        pointer = read_pointer(self._folder)
        manifest = read_manifest(self._folder, pointer.number, pointer.manifest_sha256)
        # Confirmed later than it was published, it holds what was committed until then; a roll-back never does.
        snapshot = manifest["snapshot"] if "copy_of" in manifest else pointer.snapshot
        return Force(manifest, snapshot, pointer.confirmed_at)

    def load(self, force: Force) -> LoadedEpoch:
        """The hashes of exactly this epoch, verified before this returns. Raises EpochError."""
        if self._opened is None or self._opened.manifest != force.manifest:
            self._opened = open_epoch(self._folder, force.manifest, self._opened)
        return self._opened.epoch


def ends(snapshot: str) -> int:
    """The first transaction that had not begun when a snapshot was taken."""
    return int(snapshot.split(":")[1])


def _begins(snapshot: str) -> int:
    return int(snapshot.split(":")[0])
