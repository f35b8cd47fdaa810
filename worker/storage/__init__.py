"""The object store seam: exactly that version, and whether a plain GET serves it."""

from worker.storage.protocol import (
    Body,
    Listed,
    Method,
    ObjectStore,
    Probe,
    Receipt,
    Served,
    ServedOutcome,
    Versioning,
    VersionPage,
)

__all__ = [
    "Body",
    "Listed",
    "Method",
    "ObjectStore",
    "Probe",
    "Receipt",
    "Served",
    "ServedOutcome",
    "VersionPage",
    "Versioning",
]
