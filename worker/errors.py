"""The errors of the worker room; a refusal of hostile or broken media is a result and never an error."""

from typing import ClassVar

from config.errors import HashwardenError


class SandboxError(HashwardenError):
    """The sandbox itself is broken: a fault of this machine, to be tried again, that says nothing of the media."""

    code: ClassVar[str] = "sandbox"


class StorageError(HashwardenError):
    """The object store can't be reached or failed for the moment: to be tried again."""

    code: ClassVar[str] = "storage"


class ObjectGone(HashwardenError):
    """That object version does not exist (any more)."""

    code: ClassVar[str] = "object_gone"


class ObjectSuperseded(HashwardenError):
    """The key holds another content than the one that was asked for."""

    code: ClassVar[str] = "object_superseded"


class StorageRefused(HashwardenError):
    """The object store refused for good: a permission, a setting or an ability is missing."""

    code: ClassVar[str] = "storage_refused"


class EventSourceError(HashwardenError):
    """The queue of event messages can't be reached or refused; messages stay in it."""

    code: ClassVar[str] = "event_source"
