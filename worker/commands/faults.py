"""What went wrong as one sentence that names the thing and the next step.

Messages of foreign exceptions may quote rows, addresses or keys: of what is not known here only the kind and the
place are told.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import redis
import sqlalchemy.exc

from config.errors import HashwardenError

_DATABASE = (
    "The database can't be reached."
    " Check HASHWARDEN_DATABASE__URL and that PostgreSQL is running, then try again."
)
_BROKER = (
    "The broker can't be reached."
    " Check HASHWARDEN_BROKER__URL and that Redis or Valkey is running, then try again; nothing is lost meanwhile."
)
_STORE = (
    "The object store or its queue can't be reached or refused the call ({kind})."
    " Run `hashwarden doctor`: it names the setting to correct."
)
_FULL = "The disk is full{where}. Free some space, then try again; nothing was lost."
_ROOT = Path(__file__).resolve().parents[2]


def sentence(error: Exception) -> str:
    """One sentence for a person at the terminal."""
    if isinstance(error, HashwardenError):
        return str(error)
    if isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
        return _DATABASE
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, redis.RedisError) or library == "kombu":
        return _BROKER
    if library in {"boto3", "botocore"}:
        return _STORE.format(kind=type(error).__name__)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return _FULL.format(where=where)
        return f"{error.strerror}{where}. Correct that, then try again."
    return (
        f"Something went wrong inside Hashwarden: {type(error).__name__} at {_place(error)}."
        " Please report this line; it holds nothing of your data."
    )


def _place(error: Exception) -> str:
    """File and line of the innermost of our own frames; no message and no values."""
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)]
    for path, line in reversed(list(zip(frames, lines, strict=True))):
        if path.is_relative_to(_ROOT) and "site-packages" not in path.parts:
            return f"{path.relative_to(_ROOT)}:{line}"
    return "an unknown place"
